"""The VirtualBox driver asks as it asked the real 7.2.22, and makes the same of its answers: lives from tapes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.contract import virtualboxlife as lives

TAPES = Path(__file__).with_name("virtualbox_recordings")


@pytest.mark.parametrize("name", lives.LIVES)
def test_a_life_goes_as_it_did_on_the_real_one(tmp_path: Path, name: str) -> None:
    folder, place = tmp_path / "life", tmp_path / "tape"
    folder.mkdir()
    place.mkdir()
    (folder / "bad.ova").touch()
    tape = json.loads((TAPES / f"{name}.json").read_text(encoding="utf-8"))
    with lives.deck(place, folder, tape=tape) as deck:
        lives.LIVES[name](lives.World(folder, lives.small_disk(tmp_path / "disk.qcow2")))
        state = json.loads(deck.read_text(encoding="utf-8"))
    assert state["at"] == len(tape), "the driver asked less than it did then"
