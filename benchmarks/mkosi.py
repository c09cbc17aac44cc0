"""The same packages on a bootable disk, from nothing: Debian's mkosi, and bakery's Nspawn."""

from __future__ import annotations

import shutil
from pathlib import Path

from bakery.base.debian_recipe import PACKAGES, SUITES
from benchmarks.bench import Project, Row, timed
from benchmarks.packer import IMAGEFILE

STEP = "apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes nginx"


def run(folder: Path) -> list[Row]:
    """Measure a cold build, and what mkosi's incremental mode makes of a second one."""
    if shutil.which("mkosi") is None:
        return []
    project = Project(folder / "ours")
    project.write(IMAGEFILE.format(step=STEP, note=""))
    ours = project.bake("--only", "container", "--no-test")
    again = project.bake("--only", "container", "--no-test")
    theirs = folder / "theirs"
    theirs.mkdir(parents=True)
    packages = ",".join(sorted({*PACKAGES, *SUITES["bookworm"].packages, "nginx"}))
    words = [
        "mkosi", "--distribution", "debian", "--release", "bookworm", "--format", "disk", "--bootable=yes",
        "--package", packages, "--output", "image.raw", "--incremental",
    ]  # fmt: skip
    cold = timed([*words, "build"], theirs)
    second = timed([*words, "--force", "build"], theirs)
    return [
        Row("base included, Nspawn, no smoke test", "mkosi", ours, cold, "ahead", project.phases()),
        Row("nothing changed", "mkosi --incremental", again, second, "0.5 s"),
    ]
