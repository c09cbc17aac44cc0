"""A command's streams."""

from __future__ import annotations

import io

import pytest

from bakery.util.streams import Feeder


class Unreadable(io.RawIOBase):
    """A file on a broken disk, or one whose program ends."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def read(self, size: int = -1) -> bytes:
        """Fail."""
        del size
        raise self.error


@pytest.mark.parametrize("error", [ValueError("no such sector"), SystemExit(0), KeyboardInterrupt()])
def test_what_went_wrong_with_an_input_is_known_before_the_command_sees_its_end(error: BaseException) -> None:
    checked: list[str] = []

    def close() -> None:
        with pytest.raises(type(error)):
            feeder.check()
        checked.append("closed")

    feeder = Feeder(Unreadable(error), lambda _: None, close, (OSError,))  # type: ignore[arg-type]  # a file
    feeder.feed()
    assert checked == ["closed"]
