"""VirtualBox from Debian sid in a folder: made once, and its programs run on this host's own files.

A program of it runs in a mount namespace of its own, in which the folder's `/usr` is laid over this host's. So it finds
its libraries, and nearly every other path means the same file to it as to us.
"""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import psutil
from filelock import FileLock

from bakery.util.context import WorkContext
from bakery.util.tools import run

PACKAGES = ("virtualbox", "virtualbox-guest-additions-iso", "python3", "ca-certificates")
NEEDED = ("usr/lib/virtualbox/VBoxManage", "usr/share/virtualbox/VBoxGuestAdditions.iso")
"""Files without which the folder is not whole, or was made before they were asked for."""
ENTER = 'mount --bind "$0/usr" /usr && mount --bind "$0/etc/alternatives" /etc/alternatives && exec "$@"'
"""The second for `awk`, which is a name for a program that this host may have and the folder not."""
ROOT = "BAKERY_VIRTUALBOX_ROOT"
"""The variable that says where the folder is."""
FRONT = """\
#!/bin/sh
# The stand-in for startvm: all verbs but those that need a running guest go to the real VBoxManage.
case "$1 $2" in
startvm\\ *|controlvm\\ *|showvminfo\\ *|"list runningvms")
    exec {python} -m bakery.testing.virtualbox.startvm_stand_in "$@" ;;
esac
exec {real} "$@"
"""


def make(folder: Path) -> Path:
    """Make the folder, or find it: some two minutes, 1 GB; needs root and mmdebstrap.

    Raises:
        DriverError: mmdebstrap fails; with its last lines.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not all((folder / name).exists() for name in NEEDED):
            words = ["mmdebstrap", "--quiet", "--variant=minbase", "--components=main,contrib,non-free"]
            words += ["--aptopt=APT::Install-Recommends 0", "--aptopt=Acquire::Check-Valid-Until 0"]
            part, work = folder.with_name(f"{folder.name}.part"), WorkContext(cache=folder.parent)
            run(("rm", "-rf", part, folder), work, what="removing half a VirtualBox")
            run(
                (*words, f"--include={','.join(PACKAGES)}", "sid", part),
                work,
                what="unpacking VirtualBox",
                timeout=3600,
            )
            part.rename(folder)
    return folder


def words(folder: Path, *program: str) -> list[str]:
    """Return the words that run a program of the folder on this host's files."""
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", ENTER, str(folder), *program]


@dataclass(frozen=True, kw_only=True)
class Home:
    """One user's VirtualBox: a registry of machines and media of its own, with a service of its own.

    Args:
        root: the folder with VirtualBox.
        path: an empty folder, for the registry.
    """

    root: Path
    path: Path

    @property
    def environ(self) -> dict[str, str]:
        """Variables with which `VBoxManage` is the stand-in, on this registry."""
        return {
            ROOT: str(self.root),
            "VBOX_USER_HOME": str(self.path),
            "VBOX_IPC_SOCKETID": f"bakery-{self.path.stat().st_ino}",
            "PATH": f"{self.path / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        }

    def install(self) -> None:
        """Put the stand-in into the home's `bin`, under the name that the driver calls."""
        command = self.path / "bin" / "VBoxManage"
        command.parent.mkdir(parents=True, exist_ok=True)
        command.write_text(FRONT.format(python=quote(sys.executable), real=shlex.join(self._real())), encoding="utf-8")
        command.chmod(command.stat().st_mode | stat.S_IXUSR)

    def _real(self) -> list[str]:
        return words(self.root, "/usr/bin/VBoxManage")

    def real(self, *verb: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run the real VBoxManage, past the stand-in, through Debian's wrapper."""
        return subprocess.run(
            [*self._real(), *verb],
            env={**os.environ, **self.environ, **(environ or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def end(self) -> None:
        """End the service of this registry, which otherwise stays for some seconds after the last call."""
        for process in self.services():
            process.terminate()
        psutil.wait_procs(self.services(), timeout=10)

    def services(self) -> list[psutil.Process]:
        """Return the processes of this registry's service: VBoxSVC, and the daemon that connects to it."""
        return [process for process in psutil.process_iter() if self._is_service(process)]

    def _is_service(self, process: psutil.Process) -> bool:
        try:
            return process.name().startswith(("VBoxSVC", "VBoxXPCOMIPCD")) and (
                process.environ().get("VBOX_USER_HOME") == str(self.path)
            )
        except psutil.Error:
            return False
