"""A checkpoint whose note is damaged: it does not count, it is said why, it can be removed, and nothing crashes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bakery.cache.checkpoints.lease import Lease
from bakery.cache.checkpoints.manifest import FIELDS, FILE, VERSION, decode, encode, is_of_another_version
from bakery.cache.checkpoints.store import Store
from bakery.model import Checkpoint
from bakery.util.context import WorkContext

KEY = "s1-abc"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A cache with one whole checkpoint."""
    store = Store(WorkContext(cache=tmp_path / "cache"), boot="boot-1")
    base = tmp_path / "cache" / "bases" / "disk"
    base.parent.mkdir(parents=True)
    base.write_text("base")
    with Lease(store) as lease:
        place = lease.make(KEY)
        assert place
        (place.folder / "disk").write_bytes(b"a disk")
        settings = {"layers": [str(base), str(place.folder / "disk")]}
        place.keep(Checkpoint(driver="qemu", key=KEY, folder=place.folder, warm=False, settings=settings))
    assert store.fault(KEY) == ""
    return store


def manifest(store: Store) -> Path:
    return store.folder / KEY / FILE


def change(store: Store, change: Callable[[dict[str, Any]], None]) -> None:
    data = json.loads(manifest(store).read_text())
    change(data)
    data.pop("sum", None)  # as the first versions wrote it: so the fields alone count
    manifest(store).write_text(json.dumps(data))


def is_not_used_and_can_be_removed(store: Store) -> None:
    assert store.fault(KEY)
    with Lease(store) as lease:
        assert lease.get(KEY) is None
    store.prune(0)
    assert not (store.folder / KEY).exists()


def test_a_manifest_has_its_fields_and_a_checksum(store: Store) -> None:
    assert json.loads(manifest(store).read_text()).keys() == {"version", *FIELDS, "made_for", "sum"}


def test_a_manifest_without_a_checksum_is_one_of_an_earlier_version(store: Store) -> None:
    change(store, lambda _: None)
    assert store.fault(KEY) == ""
    assert [entry.key for entry in store.ls()] == [KEY]


@pytest.mark.parametrize("field", ["version", *FIELDS])
def test_a_note_without_a_field_is_none(store: Store, field: str) -> None:
    change(store, lambda data: data.pop(field))
    assert store.ls() == []
    is_not_used_and_can_be_removed(store)


WRONG: list[tuple[str, Any]] = [
    ("version", None),
    ("checkpoint", None),
    ("checkpoint", {}),
    ("checkpoint", {"driver": "qemu"}),
    ("checkpoint", ["qemu"]),
    ("made", "yesterday"),
    ("size", "large"),
    ("stands_on", None),
    ("stands_on", 3),
    ("needs", ["/disk"]),
    ("needs", None),
]


@pytest.mark.parametrize(("field", "value"), WRONG, ids=str)
def test_a_note_with_something_else_in_a_field_is_none(store: Store, field: str, value: Any) -> None:
    change(store, lambda data: data.update({field: value}))
    assert store.ls() == []
    is_not_used_and_can_be_removed(store)


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "17", '"text"', "\0" * 64])
def test_what_is_no_note_is_none(store: Store, text: str) -> None:
    manifest(store).write_text(text)
    assert store.ls() == []
    is_not_used_and_can_be_removed(store)


def test_bytes_that_are_no_text_are_no_note(store: Store) -> None:
    manifest(store).write_bytes(b'{"version": 1, "boot": "\xff\xfe"}')
    assert store.ls() == []
    is_not_used_and_can_be_removed(store)


def test_a_checkpoint_of_a_later_version_is_not_used_and_left_to_that_one(store: Store) -> None:
    change(store, lambda data: data.update(version=VERSION + 1))
    assert store.ls() == []
    assert store.fault(KEY)
    store.prune(0)
    assert (store.folder / KEY / "disk").exists()


def test_settings_that_are_not_what_was_written_make_no_machine(store: Store) -> None:
    text = manifest(store).read_text()
    manifest(store).write_text(text.replace("/bases/disk", "/bases/dusk"))
    assert store.ls() == []
    is_not_used_and_can_be_removed(store)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_is_seen_or_changes_nothing(store: Store, data: st.DataObject) -> None:
    path = manifest(store)
    before = path.read_bytes()
    bit = data.draw(st.integers(0, len(before) * 8 - 1))
    damaged = bytearray(before)
    damaged[bit // 8] ^= 1 << bit % 8
    known, seen = decode(before), decode(bytes(damaged))
    assert known is not None
    assert seen is None or {name: seen[name] for name in known} == known
    path.write_bytes(damaged)
    try:
        assert [entry.key for entry in store.ls()] == ([] if seen is None else [KEY])
        assert bool(store.fault(KEY)) == (seen is None)
    finally:
        path.write_bytes(before)


def test_what_was_encoded_is_decoded() -> None:
    data = {
        "checkpoint": {"driver": "qemu", "warm": True, "settings": {"memory": 3}},
        "made": 1.5,
        "boot": "b",
        "flushed": True,
        "inventory": "ab",
        "size": 3,
        "stands_on": ["s1-a"],
        "needs": {"/a": [1, 2, 3], "/b": None},
        "made_for": {"task": "nginx"},
    }
    text = encode(data).encode()  # type: ignore[arg-type]  # its values are JSON
    assert decode(text) == {"version": VERSION, **data}
    assert not is_of_another_version(text)


@pytest.mark.parametrize(
    ("text", "other"),
    [(b'{"version": 2}', True), (b'{"version": 1}', False), (b'{"version": "2"}', False), (b"2", False)],
)
def test_another_version_is_known_by_its_number(text: bytes, other: bool) -> None:
    assert is_of_another_version(text) == other
