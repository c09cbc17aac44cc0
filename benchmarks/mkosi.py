"""The same packages on a bootable disk: mkosi, and bakery's Nspawn. From nothing, unchanged, the last task changed.

mkosi 15 and newer have other options than 14: `python -m benchmarks mkosi` takes what the host has, `mkosi_forky` that
of Debian forky, in a root folder of it.

mkosi makes a raw disk. So does `raw` here; `qcow2` is what a user gets who says nothing, compressed with zstd. Neither
is tested on either side. mkosi's disk holds the same packages, kernel, initramfs and GRUB's files among them, but does
not boot (`--bootable=no`): making it boot takes a kernel that mounts VFAT, which not every host has, and more time.
Nine tasks are mkosi's prepare script, which it caches, the tenth is its postinst script, which it does not.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from bakery.disk.bases.debian_recipe import PACKAGES, SUITES
from bakery.disk.bases.host_apt import HostApt, host_apt
from benchmarks.bench import Aim, Failed, Project, Row, timed

SUITE = "bookworm"
SIZE = "3G"
"""mkosi's own default for the root file system; ours is as large."""
HEAD = f"""
import bakery
from bakery.drivers import Debian, Nspawn

@bakery.source
def raw() -> Nspawn:
    return Nspawn(base=Debian("{SUITE}"), disk="{SIZE}", format="raw")

@bakery.source
def qcow2() -> Nspawn:
    return Nspawn(base=Debian("{SUITE}"), disk="{SIZE}")

@bakery.image
def ten(): ...

@bakery.task
def task1(m):
    m.run("apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends nginx")
"""
TASK = """
@bakery.task
def task{number}(m):
    m.run({command!r})
"""
WRITE = "dd if=/dev/urandom of=/root/{number} bs=1M count=4 status=none; echo {word} > /root/word{number}"
LAST = 10
REPART = 15
"""The first version of mkosi that systemd-repart makes disks for."""
PARTITION = f"[Partition]\nType=root\nFormat=ext4\nCopyFiles=/\nSizeMinBytes={SIZE}\nSizeMaxBytes={SIZE}\n"
SOURCE = "Types: deb\nURIs: {}\nSuites: {}\nComponents: main\nTrusted: yes\n"
NOTHING = Aim(0.2, "ours")
TIMES = 5
"""How often a run that does nothing is timed; the shortest counts."""


