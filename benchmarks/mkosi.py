"""The same packages on a bootable disk: mkosi, and bakery's Nspawn. From nothing, unchanged, the last task changed.

mkosi makes a raw disk. So does `raw` here; `qcow2` is what a user gets who says nothing, compressed with zstd. Neither
is tested on either side. mkosi's disk holds the same packages, kernel, initramfs and GRUB's files among them, but does
not boot (`--bootable=no`): making it boot takes a kernel that mounts VFAT, which not every host has, and more time.
Nine tasks are mkosi's prepare script, which it caches, the tenth is its postinst script, which it does not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from bakery.disk.bases.debian_recipe import PACKAGES, SUITES
from bakery.disk.bases.host_apt import host_apt
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
NOTHING = Aim(0.2, "ours")
TIMES = 5
"""How often a run that does nothing is timed; the shortest counts."""


def run(folder: Path) -> list[Row]:
    """Measure ours and theirs in turns."""
    if shutil.which("mkosi") is None:
        raise Failed("mkosi is not installed")
    version = subprocess.run(["mkosi", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    theirs = Mkosi(folder / "theirs")
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


class Mkosi:
    """A folder in which mkosi builds the same.

    Args:
        folder: its own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "nothing").mkdir(parents=True)
        host = host_apt(SUITE)
        # It hides /etc/apt while apt runs; what a host needs to reach its mirror goes in by the environment.
        self.conf = folder / "apt.conf"
        self.conf.write_text(host.conf if host else "", encoding="utf-8")
        packages = sorted({*PACKAGES, *SUITES[SUITE].packages, "nginx"})
        self.words = [
            "mkosi",
            "--distribution",
            "debian",
            "--release",
            SUITE,
            "--format",
            "gpt_ext4",
            "--bootable=no",
            "--root-size",
            SIZE,
            "--package",
            ",".join(packages),
            "--output",
            "image.raw",
            "--with-docs=yes",
            "--nspawn-keep-unit",
            "--workspace-dir",
            str(folder),
            "--build-sources",
            str(folder / "nothing"),
            "--force",
            *(("--mirror", host.archive) if host else ()),
        ]

    def incremental(self) -> None:
        """From now on, with its cache; fill it."""
        self.words.append("--incremental")
        self.build()

    def write(self, word: str) -> None:
        """Write its scripts: the ten tasks."""
        for name, numbers in (("mkosi.prepare", range(2, LAST)), ("mkosi.postinst", range(LAST, LAST + 1))):
            lines = [WRITE.format(number=n, word=word if n == LAST else "same") for n in numbers]
            script = self.folder / name
            script.write_text("\n".join(("#!/bin/sh", "set -e", *lines, "")), encoding="utf-8")
            script.chmod(0o755)

    def build(self) -> float:
        """Time one build."""
        path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        return timed([*self.words, "build"], self.folder, {"APT_CONFIG": str(self.conf), "PATH": path})
