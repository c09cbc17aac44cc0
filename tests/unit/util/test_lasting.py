"""What may stay for a second run: ended once, in reverse, and not where the block failed."""

from __future__ import annotations

import pytest

from bakery.util.lasting import end_now_or_later, lasting


def test_alone_it_ends_at_once() -> None:
    ended: list[str] = []
    end_now_or_later(lambda: ended.append("a"))
    assert ended == ["a"]


def test_in_a_block_it_ends_with_it_in_reverse() -> None:
    ended: list[str] = []
    with lasting():
        for name in ("a", "b"):
            end_now_or_later(lambda name=name: ended.append(name))  # type: ignore[misc]  # bound now
        assert ended == []
    assert ended == ["b", "a"]
    end_now_or_later(lambda: ended.append("c"))
    assert ended == ["b", "a", "c"]


def test_where_the_block_fails_it_stays_as_the_rest_of_the_machine_does() -> None:
    ended: list[str] = []

    def fail() -> None:
        end_now_or_later(lambda: ended.append("a"))
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"), lasting():
        fail()
    assert ended == []
    end_now_or_later(lambda: ended.append("b"))
    assert ended == ["b"]
