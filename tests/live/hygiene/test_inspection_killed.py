"""SIGKILL any process of an inspection that mounts: the mount goes with it, and `sync` answers."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.hygiene.test_other_file_systems import SECRET, btrfs, xfs
from tests.live.killing import series, tell

pytestmark = [
    pytest.mark.live,
    pytest.mark.all,
    pytest.mark.skipif(os.geteuid() != 0, reason="XFS and btrfs are read by root alone"),
]
INSPECT = """
import sys
from pathlib import Path
from bakery.disk.inspect import Hygiene, inspect
from bakery.util.context import WorkContext

folder, image = map(Path, sys.argv[1:3])
for _ in range(9):
    inspect(image, "raw", [("secret", sys.argv[3].encode())], Hygiene(folder=folder), WorkContext(cache=folder))
"""
ROLES = ("unshare", "sh", "mount", "grep", "find", "cat")
KILLS = int(os.environ.get("BAKERY_KILLS", "16"))


@pytest.mark.parametrize("make", [xfs, btrfs])
def test_an_inspection_of_which_any_process_is_killed_leaves_no_mount(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    image, folder = make(tmp_path), tmp_path / "inspection"
    (scratch := tmp_path / "scratch").mkdir()
    chance = random.Random(os.environ.get("BAKERY_KILL_SEED", "1"))
    kills = [("any", chance.uniform(0.3, 3.0)) for _ in range(KILLS // 2)]
    kills += [(role, 0.0) for role in (*ROLES * KILLS,)[: KILLS - len(kills)]]

    def start() -> subprocess.Popen[bytes]:
        folder.mkdir()
        words = [sys.executable, "-c", INSPECT, str(folder), str(image), SECRET.decode()]
        environ = {**os.environ, "TMPDIR": str(scratch)}
        quiet = subprocess.DEVNULL
        return subprocess.Popen(words, stdout=quiet, stderr=quiet, start_new_session=True, env=environ)

    def clean() -> None:
        for path in folder.iterdir():
            path.unlink() if path.is_file() else path.rmdir()
        folder.rmdir()

    tell(series(start, folder, kills, clean))
    assert list(scratch.iterdir()) == []
