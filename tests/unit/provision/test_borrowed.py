"""Packages that go again: those of archives, and one that is a file with a checksum."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from bakery.build.idempotence import run_twice
from bakery.errors import BakeryError, PreflightError
from bakery.machine.facts import Facts
from bakery.provision.borrowed import borrowed, borrowed_file
from bakery.testing import FakeMachine


@pytest.fixture
def m(tmp_path: Path) -> FakeMachine:
    made = FakeMachine({"*": ""}, folder=tmp_path, facts=Facts(package_manager="apt-get"))
    made._work = replace(made._work, cache=tmp_path / "cache")
    made.answer("dpkg-query *", "here\n")
    made.answer("mktemp -d *", "/var/tmp/.bakery-package-x\n")
    return made.answer("dpkg-deb --field *", "cinc\n")


def test_what_was_there_stays(m: FakeMachine) -> None:
    with borrowed(m, ["here", "away"]):
        assert any(command.endswith("-- away") for command in m.commands)
    assert m.commands[-1].endswith("purge --auto-remove -- away")
    count = len(m.commands)
    with borrowed(m, ["here"], keep=True):
        pass
    assert len(m.commands) == count + 1


def test_what_a_step_that_is_run_twice_borrows_is_installed_once(m: FakeMachine) -> None:
    there = {"here"}
    m.answer("dpkg-query *", lambda _: "\n".join(sorted(there)))

    def run() -> None:
        with borrowed(m, ["tool"]):
            there.add("tool")

    run_twice(m, run)
    assert sum(command.endswith("-- tool") and " install " in command for command in m.commands) == 1
    assert m.commands[-1].endswith("purge --auto-remove -- tool")
    assert "bakery-touched" in m.commands[-2]  # what goes with it is no change of the second run's


def test_a_file_is_believed_by_its_checksum_alone(m: FakeMachine, tmp_path: Path) -> None:
    file = tmp_path / "cinc_1.deb"
    file.write_bytes(b"a package")
    checksum = f"sha256:{hashlib.sha256(b'a package').hexdigest()}"
    with borrowed_file(m, file.as_uri(), checksum):
        assert any(command.endswith("-- /var/tmp/.bakery-package-x/cinc_1.deb") for command in m.commands)
        assert m.files["/var/tmp/.bakery-package-x/cinc_1.deb"].data == b"a package"
    assert any(command.endswith("purge --auto-remove -- cinc") for command in m.commands)
    file.write_bytes(b"another")  # what is kept is not asked for again
    with borrowed_file(m, file.as_uri(), checksum):
        pass
    with (
        pytest.raises(PreflightError, match="is not what its checksum says"),
        borrowed_file(m, file.as_uri(), f"sha256:{'0' * 64}"),
    ):
        pass


def test_a_file_that_cannot_be_had_is_said(m: FakeMachine) -> None:
    with pytest.raises(BakeryError, match=r"neither a \.deb nor an \.rpm"), borrowed_file(m, "https://x/y", "sha256:0"):
        pass
    m._work = replace(m._work, offline=True)
    with (
        pytest.raises(PreflightError, match="downloading is switched off"),
        borrowed_file(m, "https://x/y.deb", f"sha256:{'0' * 64}"),
    ):
        pass
