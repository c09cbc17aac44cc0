"""What goes wrong with real machines ends with one clear message, the documented exit code, and nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakery.drivers.qemu.process import owned
from bakery.state.project import cache_folder
from tests.live.baking import TINY, Project, clean, shared

pytestmark = pytest.mark.live

EMPTY_DISK = """
import bakery
from bakery.drivers import Qemu
from bakery.model import Artifact


@bakery.source
def here() -> Qemu:
    return Qemu(base=Artifact(driver="qemu", id={disk!r}, name="empty", format="raw"), memory="128M")
"""


def nothing_is_left(project: Project) -> None:
    assert project.left() == set()
    assert project.images() == []
    deadline = time.monotonic() + 60
    swept = project.bake("gc")
    while "/abort" in swept.err and time.monotonic() < deadline:  # test_stuck_mounts.py has one on this host just now
        swept = project.bake("gc")
    assert (swept.code, swept.err) == (0, "nothing was left behind\n")


def test_a_base_that_does_not_boot_is_diagnosed_from_its_console(project: Project, tmp_path: Path) -> None:
    disk = tmp_path / "empty.raw"
    disk.write_bytes(bytes(510) + b"\x55\xaa" + bytes(1 << 20))
    project.write(EMPTY_DISK.format(disk=str(disk)))
    done = project.bake("build", "--connect-timeout", "20s")
    told = clean(done, 6, "cannot reach the machine", "the console is silent", "boot loader", "hint:")
    assert "files:" in told
    nothing_is_left(project)


def test_a_command_that_fails_is_shown_with_its_exit_code_its_words_and_its_line(project: Project) -> None:
    fails = "m.run('printf \"out of %s\" luck >&2; exit 3')"
    project.task("m.run('echo fine')", fails)
    line = project.file.read_text().splitlines().index(f"    {fails}") + 1
    told = clean(project.bake(), 7, "out of luck", f"imagefile.py:{line}", "ended with exit code 3")
    assert told.count("error:") == 1
    nothing_is_left(project)


def test_a_task_that_hangs_is_ended_by_its_time_limit(project: Project) -> None:
    project.write(TINY.replace("@bakery.task\n", "@bakery.task(timeout=3)\n").replace("echo hello", "sleep 600; echo"))
    started = time.monotonic()
    done = project.bake("--no-cache")
    told = clean(done, 7, "sleep 600", "hint:", "imagefile.py:")
    assert re.search(r"its timeout of (3|2\.\d) s", told)  # what the task has left when the command begins
    assert time.monotonic() - started < 300
    nothing_is_left(project)


def test_a_task_that_kills_sshd_says_that_the_connection_was_lost(project: Project) -> None:
    project.task("m.run('killall dropbear; sleep 20')", "m.run('echo still here')")
    done = project.bake("--no-cache")
    assert done.code in (6, 7), done.err
    clean(done.err, done.code, "imagefile.py:", "connection")
    nothing_is_left(project)


@pytest.mark.all
def test_a_machine_that_powers_itself_off_in_a_task_is_a_dead_machine(project: Project) -> None:
    project.task("m.run('poweroff -f; sleep 60')")
    done = project.bake("--no-cache")
    assert done.code in (5, 6, 7), done.err
    clean(done.err, done.code, "imagefile.py:")
    nothing_is_left(project)


def test_a_failing_smoke_test_keeps_no_image_process_port_or_file(project: Project) -> None:
    project.write(TINY.replace('contains("hello")', 'contains("goodbye")'))
    told = clean(project.bake(), 8, "said_hello", "imagefile.py:", "assert")
    assert "no image was kept" in told
    nothing_is_left(project)


@pytest.fixture
def full(project: Project) -> Iterator[Project]:
    """A project whose `.bakery` is on a disk with room for half of an image."""
    state = project.folder / ".bakery"
    state.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m,mode=755", "bakery-full", state], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.decode()}")
    project.folder.joinpath("tmp").rmdir()
    project.folder.joinpath("tmp").mkdir()
    yield project
    subprocess.run(["umount", "-l", state], check=True)


def test_a_full_disk_is_said_as_what_it_is(full: Project) -> None:
    done = full.bake("--no-cache")
    assert done.code in (4, 5), done.err
    told = clean(done.err, done.code, "hint:")
    assert "full" in told or "No space left" in told
    assert {thing for thing in full.left() if not thing.startswith("mount ")} == set()


@pytest.fixture
def read_only(project: Project, tmp_path: Path) -> Iterator[Project]:
    """A project whose cache nobody can write to."""
    cache = tmp_path / "ro"
    shared(cache_folder(os.environ), cache)
    mounted = subprocess.run(["mount", "--bind", cache, cache], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.decode()}")
    subprocess.run(["mount", "-o", "remount,bind,ro", cache], check=True)
    project.cache = cache
    yield project
    subprocess.run(["umount", "-l", cache], check=True)


def test_a_cache_that_is_read_only_is_named(read_only: Project) -> None:
    done = read_only.bake()
    assert done.code in (0, 4), done.err
    clean(done.err, done.code, "cannot be written", "BAKERY_CACHE_DIR")
    assert not [thing for thing in read_only.left() if thing.startswith(("process", "port"))]


PHASES = {
    "launch": "",
    "connect": "",
    "provision": "m.run('sleep 60')",
    "seal": "",
    "capture": "",
    "inspect": "",
    "relaunch": "",
    "reconnect": "",
    "smoke": "",
}
BOUNDED = ("provision", "capture")


@pytest.mark.parametrize(
    "phase", [pytest.param(name, marks=() if name in BOUNDED else pytest.mark.all) for name in PHASES]
)
def test_ctrl_c_in_any_phase_leaves_nothing(project: Project, phase: str) -> None:
    project.task(PHASES[phase] or "m.run('echo hello >/root/hello')")
    wanted = {"step-started"} if phase == "provision" else {"phase-started"}
    with project.start("build", "--no-cache") as bake:
        project.wait(bake, lambda e: e["type"] in wanted and e.get("phase", "provision") == phase)
        started = time.monotonic()
        os.killpg(bake.pid, signal.SIGINT)  # a terminal sends it to all of the process group
        told, _ = bake.communicate(timeout=90)
    assert bake.returncode == 130, told
    assert time.monotonic() - started < 60
    clean(told, 130, "interrupted by SIGINT")
    nothing_is_left(project)


def test_a_checkpoint_with_a_flipped_byte_is_not_used(project: Project) -> None:
    assert project.bake().code == 0
    saved = sorted(project.cache.glob("steps/*/memory"), key=lambda path: path.stat().st_mtime)
    assert saved
    for memory in saved:
        memory.chmod(0o600)
        with memory.open("r+b") as file:
            file.seek(memory.stat().st_size // 2)
            byte = file.read(1)[0]
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ 1]))
    project.write(TINY.replace("echo hello >", "echo hello again >"))
    done = project.bake()
    assert done.code == 0, done.err
    assert "is dropped" in done.err
    clean(done.err, 0)


def test_two_bakes_at_once_on_one_cache_share_no_port_and_tear_no_file(project: Project, tmp_path: Path) -> None:
    other = Project(tmp_path / "other", project.cache)
    other.write(TINY)
    with project.start("build") as one, other.start("build") as two:
        seen: set[str] = set()
        while one.poll() is None or two.poll() is None:
            for place in (project, other):
                seen |= {f"{place.folder.name} {thing}" for thing in place.left() if thing.startswith("port")}
            time.sleep(0.2)
        told = [bake.communicate(timeout=60)[0] for bake in (one, two)]
    assert (one.returncode, two.returncode) == (0, 0), told
    ports = [thing.split(" ", 1)[1] for thing in seen]
    assert len(ports) == len(set(ports)) >= 4
    assert [len(place.images()) for place in (project, other)] == [1, 1]


TAKEN = TINY.replace(
    'memory="256M"', 'memory="256M", qemu_args=("-monitor", "tcp:127.0.0.1:{port},server=on,wait=off")'
)


def test_a_port_that_is_taken_is_said_in_qemus_own_words(project: Project) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        project.write(TAKEN.replace("{port}", str(other.getsockname()[1])))
        started = time.monotonic()
        done = project.bake("--no-cache")
    clean(done, 5, "the virtual machine is dead", "Address already in use", "ss -ltnp")
    assert time.monotonic() - started < 60
    nothing_is_left(project)


@pytest.fixture
def small_cache(project: Project, tmp_path: Path) -> Iterator[Project]:
    """A project whose cache is on a disk with little room left: for records, not for a checkpoint."""
    cache = tmp_path / "small"
    cache.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m,mode=755", "bakery-small", cache], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.decode()}")
    project.cache = shared(cache_folder(os.environ), cache)
    yield project
    subprocess.run(["umount", "-l", cache], check=True)


def test_a_full_cache_costs_checkpoints_and_no_image(small_cache: Project) -> None:
    done = small_cache.bake()
    clean(done, 0, "no checkpoint")
    assert len(small_cache.images()) == 1
    assert not list(small_cache.cache.glob("steps/*/memory"))


@pytest.mark.parametrize("way", ["killed", pytest.param("stopped", marks=pytest.mark.all)])
def test_a_qemu_that_dies_while_a_checkpoint_is_saved_is_told_to_be_dead(project: Project, way: str) -> None:
    project.task("m.run('echo spoken >/dev/console')")
    with project.start("build", "--no-test") as bake:
        deadline = time.monotonic() + 300
        while not [*(project.cache / "steps").glob("**/memory.part")]:
            assert bake.poll() is None, bake.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.002)
        machines = [process for name, process in owned() if name.startswith(f"bakery-{project.runs[-1].name}")]
        for machine in machines:
            machine.send_signal(signal.SIGSTOP if way == "stopped" else signal.SIGKILL)
        if way == "stopped":
            time.sleep(1)
            machines[0].kill()
        output = bake.communicate(timeout=120)[0]
    assert len(machines) == 1
    assert bake.returncode == 5, output
    clean(output, 5, "the virtual machine is dead", "QEMU ended with exit code -9", "rig-guest-ready")
    nothing_is_left(project)
    assert [*(project.cache / "steps").glob("*/*")] == []
