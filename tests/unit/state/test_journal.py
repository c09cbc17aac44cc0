"""The journal: durable, ordered, locked, tolerant of a torn end and intolerant of silent damage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakery.model import Resource
from bakery.state.journal import Journal, encode, is_locked, replay


def thing(key: str, number: str | None = None) -> Resource:
    return Resource(driver="folder", kind="machine", key=key, id=number, run="r", build="b", data={"cloud": "x"})


def test_what_was_intended_made_and_not_gone_is_live_in_order(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        for key in ("a", "b", "c", "d"):
            journal.intend(thing(key))
        journal.made(thing("b", "2"))
        journal.gone(thing("a"))
        journal.made(thing("c", "3"))
        journal.kept(thing("c", "3"))
    live = replay(tmp_path / "journal.jsonl").live()
    assert [(entry.op, entry.resource.key, entry.resource.id) for entry in live] == [
        ("made", "b", "2"),
        ("intend", "d", None),
    ]


def test_a_thing_that_was_intended_again_after_it_was_gone_is_live(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.intend(thing("a"))
        journal.gone(thing("a"))
        journal.intend(thing("a"))
    assert len(replay(tmp_path / "journal.jsonl").live()) == 1


def test_only_one_process_writes(tmp_path: Path) -> None:
    with Journal(tmp_path):
        assert is_locked(tmp_path)
        with pytest.raises(BlockingIOError):
            Journal(tmp_path)
    assert not is_locked(tmp_path)


def test_a_torn_last_line_is_cut_off_before_more_is_written(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.intend(thing("a"))
    path = tmp_path / "journal.jsonl"
    path.write_bytes(path.read_bytes() + b'{"v":1,"op":"int')
    assert replay(path).damaged == []
    with Journal(tmp_path) as journal:
        journal.intend(thing("b"))
    assert [entry.resource.key for entry in replay(path).live()] == ["a", "b"]
    assert [json.loads(line)["n"] for line in path.read_bytes().splitlines()] == [1, 2]


def test_a_damaged_line_is_reported_and_the_others_are_read(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        for key in ("a", "b", "c"):
            journal.intend(thing(key))
    path = tmp_path / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"key":"b"', b'"key":"x"'))
    found = replay(path)
    assert found.damaged == [2]
    assert [entry.resource.key for entry in found.live()] == ["a", "c"]


def test_a_journal_of_a_newer_bakery_is_damage_and_not_a_guess(tmp_path: Path) -> None:
    line = encode("intend", thing("a"), 1, 0.0).replace(b'"v":1', b'"v":9')
    (tmp_path / "journal.jsonl").write_bytes(line)
    assert replay(tmp_path / "journal.jsonl").damaged == [1]


@given(flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), max_size=3), cut=st.integers(0, 600))
def test_no_damage_invents_or_changes_a_resource(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]], cut: int
) -> None:
    written = [thing(key) for key in ("a", "b", "c")]
    data = bytearray(b"".join(encode("intend", resource, n, 0.0) for n, resource in enumerate(written, start=1)))
    for place, mask in flips:
        data[place % len(data)] ^= mask
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    path.write_bytes(bytes(data[: len(data) - cut % len(data)]))
    for entry in replay(path).entries:
        assert entry.resource in written


@given(
    ops=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["intend", "made", "gone", "kept"])), max_size=20)
)
def test_replay_knows_the_last_thing_said_of_each(
    tmp_path_factory: pytest.TempPathFactory, ops: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    with Journal(folder) as journal:
        for key, op in ops:
            journal.write(op, thing(key))  # type: ignore[arg-type]  # drawn from the ops
    last = dict(ops)
    assert {e.resource.key for e in replay(folder / "journal.jsonl").live()} == {
        key for key, op in last.items() if op in ("intend", "made")
    }
