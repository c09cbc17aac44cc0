"""The scripts that give a machine this host's package sources, run by a real sh and sed on files of the test."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bakery.disk.bases.host_apt import AptSetup

pytestmark = pytest.mark.live


def test_what_is_placed_is_taken_back_and_what_a_task_added_stays(tmp_path: Path) -> None:
    before = (
        "deb http://deb.debian.org/debian bookworm main\n"
        "deb http://deb.debian.org/debian-security bookworm-security main\n"
    )
    (tmp_path / "apt.conf.d").mkdir()
    sources = tmp_path / "sources.list"
    sources.write_text(before)
    setup = AptSetup(
        swaps={"http://deb.debian.org/debian": "http://m.example/a&b|c"}, files={f"{tmp_path}/conf": "it's\n"}
    )

    def sh(script: str) -> None:
        own = script.replace("/etc/apt/", f"{tmp_path}/").replace("/var/", f"{tmp_path}/var/")
        subprocess.run(("sh", "-s"), input=own, text=True, check=True)

    for _ in range(2):  # twice is as good as once
        sh(setup.place())
    placed = sources.read_text()
    assert placed.splitlines()[0] == "deb http://m.example/a&b|c bookworm main"
    assert placed.splitlines()[1] == before.splitlines()[1]
    assert (tmp_path / "conf").read_text() == "it's\n"
    sources.write_text(placed + "deb http://vendor.example/apt stable main\n")
    sh(setup.take_back())
    assert sources.read_text() == before + "deb http://vendor.example/apt stable main\n"
    assert not (tmp_path / "conf").exists()
