"""Machines that were left on purpose: what is written about them is read back, or named where it is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bakery.errors import PreflightError
from bakery.model import Endpoint
from bakery.state.held_machines import FILE, held_machines, remember
from bakery.state.project import RunFolder
from bakery.state.ssh_keys import Keys, save_keys

KEYS = Keys(user_private="a", user_public="b", host_private="c", host_public="d")
ENDPOINT = Endpoint(host="10.0.0.1", host_key="ssh-ed25519 AAAA", gateway=Endpoint(host="bastion", key="agent"))


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """The folder of a machine that was kept, in a run."""
    folder = tmp_path / "20261122-143005-9f3a" / "machines" / "web"
    folder.mkdir(parents=True)
    save_keys(KEYS, folder)
    remember(ENDPOINT, folder)
    return folder


def test_a_machine_is_found_again(machine: Path) -> None:
    assert held_machines(RunFolder(machine.parent.parent)) == [(machine, ENDPOINT, KEYS)]


def test_its_keys_can_be_read_by_nobody_else(machine: Path) -> None:
    assert (machine / "keys.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        (FILE, "{", "Expecting property name"),
        (FILE, json.dumps({"gateway": "bastion"}), "Endpoint.gateway is no object"),
        ("keys.json", json.dumps({"user_private": "a"}), "Keys.user_public is missing"),
    ],
)
def test_a_damaged_note_is_named(machine: Path, name: str, text: str, why: str) -> None:
    (machine / name).write_text(text)
    with pytest.raises(PreflightError) as raised:
        held_machines(RunFolder(machine.parent.parent))
    assert str(machine) in raised.value.what
    assert why in raised.value.why
    assert "bake gc 20261122-143005-9f3a" in raised.value.hint
