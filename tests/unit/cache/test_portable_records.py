"""What is noted beside a checkpoint for other hosts."""

from __future__ import annotations

import base64
import zlib

import pytest

from bakery.cache.inputs.external import Input
from bakery.cache.portable_records import LARGEST, Noted, read, write
from bakery.cache.records import Record
from bakery.drivers.ec2.api import tags


def record(number: int, *inputs: Input, prekey: str = "pre") -> Record:
    return Record(key=f"s1-{number}", parent="base-1", inputs=inputs, made=float(number), prekey=prekey)


def test_a_note_names_what_was_read_and_says_nothing_of_its_content() -> None:
    text = write([record(1, Input("file", "site.conf", "digest", "shown", (1, 2))), record(2)])
    assert list(read(text)) == [
        Noted(prekey="pre", key="s1-1", made=1.0, inputs=(("file", "site.conf"),)),
        Noted(prekey="pre", key="s1-2", made=2.0, inputs=()),
    ]
    plain = zlib.decompress(base64.b64decode(text))
    assert b"site.conf" in plain
    assert b"digest" not in plain
    assert b"shown" not in plain


def test_a_chain_with_a_step_that_is_not_known_well_has_no_note() -> None:
    assert write([record(1), record(2, prekey="")]) == ""


BOMB = base64.b64encode(zlib.compress(b" " * (LARGEST + 1))).decode()
UNKNOWN = base64.b64encode(zlib.compress(b'[1,[["p","k",1.0,[["url","x"]]]]]')).decode()


@pytest.mark.parametrize("text", ["", "no base64!", base64.b64encode(b"x").decode(), BOMB, UNKNOWN])
def test_a_note_that_is_none_of_ours_says_nothing(text: str) -> None:
    assert list(read(text)) == []


def test_a_long_note_becomes_several_tags_or_none() -> None:
    text = "x" * 600
    marks = tags.split(tags.NOTE, text, 3)
    assert [len(part) for part in marks.values()] == [256, 256, 88]
    assert tags.joined(tags.NOTE, {**marks, "other": "y"}) == text
    assert tags.split(tags.NOTE, text, 2) == {}
    assert tags.joined(tags.NOTE, {}) == ""
