"""The lines that find and break things are read by real shells."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bakery.smoke.mutations import FIND, KINDS, Mutation

pytestmark = pytest.mark.live


@pytest.mark.parametrize("script", [FIND, *(Mutation(kind, "x y").script for kind in KINDS)])  # type: ignore[arg-type]
@pytest.mark.parametrize("shell", [["dash"], ["bash", "--posix"], ["busybox", "sh"]])
def test_every_script_is_one_that_a_posix_shell_reads(shell: list[str], script: str) -> None:
    done = subprocess.run([*shell, "-n"], input=script, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


PROGRAMS = {
    "apt-mark": "printf '%s\\n' base mine other:amd64",
    "systemctl": "printf '%s\\n' 'base.service enabled' 'getty@.service enabled' 'mine.service enabled'",
}
OLD, NEW = 1_700_000_000, 1_750_000_000
FILES = {
    "etc/base.conf": OLD,
    "etc/owned.conf": NEW,
    "srv/a page.html": NEW,
    "var/lib/dpkg/info/base.list": OLD,
    "var/lib/dpkg/info/mine.list": NEW,
    "var/lib/dpkg/info/needed.list": NEW,
    "etc/systemd/system/base.service": OLD,
    "etc/systemd/system/mine.service": NEW,
    "run/systemd/system/-": OLD,
}


@pytest.mark.skipif(os.geteuid() != 0, reason="a root folder is entered by root alone")
def test_what_came_last_to_a_machine_comes_first(tmp_path: Path) -> None:
    for name, moment in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("/etc/owned.conf\n/etc/systemd/system/base.service\n/etc/systemd/system/mine.service\n")
        os.utime(file, (moment, moment))
    wants = tmp_path / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir()
    for name, moment in (("base", OLD), ("mine", NEW), ("gone", NEW)):
        (wants / f"{name}.service").symlink_to(f"/etc/systemd/system/{name}.service")
        os.utime(wants / f"{name}.service", (moment, moment), follow_symlinks=False)
    found = find_in(tmp_path)
    assert found["service"] == ["mine.service", "base.service"]
    assert found["file"] == ["/srv/a page.html", "/etc/base.conf"]
    assert found["package"] == ["mine", "base"]


def find_in(root: Path) -> dict[str, list[str]]:
    """What a busybox finds in a root folder, each once."""
    (root / "bin").mkdir()
    (root / "tmp").mkdir()
    (root / "dev").mkdir()
    (root / "dev" / "null").touch()  # a file will do
    shutil.copy2(shutil.which("busybox") or "busybox", root / "bin")
    applets = ("sh", "ls", "sed", "grep", "find", "sort", "mktemp", "touch", "rm", "cat")
    for name in applets:
        (root / "bin" / name).symlink_to("busybox")
    for name, text in PROGRAMS.items():
        (root / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (root / "bin" / name).chmod(0o755)
    words = [shutil.which("chroot") or "chroot", str(root), "/bin/sh", "-c", FIND]
    done = subprocess.run(words, env={"PATH": "/bin"}, text=True, capture_output=True, check=True)
    kinds: dict[str, dict[str, None]] = {}
    for line in done.stdout.splitlines():
        kind, _, subject = line.partition("\t")
        kinds.setdefault(kind, {})[subject] = None
    return {kind: [*subjects] for kind, subjects in kinds.items()}
