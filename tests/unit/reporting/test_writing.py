"""Reports that are written: whole files, where they were asked for, and what becomes of one that has no room."""

from __future__ import annotations

import io
import os
import re
from errno import ENOSPC
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from bakery import events as e
from bakery.reporting.bus import Bus, redacted
from bakery.reporting.files import FileReporter
from bakery.reporting.html import Html, page
from bakery.reporting.junit import JUnit
from bakery.reporting.plain import Log
from bakery.reporting.run_state import RunState
from bakery.reporting.terminal import Terminal, _doing

from .story import BAD, GOOD, story

# ---- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), [(Html, "report.html"), (JUnit, "junit.xml")])
def test_a_report_goes_into_the_runs_folder_or_where_it_was_asked_for(
    tmp_path: Path, kind: type[FileReporter], name: str
) -> None:
    for path, written in ((None, tmp_path / name), (tmp_path / "a/b/other", tmp_path / "a/b/other")):
        reporter = kind(path)
        reporter.read(e.RunStarted(folder=str(tmp_path)))
        reporter.close()
        assert written.read_bytes()
        assert (reporter.label, reporter.owed) == (str(path or name), False)


@pytest.mark.parametrize("kind", [Html, JUnit])
def test_where_no_run_has_begun_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[FileReporter]
) -> None:
    monkeypatch.chdir(tmp_path)
    reporter = kind()
    reporter.read(e.Failed(error="UsageError", what="no image"))
    reporter.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("asked", "owed"), [(True, True), (False, False)])
def test_a_report_that_cannot_be_written_is_owed_where_it_was_asked_for(
    tmp_path: Path, asked: bool, owed: bool
) -> None:
    (tmp_path / "file").write_text("in the way")
    reporter = JUnit(tmp_path / "file" / "junit.xml" if asked else None)
    reporter.read(e.RunStarted(folder=str(tmp_path / "file")))
    with pytest.raises(OSError, match="file"):
        reporter.close()
    assert reporter.owed == owed


# ---- the gate -------------------------------------------------------------------------------------------------------


class Full:
    """A reporter whose disk is full after so many events."""

    label = "junit.xml"

    def __init__(self, takes: int, *, closes: bool = True) -> None:
        self.seen: list[e.Event] = []
        self.takes = takes
        self.closes = closes

    def read(self, event: e.Event) -> None:
        if len(self.seen) == self.takes:
            raise OSError(ENOSPC, os.strerror(ENOSPC))
        self.seen.append(event)

    def close(self) -> None:
        if not self.closes:
            raise OSError(ENOSPC, os.strerror(ENOSPC))


def test_a_reporter_that_cannot_write_is_dropped_and_the_others_hear_of_it() -> None:
    full, other, bus = Full(1), Full(99), Bus("r-1")
    bus.add(full)
    bus.add(other)
    for number in range(3):
        bus.emit(e.Notice(message=f"{number}"))
    bus.close()
    assert [event.message for event in full.seen if isinstance(event, e.Notice)] == ["0"]
    told = [event for event in other.seen if isinstance(event, e.Notice)]
    lost = "junit.xml is not written any more: [Errno 28] No space left on device"
    assert sorted(event.message for event in told) == ["0", "1", "2", lost]
    assert {event.run for event in told} == {"r-1"}
    assert [event.level for event in told if event.message == lost] == ["warning"]


def test_a_reporter_that_fails_at_its_end_is_told_of_to_those_that_close_later() -> None:
    first, last, bus = Full(99, closes=False), Full(99), Bus()
    bus.add(first)
    bus.add(last)
    bus.close()
    assert [event.message for event in last.seen if isinstance(event, e.Notice)] == [
        "junit.xml is not written any more: [Errno 28] No space left on device"
    ]
    assert first.seen == []


def test_a_defect_of_a_reporter_is_not_hidden() -> None:
    class Broken(Full):
        def read(self, event: e.Event) -> None:
            raise KeyError(event.type)

    bus = Bus()
    bus.add(Broken(0))
    with pytest.raises(KeyError):
        bus.emit(e.RunStarted())


@given(st.dictionaries(st.text(max_size=4), st.text(max_size=6) | st.integers(), max_size=3))
def test_every_text_of_an_event_passes_the_gate_and_nothing_else_changes(artifact: dict[str, str | int]) -> None:
    event = e.BuildEnded(outcome="ok", seconds=1.5, artifact=artifact, reason="why", time=3.0)
    assert redacted(event, str) == event
    starred = redacted(event, lambda text: f"*{text}*")
    assert (starred.reason, starred.time, starred.seconds) == ("*why*", 3.0, 1.5)
    assert starred.artifact == {
        f"*{key}*": f"*{item}*" if isinstance(item, str) else item for key, item in artifact.items()
    }


