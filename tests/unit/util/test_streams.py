"""A command's streams."""

from __future__ import annotations

import io

import pytest

from bakery.util.streams import Feeder


class Unreadable(io.RawIOBase):
    """A file on a broken disk."""

    def read(self, size: int = -1) -> bytes:
        """Fail."""
        del size
        raise ValueError("no such sector")


def test_what_went_wrong_with_an_input_is_known_before_the_command_sees_its_end() -> None:
    checked: list[str] = []

    def close() -> None:
        with pytest.raises(ValueError, match="no such sector"):
            feeder.check()
        checked.append("closed")

    feeder = Feeder(Unreadable(), lambda _: None, close, (OSError,))  # type: ignore[arg-type]  # a file
    feeder.feed()
    assert checked == ["closed"]
