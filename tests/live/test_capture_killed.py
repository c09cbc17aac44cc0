"""SIGKILL every process of a capture at any moment: `sync` answers, and nothing is left on this host."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bakery.drivers.nspawn import base_template
from bakery.errors import CleanupError
from tests.live.baking import Project, clean, is_kept
from tests.live.killing import Figures, killed, left, series, sync, tell
from tests.live.test_bake_kill import CONTAINER, nspawn
from tests.live.test_capture_disk import Base, base, layer_of

__all__ = ["base"]
pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(bool(base_template.unusable([], Path("/"))), reason=base_template.unusable([], Path("/"))),
]
CAPTURE = """
import os, sys
from pathlib import Path
from uuid import UUID
from bakery.util.context import WorkContext
from bakery.disk.layout import Layout
from bakery.drivers.nspawn.merged_tree import merged
from bakery.drivers.nspawn.base_template import Template, write_changed

folder, base, tree, *layers = map(Path, sys.argv[1:])
layout, work = Layout(size=256 << 20, identity=UUID(int=7)), WorkContext(cache=folder)
with merged([*layers, tree], folder, work) as files:
    sum(1 for _ in files.rglob("*"))
write_changed(folder / "image.qcow2", Template(base), layers=layers, files={}, layout=layout, folder=folder, work=work)
"""
UNPACK = """
import sys
from pathlib import Path
from bakery.disk.bases.base import BaseDisk
from bakery.drivers.nspawn.disk_to_tree import tree
from bakery.util.context import WorkContext

folder, image = map(Path, sys.argv[1:])
tree(BaseDisk(path=image, format="qcow2", key="k", login="nocloud"), WorkContext(cache=folder))
"""
ROLES = ("bake", "setpriv", "unshare", "layer_writer", "mount", "sync", "umount", "sh", "qemu-img")
DELAYS = (0.0, 0.003, 0.01, 0.03, 0.1)
SEED, ROUNDS = os.environ.get("BAKERY_KILL_SEED", "1"), int(os.environ.get("BAKERY_KILLS", "1000"))


def capture(base: Base, tmp_path: Path, kills: list[tuple[str, float]]) -> Figures:
    """Kill captures, and return the figures."""
    layers = [layer_of(base, tmp_path, 1), layer_of(base, tmp_path, 2)]
    (layers[0] / "much").write_bytes(random.Random(3).randbytes(30 << 20))
    return program(CAPTURE, tmp_path / "captures", [base.template.folder, base.tree, *layers], kills)


def program(code: str, folder: Path, arguments: list[Path], kills: list[tuple[str, float]]) -> Figures:
    """Kill a Python program that works in a folder, and return the figures."""
    words = [sys.executable, "-c", code, str(folder), *map(str, arguments)]

    def start() -> subprocess.Popen[bytes]:
        folder.mkdir()
        return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    return series(start, folder, kills, lambda: shutil.rmtree(folder))


def test_a_capture_of_which_any_process_is_killed_leaves_nothing(base: Base, tmp_path: Path) -> None:
    tell(capture(base, tmp_path, [(role, 0.005) for role in ROLES] + [("any", delay) for delay in (0.1, 0.3, 0.5)]))


@pytest.mark.all
@pytest.mark.timeout(4 * 3600)
def test_hundreds_of_kills_at_any_moment_of_a_capture_leave_nothing(base: Base, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    kills = [(role, delay) for role in ROLES for delay in DELAYS]
    kills += [("any", chance.uniform(0.0, 1.5)) for _ in range(max(0, ROUNDS - len(kills)))]
    tell(capture(base, tmp_path, kills))


@pytest.mark.parametrize("delays", [(0.01,), pytest.param(DELAYS * 3, marks=pytest.mark.all)])
def test_an_image_of_which_the_unpacking_is_killed_leaves_nothing(
    base: Base, tmp_path: Path, delays: tuple[float, ...]
) -> None:
    kills = [(role, delay) for delay in delays for role in ("bake", "unshare", "sh", "mount", "cp", "qemu-img")]
    tell(program(UNPACK, tmp_path / "unpacked", [base.template.image], kills))


def build(project: Project, phase: str, kills: list[tuple[str, float]], *, cached: bool = False) -> Figures:
    """Kill any process of builds, clean up by `bake gc`, and see that nothing is left."""
    figures = Figures()
    for role, delay in kills:
        before = project.runs
        if cached:  # each build saves its checkpoints anew
            shutil.rmtree(project.cache / "steps", ignore_errors=True)
        with project.start("build", "--refresh" if cached else "--no-cache", "--no-test") as bake:
            while project.runs == before and bake.poll() is None:  # the events of the run before tell of nothing
                time.sleep(0.01)
            project.wait(bake, lambda event: phase in (event.get("phase"), event["type"]))
            killed(bake, role, delay, figures)
            output = bake.communicate(timeout=300)[0]
        figures.codes[bake.returncode] += 1
        # 10: what removes the machine was killed, which is told with the `bake gc` that mends it.
        assert bake.returncode in (0, -signal.SIGKILL, 4, 5, 6, 7, CleanupError.exit_code), output
        figures.syncs.append(sync())
        swept = project.bake("gc")
        assert swept.code == 0, swept.err
        remains = {thing for thing in project.left() if not is_kept(project)(thing)}
        assert remains | set(left(project.folder)) == set(), output
    assert figures.slow <= len(kills) // 10, str(figures)
    return figures


@nspawn
def test_a_build_of_which_any_process_is_killed_while_it_captures_leaves_nothing(project: Project) -> None:
    project.write(CONTAINER)
    tell(build(project, "capture", [("layer_writer", 0.05), ("any", 0.6)]))


@nspawn
@pytest.mark.all
@pytest.mark.timeout(4 * 3600)
def test_builds_of_which_any_process_is_killed_at_any_moment_leave_nothing(project: Project) -> None:
    project.write(CONTAINER)
    clean(project.bake("build", "--no-cache", "--no-test"), 0)  # the base's disk is made by it
    chance, rounds = random.Random(SEED), ROUNDS // 20
    roles = ("any", "bake", "layer_writer", "unshare", "qemu-img", "sh")
    tell(build(project, "capture", [(chance.choice(roles), chance.uniform(0.0, 0.3)) for _ in range(rounds)]))
    tell(build(project, "run-started", [("any", chance.uniform(0.0, 8.0)) for _ in range(rounds)]))


@pytest.mark.all
@pytest.mark.timeout(4 * 3600)
def test_virtual_machines_builds_of_which_any_process_is_killed_leave_nothing(project: Project) -> None:
    """While they seal, save checkpoints and are captured, and at any moment."""
    chance, rounds = random.Random(SEED), ROUNDS // 40
    roles = ("any", "bake", "qemu-img", "qemu-system-x86_64")
    for phase, latest in (("seal", 2.0), ("capture", 2.0), ("run-started", 8.0)):
        tell(build(project, phase, [(chance.choice(roles), chance.uniform(0.0, latest)) for _ in range(rounds)]))
    tell(build(project, "connect", [("zstd", chance.uniform(0.0, 0.5)) for _ in range(rounds)], cached=True))
