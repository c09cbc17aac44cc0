"""The gate: every event passes it, redacted, in order, and nothing is lost."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakery import events as e
from bakery.redaction.redactor import Redactor
from bakery.redaction.secret import Secret
from bakery.reporting.bus import Bus

KEY = "first-line\nab\nlast-line-of-it"


class Seen:
    """Remembers what it reads."""

    def __init__(self) -> None:
        self.events: list[e.Event] = []
        self.closed = False

    def read(self, event: e.Event) -> None:
        self.events.append(event)

    def close(self) -> None:
        self.closed = True

    @property
    def text(self) -> str:
        return "\n".join(event.text for event in self.events if isinstance(event, e.Output))


def bus(*secrets: str) -> tuple[Bus, Seen]:
    redact, seen = Redactor(), Seen()
    for secret in secrets:
        redact.add(Secret(secret, "s"))
    made = Bus("run-1", redact)
    made.add(seen)
    return made, seen


def test_events_are_stamped_with_the_run() -> None:
    made, seen = bus()
    made.emit(e.Notice(message="x"))
    made.emit(e.Notice(message="y", run="other"))
    assert [event.run for event in seen.events] == ["run-1", "other"]


def test_texts_in_mappings_and_tuples_are_redacted() -> None:
    made, seen = bus("hunter2")
    made.emit(e.BuildEnded(outcome="ok", seconds=1, artifact={"a": ["hunter2", {"hunter2": ("hunter2",)}]}))
    assert "hunter2" not in repr(seen.events)


def test_output_passes_at_once_where_it_cannot_be_a_secret() -> None:
    made, seen = bus("hunter2")
    made.emit(e.Output(build="b", text="one\ntwo"))
    assert seen.text == "one\ntwo"


def test_a_secret_of_several_lines_is_found_though_each_comes_in_an_event_of_its_own() -> None:
    made, seen = bus(KEY)
    for line in ["before", *KEY.splitlines(), "after"]:
        made.emit(e.Output(build="b", text=line))
    assert seen.text == "before\n[secret s]\nafter"


def test_what_was_held_back_comes_before_the_step_ends() -> None:
    made, seen = bus("one\ntwo\nthree")
    made.emit(e.Output(build="b", text="one"))
    assert seen.events == []
    made.emit(e.Waiting(build="b", what="nothing to do with it"))
    made.emit(e.StepEnded(build="other", step="s", index=0, seconds=1))
    assert seen.text == ""
    made.emit(e.StepEnded(build="b", step="s", index=0, seconds=1))
    assert [event.type for event in seen.events] == ["waiting", "step-ended", "output", "step-ended"]
    assert seen.text == "one"


def test_streams_and_builds_are_not_mixed() -> None:
    made, seen = bus("one\ntwo")
    made.emit(e.Output(build="b", text="one"))
    made.emit(e.Output(build="b", text="two", stream="stderr"))
    made.emit(e.Output(build="c", text="two"))
    made.close()
    assert sorted(seen.text.splitlines()) == ["one", "two", "two"]
    assert seen.closed


@settings(deadline=None)
@given(st.binary(min_size=24, max_size=120), st.sampled_from([64, 76]), st.integers(0, 2))
def test_wrapped_encodings_never_pass_line_by_line(raw: bytes, width: int, shift: int) -> None:
    secret = raw.hex()
    made, seen = bus(secret)
    whole = base64.b64encode(b"x" * shift + secret.encode()).decode()
    for at in range(0, len(whole), width):
        made.emit(e.Output(build="b", text=whole[at : at + width]))
    made.close()
    assert whole[4:-4] not in "".join(seen.text.split())


@pytest.mark.parametrize("redact", [str, Redactor()])
def test_all_output_arrives_whatever_redacts(redact: Redactor | type[str]) -> None:
    made, seen = Bus("run", redact), Seen()
    made.add(seen)
    for number in range(5):
        made.emit(e.Output(build="b", text=f"line {number}\n"))
    made.close()
    assert seen.text.split("\n")[0] == "line 0"
    assert all(f"line {number}" in seen.text for number in range(5))
