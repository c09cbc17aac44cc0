"""Files by what they hold."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bakery.build.cluster.content import ContentStore
from bakery.errors import UsageError

DATA = b"some" * 1000
NAME = hashlib.sha256(DATA).hexdigest()


def test_a_file_counts_once_it_is_whole(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    assert store.put(NAME, 0, DATA[:100], last=False) == 100
    assert not store.has(NAME)
    assert store.put(NAME, 100, DATA[100:], last=True) == -1
    assert store.path(NAME).read_bytes() == DATA


def test_a_transfer_goes_on_where_it_broke_off_also_in_another_process(tmp_path: Path) -> None:
    ContentStore(tmp_path).put(NAME, 0, DATA[:100], last=False)
    store = ContentStore(tmp_path)
    assert store.put(NAME, 0, DATA[:50], last=False) == 100
    assert store.put(NAME, 100, DATA[100:], last=True) == -1


def test_what_is_here_is_not_taken_again(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    store.put(NAME, 0, DATA, last=True)
    assert store.put(NAME, 0, DATA[:1], last=False) == -1


def test_what_was_damaged_on_the_way_begins_anew(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    assert store.put(NAME, 0, DATA[:-1] + b"x", last=True) == 0
    assert not store.has(NAME)
    assert store.put(NAME, 0, DATA, last=True) == -1


@pytest.mark.parametrize("name", ["../../etc/passwd", "abc", NAME.upper(), f"{NAME}/x"])
def test_a_name_that_is_no_digest_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        ContentStore(tmp_path).path(name)
