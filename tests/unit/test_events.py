"""Events: what they are called, what they are as JSON, and that reading brings back what was written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakery import events as e
from bakery.reporting.jsonl import JsonFile, line
from bakery.reporting.replay import events

TYPES = {
    e.RunStarted: "run-started",
    e.BuildStarted: "build-started",
    e.MachineStarted: "machine-started",
    e.PackagesListed: "packages-listed",
    e.BootTimed: "boot-timed",
    e.PhaseStarted: "phase-started",
    e.PhaseEnded: "phase-ended",
    e.StepStarted: "step-started",
    e.StepEnded: "step-ended",
    e.Output: "output",
    e.Waiting: "waiting",
    e.Progress: "progress",
    e.ItemApplied: "item-applied",
    e.Notice: "notice",
    e.TestEnded: "test-ended",
    e.ResourceChanged: "resource-changed",
    e.Failed: "failed",
    e.ArtifactKept: "artifact-kept",
    e.BuildEnded: "build-ended",
    e.RunEnded: "run-ended",
}
"""What programs that read `--format json` rely on."""

texts = st.text(max_size=30)
numbers = st.floats(0, 1e10, allow_nan=False)
counts = st.integers(0, 1 << 60)
outcomes = st.sampled_from(["ok", "failed", "cancelled", "skipped", "cached"])
json_values = st.recursive(
    st.none() | st.booleans() | counts | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "str": texts,
    "int": counts,
    "float": numbers,
    "int | None": st.none() | counts,
    "tuple[str, ...]": st.lists(texts, max_size=3).map(tuple),
    "tuple[tuple[str, float], ...]": st.lists(st.tuples(texts, numbers), max_size=3).map(tuple),
    "tuple[tuple[str, float, float], ...]": st.lists(st.tuples(texts, numbers, numbers), max_size=3).map(tuple),
    "Outcome": outcomes,
    "Mapping[str, Any]": st.dictionaries(texts, json_values, max_size=3),
    "Literal['info', 'warning']": st.sampled_from(["info", "warning"]),
    "Literal['ok', 'changed', 'skipped', 'failed', 'ignored', 'unreachable']": st.sampled_from(
        ["ok", "changed", "skipped", "failed", "ignored", "unreachable"]
    ),
    "Literal['passed', 'failed', 'error', 'skipped']": st.sampled_from(["passed", "failed", "error", "skipped"]),
}
"""What a field may hold, by its annotation."""


def any_of(kind: type[e.Event]) -> st.SearchStrategy[e.Event]:
    return st.builds(kind, **{field.name: VALUES[str(field.type)] for field in fields(kind)})


any_event = st.sampled_from(list(TYPES)).flatmap(any_of)


def kinds(kind: type[e.Event]) -> Iterator[type[e.Event]]:
    for child in kind.__subclasses__():
        yield child
        yield from kinds(child)


def read(path: Path, text: str) -> list[e.Event]:
    path.write_text(text, encoding="utf-8")
    return list(events(path))


# ---- names and JSON -------------------------------------------------------------------------------------------------


def test_every_kind_has_the_type_that_programs_know() -> None:
    assert {kind: object.__new__(kind).type for kind in kinds(e.Event)} == TYPES


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
def test_an_event_as_json_is_flat_with_its_version_type_and_fields(kind: type[e.Event]) -> None:
    needed = {f.name: 1 for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
    shown = kind(**needed, time=1.5, run="r", build="b").to_json()  # a value for each
    assert (shown["v"], shown["type"], shown["time"], shown["run"], shown["build"]) == (1, TYPES[kind], 1.5, "r", "b")
    assert shown.keys() == {"v", "type", *(f.name for f in fields(kind))}
    assert json.loads(line(kind(**needed)))["type"] == TYPES[kind]  # type: ignore[arg-type]


def test_an_event_knows_when_it_was_made_and_never_changes() -> None:
    first, second = e.RunStarted(), e.RunStarted()
    assert 1.6e9 < first.time <= second.time
    with pytest.raises(AttributeError):
        first.run = "other"  # type: ignore[misc]  # that it is frozen is the test


@settings(max_examples=60)
@given(any_event)
def test_a_line_is_one_line_of_ascii(event: e.Event) -> None:
    text = line(event)
    assert text.isascii()
    assert text.splitlines(keepends=True) == [text]
    assert json.loads(text)["type"] == TYPES[type(event)]


# ---- written and read back ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A path that every example writes anew."""
    return tmp_path_factory.mktemp("events") / "events.jsonl"


