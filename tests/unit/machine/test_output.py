"""What a command says, on its way to the user."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakery.machine.output import UNSEEN_LINES, CommandOutput, Lines, caller, hidden_streams
from bakery.model import Stream


def test_lines_are_whole_however_the_chunks_are_cut() -> None:
    said: list[str] = []
    lines = Lines(said.append)
    text = "eins\nzwölf\n\ndrei".encode()
    for index in range(len(text)):
        lines.take(text[index : index + 1])
    lines.end()
    assert "\n".join(said) == "eins\nzwölf\n\ndrei"
    assert said[1] == "zwölf"


def test_what_is_no_text_is_replaced_and_not_lost() -> None:
    said: list[str] = []
    lines = Lines(said.append)
    lines.take(b"\xff\xfe\n\xc3")
    lines.end()
    assert said == ["\ufffd\ufffd", "\ufffd"]


def test_a_hidden_stream_is_not_said_and_shown_with_the_error() -> None:
    said: list[tuple[Stream, str]] = []
    voice = CommandOutput(lambda stream, text: said.append((stream, text)), frozenset({"stderr"}))
    voice.take("stdout", b"seen\n")
    voice.take("stderr", b"unseen\n")
    voice.end()
    assert said == [("stdout", "seen")]
    assert voice.unseen("seen\n", "unseen\n") == "unseen"


def test_of_much_hidden_output_the_end_is_shown() -> None:
    voice = CommandOutput(lambda *_: None, hidden_streams(hide=True))
    shown = voice.unseen("line\n" * 500, "").splitlines()
    assert len(shown) == UNSEEN_LINES + 1
    assert shown[0] == f"... {500 - UNSEEN_LINES} lines left out ..."


@pytest.mark.parametrize(
    ("hide", "streams"),
    [(None, set()), (False, set()), (True, {"stdout", "stderr"}), ("both", {"stdout", "stderr"}), ("out", {"stdout"})],
)
def test_hide_means_what_it_means_in_fabric(hide: bool | str | None, streams: set[str]) -> None:
    assert hidden_streams(hide) == streams


def test_a_misspelt_hide_is_refused() -> None:
    with pytest.raises(ValueError, match="hide='stout'"):
        hidden_streams("stout")


def test_the_users_line_is_the_innermost_outside_the_package() -> None:
    where = caller()
    assert where is not None
    assert where.file == Path(__file__)
