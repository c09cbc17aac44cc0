"""The list of packages, as the real shell makes it of what each package manager prints."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bakery.machine import packages


def tool(folder: Path, name: str, text: str) -> None:
    """Put a program there that prints this."""
    (folder / "answer").write_text(text)
    path = folder / name
    path.write_text(f'#!/bin/sh\n/bin/cat "{folder}/answer"\n')
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("name", "printed", "found"),
    [
        (
            "dpkg-query",
            "ii |nginx|1.22\nrc |gone|1.0\nhi |held|2.0\niF |half|3.0\nun |never|\n",
            {"nginx": "1.22", "held": "2.0"},
        ),
        ("rpm", "bash.x86_64|5.2-1\n", {"bash.x86_64": "5.2-1"}),
        ("apk", "busybox-1.36.1-r5\npy3-x-y-2.0-r0\n", {"busybox": "1.36.1-r5", "py3-x-y": "2.0-r0"}),
        ("pacman", "bash 5.2-1\n", {"bash": "5.2-1"}),
    ],
)
def test_each_package_manager_is_understood(name: str, printed: str, found: dict[str, str], tmp_path: Path) -> None:
    for program in ("sed", "tr"):
        (tmp_path / program).symlink_to(shutil.which(program) or "")
    tool(tmp_path, name, printed)
    done = subprocess.run(
        ["/bin/sh", "-c", packages.SCRIPT], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert packages.parse(done.stdout) == found


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="no Debian")
def test_this_host_is_read() -> None:
    done = subprocess.run(["/bin/sh", "-c", packages.SCRIPT], capture_output=True, text=True, check=True)
    assert "dpkg" in packages.parse(done.stdout)


def test_a_machine_without_a_package_manager_has_no_list(tmp_path: Path) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", packages.SCRIPT], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