def run(folder: Path) -> list[Row]:
    """Measure ours and theirs in turns."""
    if shutil.which("mkosi") is None:
        raise Failed("mkosi is not installed")
    version = subprocess.run(["mkosi", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    theirs = (Mkosi if _major(version) < REPART else MkosiRepart)(folder / "theirs")
    theirs.write("first")
    cold = theirs.build()
    theirs.incremental()
    nothing = theirs.build()
    theirs.write("second")
    last = theirs.build()
    rows: list[Row] = []
    for source in ("raw", "qcow2"):
        project = Project(folder / source)
        words = ("--only", source, "--no-test")
        project.write(imagefile("first"))
        ours, phases = project.bake(*words), project.phases()
        rows.append(Row(f"base included, from nothing, Nspawn, {source}", version, ours, cold, Aim(0.6), phases))
        ours = min(project.bake(*words) for _ in range(TIMES))
        rows.append(
            Row(f"nothing changed, {source}, whole process", f"{version} --incremental", ours, nothing, NOTHING)
        )
        project.write(imagefile("second"))
        ours = project.bake(*words)
        case = f"last of ten tasks changed, Nspawn, {source}"
        rows.append(Row(case, f"{version} --incremental", ours, last, Aim(0.5), project.phases()))
        shutil.rmtree(project.folder)
    return rows


def imagefile(word: str) -> str:
    """Ten tasks: nginx, eight that stay, and a last one that says `word`."""
    tasks = ((number, word if number == LAST else "same") for number in range(2, LAST + 1))
    return HEAD + "".join(
        TASK.format(number=number, command=WRITE.format(number=number, word=said)) for number, said in tasks
    )


def _major(version: str) -> int:
    found = re.search(r"\d+", version)
    if found is None:
        raise Failed(f"mkosi has no version: {version}")
    return int(found[0])


class Mkosi:
    """A folder in which mkosi 14 builds the same.

    Args:
        folder: its own.
    """

    scripts: ClassVar[tuple[str, str]] = ("mkosi.prepare", "mkosi.postinst")
    """What it caches, and what it does not."""
    cached: ClassVar[tuple[str, ...]] = ("--incremental",)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "nothing").mkdir(parents=True)
        self.host = host_apt(SUITE) or HostApt()
        packages = sorted({*PACKAGES, *SUITES[SUITE].packages, "nginx"})
        common = ["--distribution", "debian", "--release", SUITE, "--bootable=no", "--package", ",".join(packages)]
        self.words = ["mkosi", *common, *self.options(), "--force", "--mirror", self.host.archive]

    def options(self) -> list[str]:
        """Return the options of its version; write what it reads."""
        # It hides /etc/apt while apt runs; what a host needs to reach its mirror goes in by the environment.
        (self.folder / "apt.conf").write_text(self.host.conf, encoding="utf-8")
        return [
            *("--format", "gpt_ext4", "--root-size", SIZE, "--output", "image.raw"),
            *("--with-docs=yes", "--nspawn-keep-unit", "--workspace-dir", str(self.folder)),
            *("--build-sources", str(self.folder / "nothing")),
        ]

    def environ(self) -> Mapping[str, str]:
        """Return what it has of its environment."""
        return {"APT_CONFIG": str(self.folder / "apt.conf")}

    def incremental(self) -> None:
        """From now on, with its cache; fill it."""
        self.words += self.cached
        self.build()

    def write(self, word: str) -> None:
        """Write its scripts: the ten tasks."""
        for name, numbers in zip(self.scripts, (range(2, LAST), range(LAST, LAST + 1)), strict=True):
            lines = [WRITE.format(number=n, word=word if n == LAST else "same") for n in numbers]
            script = self.folder / name
            script.write_text("\n".join(("#!/bin/sh", "set -e", *lines, "")), encoding="utf-8")
            script.chmod(0o755)

    def build(self) -> float:
        """Time one build."""
        path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        return timed([*self.words, "build"], self.folder, {**self.environ(), "PATH": path})


class MkosiRepart(Mkosi):
    """The same for mkosi 15 and newer, whose disks systemd-repart makes."""

    scripts: ClassVar[tuple[str, str]] = ("mkosi.prepare.chroot", "mkosi.postinst.chroot")
    cached: ClassVar[tuple[str, ...]] = ("--incremental=yes",)

    def options(self) -> list[str]:
        """Return the options of its version; write what it reads."""
        (self.folder / "mkosi.cache").mkdir()  # without which --incremental ends in an AssertionError (27.1)
        apt = self.folder / "mkosi.sandbox" / "etc" / "apt"
        sources = [(self.host.archive, f"{SUITE} {SUITE}-updates"), (self.host.security, f"{SUITE}-security")]
        files = {
            self.folder / "mkosi.repart" / "root.conf": PARTITION,
            apt / "apt.conf.d" / "99host": self.host.conf,
            # Its own would name archives of debug symbols and of sources, too, which not every mirror has.
            apt / "sources.list.d" / "mkosi.sources": "\n".join(SOURCE.format(*source) for source in sources),
        }
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        place = ["--workspace-directory", str(self.folder), "--build-sources", ""]
        # Without an EFI system partition, a boot catalog is an error, and the default is to make one (27.1).
        made = ["--format", "disk", "--output", "image", "--with-docs=yes", "--el-torito=no"]
        return [*made, "--repository-key-check=no", *place]

    def environ(self) -> Mapping[str, str]:
        """Return what it has of its environment."""
        return {}