@settings(max_examples=60)
@given(told=st.lists(any_event, max_size=4))
def test_what_is_read_back_is_what_was_written(file: Path, told: list[e.Event]) -> None:
    assert read(file, "".join(map(line, told))) == told


@settings(max_examples=40)
@given(told=st.lists(any_event, min_size=1, max_size=3), data=st.data())
def test_a_file_that_was_cut_anywhere_gives_all_whole_lines(
    file: Path, told: list[e.Event], data: st.DataObject
) -> None:
    whole = "".join(map(line, told))
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    assert read(file, cut) == told[: len(cut.splitlines()) if cut in (whole, whole[:-1]) else cut.count("\n")]


GOOD = e.Notice(message="fine", time=2.0)
UNREADABLE = {
    "torn": '{"type":"notice","mess',
    "empty": "",
    "of zeros, as a power cut leaves them": "\0" * 40,
    "of a later version": '{"v":2,"type":"machine-rewound","time":3.0}',
    "without a type": '{"time":3.0}',
    "a number": "17",
    "a list": "[]",
    "null": "null",
    "a text": '"notice"',
    "with a list as its type": '{"type":["notice"]}',
    "without a field that its kind needs": '{"v":1,"type":"phase-ended","phase":"launch"}',
}


@pytest.mark.parametrize("damage", UNREADABLE.values(), ids=UNREADABLE)
def test_a_line_that_is_no_event_is_left_out_and_those_around_it_are_read(tmp_path: Path, damage: str) -> None:
    text = f"{line(GOOD)}{damage}\n{line(GOOD)}"
    assert read(tmp_path / "events.jsonl", text) == [GOOD, GOOD]


def test_a_line_with_bytes_that_are_no_text_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(line(GOOD).encode() + b'{"type":"not\xff\xfeice"}\n' + line(GOOD).encode())
    assert list(events(path)) == [GOOD, GOOD]


def test_fields_of_a_later_version_are_left_out(tmp_path: Path) -> None:
    data = {**GOOD.to_json(), "colour": "red", "v": 2}
    assert read(tmp_path / "events.jsonl", json.dumps(data) + "\n") == [GOOD]


def test_fields_that_an_earlier_version_did_not_write_have_their_defaults(tmp_path: Path) -> None:
    text = '{"v":1,"type":"artifact-kept","time":1.0,"run":"r","build":"b","name":"web","id":"/web.qcow2"}\n'
    kept = e.ArtifactKept(time=1.0, run="r", build="b", name="web", id="/web.qcow2")
    assert read(tmp_path / "events.jsonl", text) == [kept]


def test_without_a_file_there_is_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        next(events(tmp_path / "events.jsonl"))


# ---- the file in the run's folder -----------------------------------------------------------------------------------


def test_each_event_is_in_the_file_as_soon_as_it_was_read(tmp_path: Path) -> None:
    reader = JsonFile()
    told = [e.RunStarted(folder=str(tmp_path)), e.PhaseStarted(phase="launch"), e.RunEnded(seconds=1, exit_code=0)]
    for count, event in enumerate(told, 1):
        reader.read(event)
        assert list(events(tmp_path / "events.jsonl")) == told[:count]
    reader.close()


def test_a_run_that_never_had_a_folder_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    reader = JsonFile()
    for event in (e.RunStarted(), e.Notice(message="x"), e.RunEnded(seconds=0, exit_code=2)):
        reader.read(event)
    reader.close()
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_goes_on_writes_behind_what_the_first_one_wrote(tmp_path: Path) -> None:
    for number in (1, 2):
        reader = JsonFile()
        reader.read(e.RunStarted(folder=str(tmp_path), time=float(number)))
        reader.close()
    assert [event.time for event in events(tmp_path / "events.jsonl")] == [1.0, 2.0]
