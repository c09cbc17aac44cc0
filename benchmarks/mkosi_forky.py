"""The same as `mkosi`, with the mkosi of Debian forky, in a root folder of that release; needs root."""

from __future__ import annotations

import json
import os
from pathlib import Path

from bakery.state.project import cache_folder
from benchmarks.bench import Aim, Failed, Row
from tests.hosts.roots import BAKE, HostRoot

INSTALL = "apt-get update -qq && apt-get install -qq --yes --no-install-recommends mkosi"


def run(folder: Path) -> list[Row]:
    """Make the root folder where it is not there, as `make test-hosts` does, and measure in it.

    Args:
        folder: not used: the root has its own.
    """
    del folder
    if os.geteuid() != 0:
        raise Failed("root alone can enter a root folder")
    place = Path(os.environ.get("BAKERY_HOSTS") or cache_folder(os.environ) / "test-hosts")
    host = HostRoot("forky", place / "forky")
    host.make()
    host.install(BAKE)
    host.run("sh", "-c", INSTALL, check=True)
    done = host.run("python", "-m", "benchmarks", "mkosi", "--json")
    if done.returncode:
        raise Failed(f"in the root folder:\n{done.stdout[-3000:]}")
    known = json.loads(done.stdout.splitlines()[-1])
    return [Row(**{**row, "aim": row["aim"] and Aim(**row["aim"])}) for row in known]
