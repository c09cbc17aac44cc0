"""Captures of the local drivers that are killed, or run out of disk or memory: `sync` answers, nothing is left.

The folders lie on a small file system of the test's own, on a loop device, as a cache on an image or a stick would.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from bakery.drivers.nspawn import base_template
from tests.live.killing import END, left, series, sync, tell
from tests.live.test_capture_disk import Base, base, layer_of
from tests.live.test_capture_killed import CAPTURE
from tests.live.test_disk_splice import run

__all__ = ["base"]
pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(bool(base_template.unusable([], Path("/"))), reason=base_template.unusable([], Path("/"))),
]
CONVERT = """
import sys
from pathlib import Path
from bakery.disk import qemuimg
from bakery.drivers.qemu.layers import Layer, add, node
from bakery.util.context import WorkContext

folder, disk = map(Path, sys.argv[1:])
work = WorkContext(cache=folder)
layers = add(folder, (Layer(str(disk), "raw"),), size=0, work=work)
qemuimg.convert(node(layers.all(folder)), folder / "image.qcow2", format="qcow2", work=work)
"""
MIB = 1 << 20
MEMORY = Path("/sys/fs/cgroup/memory")
ROUNDS = int(os.environ.get("BAKERY_KILLS", "0"))


@pytest.fixture(scope="module")
def starts(base: Base, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The arguments of a program for each way of capturing, without its folder."""
    folder = tmp_path_factory.mktemp("inputs")
    (disk := folder / "disk.raw").write_bytes(random.Random(4).randbytes(60 * MIB))
    layer = layer_of(base, folder, 1)
    (layer / "much").write_bytes(random.Random(3).randbytes(30 * MIB))
    return {
        "qemu": [CONVERT, str(disk)],
        "nspawn": [CAPTURE, str(base.template.folder), str(base.tree), str(layer)],
    }


@contextmanager
def small(folder: Path, size: int) -> Generator[Path]:
    """Mount an ext4 of so many bytes at a folder, through a loop device; unmounting it at the end must work at once."""
    image = folder.with_suffix(".ext4")
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    folder.mkdir()
    subprocess.run(["mount", "-o", "loop", image, folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True, timeout=30)
        shutil.rmtree(folder)
        image.unlink()


def started(
    start: list[str], folder: Path, prefix: tuple[str, ...] = (), *, stderr: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    folder.mkdir()
    code, *arguments = start
    words = [*prefix, sys.executable, "-c", code, str(folder), *arguments]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True)


@pytest.mark.parametrize("driver", ["qemu", "nspawn"])
def test_a_capture_on_a_small_file_system_leaves_nothing_whoever_is_killed(
    starts: dict[str, list[str]], tmp_path: Path, driver: str
) -> None:
    chance = random.Random(os.environ.get("BAKERY_KILL_SEED", "2"))
    kills = [("bake", 0.4), ("qemu-img", 0.02), *(("any", chance.uniform(0.0, 1.5)) for _ in range(max(2, ROUNDS)))]
    with small(tmp_path / "disk", 400 * MIB) as disk:
        folder = disk / "capture"
        figures = series(
            lambda: started(starts[driver], folder), folder, kills, lambda: shutil.rmtree(folder, ignore_errors=True)
        )
    tell(figures)


@pytest.mark.parametrize("driver", ["qemu", "nspawn"])
@pytest.mark.parametrize("killed", [False, True])
def test_a_capture_that_fills_its_disk_ends_with_the_cause(
    starts: dict[str, list[str]], tmp_path: Path, driver: str, killed: bool
) -> None:
    with small(tmp_path / "disk", 48 * MIB) as disk:
        folder = disk / "capture"
        process = started(starts[driver], folder, stderr=subprocess.PIPE)
        if killed:
            while process.poll() is None and shutil.disk_usage(disk).free > MIB:
                pass
            process.kill()
        told = process.communicate(timeout=END)[1].decode()
        assert sync() < END
        assert_left_nothing(folder)
        shutil.rmtree(folder)
    assert killed or (process.returncode == 1 and "No space left on device" in told), told


@contextmanager
def memory(limit: int) -> Generator[tuple[tuple[str, ...], Path]]:
    """A control group that has so many bytes; yields what to put in front of a command, and the group."""
    group = MEMORY / f"bakery-test-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(limit))
        with suppress(OSError):  # a kernel that does not count swap
            (group / "memory.memsw.limit_in_bytes").write_text(str(limit))
        yield ("sh", "-c", f'echo $$ >{group}/cgroup.procs && exec "$@"', "sh"), group
    finally:  # what still runs there after an interrupt would keep the group
        while members := (group / "cgroup.procs").read_text().split():
            for member in members:
                with suppress(ProcessLookupError):
                    os.kill(int(member), signal.SIGKILL)
            time.sleep(0.05)
        group.rmdir()


@pytest.mark.skipif(not (MEMORY / "cgroup.procs").exists(), reason="no control group (v1) for memory here")
@pytest.mark.parametrize("driver", ["qemu", "nspawn"])
def test_a_capture_that_runs_out_of_memory_leaves_nothing(
    starts: dict[str, list[str]], tmp_path: Path, driver: str
) -> None:
    chance, ends, killed = random.Random(5), Counter[int](), 0
    for limit in [8, 14, 20, 32, 50, *(chance.randrange(5, 70) for _ in range(ROUNDS))]:
        folder = tmp_path / "capture"
        with memory(limit * MIB) as (prefix, group):
            process = started(starts[driver], folder, prefix)
            process.wait(timeout=300)
            assert_left_nothing(folder)
            killed += int((group / "memory.oom_control").read_text().split("oom_kill ")[-1])
        ends[process.returncode] += 1
        assert sync() < END
        assert process.returncode or "No errors" in run("qemu-img", "check", folder / "image.qcow2")
        shutil.rmtree(folder)
    sys.stdout.write(f"{driver}: exit codes {dict(ends)}, {killed} processes ended for want of memory\n")
    assert killed


def assert_left_nothing(folder: Path) -> None:
    """Wait until nothing of a folder runs or is mounted."""
    until = time.monotonic() + END
    while (remains := list(left(folder))) and time.monotonic() < until:
        time.sleep(0.05)
    assert remains == []