# ---- the page -------------------------------------------------------------------------------------------------------


class Balance(HTMLParser):
    """Counts what is opened and closed, and keeps the text."""

    VOID = frozenset({"meta", "br", "hr", "img", "input", "link", "col"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read_page(*told: e.Event) -> Balance:
    board = RunState()
    for event in told:
        board.read(event)
    parsed = Balance()
    parsed.feed(page(board))
    parsed.close()
    return parsed


@settings(max_examples=15)
@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_the_page_is_whole_whatever_is_said(text: str) -> None:
    parsed = read_page(*story(text=f"<b>&{text}\"'</script>"))
    assert parsed.open == []
    assert not [name for name, _ in parsed.attributes if name.startswith("on")]


@pytest.mark.parametrize("count", range(0, 29, 4))
def test_the_page_of_a_run_that_was_cut_off_is_whole(count: int) -> None:
    assert read_page(*list(story())[:count]).open == []


def test_bars_lie_within_the_page_and_are_never_invisible() -> None:
    style = " ".join(value or "" for name, value in read_page(*story()).attributes if name == "style")
    places = [float(number) for number in re.findall(r"(?:left|width): *([\d.]+)%", style)]
    assert places
    assert all(0 <= place <= 100 for place in places)


def test_the_page_says_what_was_not_tested() -> None:
    kept = e.ArtifactKept(build=GOOD, name="web", id="/web", verdict="untested")
    assert "not tested" in " ".join(read_page(kept).words).lower()


# ---- the terminal ---------------------------------------------------------------------------------------------------


def terminal(*told: e.Event, verbose: bool = False) -> str:
    stream = io.StringIO()
    reader = Terminal(
        Console(file=stream, width=160, color_system=None), "verbose" if verbose else "normal", clock=lambda: 0.0
    )
    for event in told:
        reader.read(event)
    reader.close()
    return stream.getvalue()


def test_one_build_has_one_colour_and_builds_have_different_ones() -> None:
    reader = Terminal(Console(file=io.StringIO()))
    colours = [reader._colour(name) for name in ("a", "b", "a", "c")]
    assert colours[0] == colours[2]
    assert len({*colours}) == 3
    assert len({reader._colour(str(number)) for number in range(30)}) == 8


@pytest.mark.parametrize(
    ("told", "doing"),
    [
        ([], ""),
        ([e.PhaseStarted(build="b", phase="launch")], "launch"),
        ([e.StepStarted(build="b", step="nginx", index=1)], "2/2 nginx"),
        ([e.StepStarted(build="b", step="publish", index=0)], "post publish"),
        ([e.PhaseStarted(build="b", phase="smoke")], "smoke 0/3"),
        (
            [
                e.PhaseStarted(build="b", phase="smoke"),
                *[e.TestEnded(build="b", test="t", outcome="passed", seconds=0) for _ in range(4)],
            ],
            "smoke 4/4",
        ),
    ],
)
def test_a_live_line_says_what_is_done_now(told: list[e.Event], doing: str) -> None:
    board = RunState()
    for event in (e.BuildStarted(build="b", steps=("base", "nginx"), tests=3), *told):
        board.read(event)
    assert _doing(board.tracks["b"]) == doing


def test_a_failure_without_a_cause_is_one_line_in_its_frame() -> None:
    text = terminal(e.Failed(error="UsageError", what="no image matches 'x'"))
    assert "UsageError" in text
    assert "no image matches 'x'" in text
    assert len(text.strip().splitlines()) == 3


def test_a_verbose_failure_does_not_repeat_what_stands_above() -> None:
    told = [
        e.StepStarted(build=BAD, step="base", index=0),
        e.Output(build=BAD, text="E: unable to locate"),
        e.StepEnded(build=BAD, step="base", index=0, seconds=1, outcome="failed"),
        e.Failed(build=BAD, error="CommandFailed", what="it failed", hint="mend it"),
    ]
    assert terminal(*told).count("E: unable to locate") == 1
    assert terminal(*told, verbose=True).count("E: unable to locate") == 1


def test_the_log_of_a_run_without_builds_has_no_table() -> None:
    stream = io.StringIO()
    reader = Log(stream)
    reader.read(e.RunEnded(seconds=1, exit_code=2))
    assert stream.getvalue() == ""
