"""`bake doctor` and `bake gc` on a host with a FUSE server that died: a harmless copy of what once stopped `sync`.

A small FUSE server answers until a file is closed, and then never. Whoever has the file open and is killed waits in its
exit for the answer, as a storage daemon did that had served itself; but no disk depends on it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakery.util.stuck_mounts import StuckMount, look
from tests.live.baking import Project

pytestmark = [pytest.mark.live, pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")]
SERVER = r"""
import ctypes, os, struct, sys
point = sys.argv[1].encode()
libc = ctypes.CDLL(None, use_errno=True)
fd = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={fd},rootmode=40000,user_id=0,group_id=0".encode()
assert libc.mount(b"test", point, b"fuse", 0, options) == 0, os.strerror(ctypes.get_errno())
print(next(line.split()[2].split(":")[1] for line in open("/proc/self/mountinfo") if sys.argv[1] in line), flush=True)
NEVER = {2, 18, 25, 36, 42}  # FORGET, RELEASE, FLUSH, INTERRUPT, BATCH_FORGET


def attributes(node):
    mode = 0o40755 if node == 1 else 0o100644
    return struct.pack("<6Q10I", node, 0, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


while True:
    try:
        request = os.read(fd, 1 << 17)
    except OSError:
        break  # aborted
    _, code, unique, node = struct.unpack_from("<IIQQ", request)
    if code in NEVER:
        continue
    answer = {
        26: struct.pack("<4I2H2I2HI7I", 7, 31, 0, 0, 1, 1, 1 << 16, 1, 0, 0, 0, *[0] * 7),
        1: struct.pack("<4Q2I", 2, 0, 60, 60, 0, 0) + attributes(2),
        3: struct.pack("<QII", 60, 0, 0) + attributes(node),
        14: struct.pack("<QII", 1, 0, 0),
    }.get(code)
    error = 0 if answer is not None else -38
    body = answer or b""
    os.write(fd, struct.pack("<IiQ", 16 + len(body), error, unique) + body)
"""
CLIENT = "import os, sys, time; os.open(sys.argv[1], os.O_RDONLY); print('open', flush=True); time.sleep(600)"


@pytest.fixture
def stuck(tmp_path: Path) -> Iterator[str]:
    """The number of a connection whose server is silent, with a client of the daemon's name that was killed."""
    point, program = tmp_path / "point", tmp_path / "qemu-storage-daemon"
    point.mkdir()
    program.symlink_to(sys.executable)
    server = subprocess.Popen(
        ["unshare", "--mount", sys.executable, "-c", SERVER, str(point)], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    number = server.stdout.readline().strip()
    inside = ["nsenter", f"--target={server.pid}", "--mount", str(program), "-c", CLIENT, str(point / "file")]
    client = subprocess.Popen(inside, stdout=subprocess.PIPE, text=True)
    try:
        assert client.stdout is not None
        assert client.stdout.readline() == "open\n"
        subprocess.run(["nsenter", f"--target={server.pid}", "--mount", "umount", "--lazy", str(point)], check=True)
        client.kill()
        until = time.monotonic() + 10
        while look() is None and time.monotonic() < until:
            time.sleep(0.1)
        yield number
    finally:
        server.kill()  # which aborts the connection with its last descriptor
        for process in (client, server):
            process.communicate(timeout=20)


def aborted(number: str) -> None:
    """Do what the hint says, in a namespace of its own."""
    script = f"mount -t fusectl fusectl /sys/fs/fuse/connections; echo 1 > /sys/fs/fuse/connections/{number}/abort"
    subprocess.run(["unshare", "--mount", "sh", "-c", script], check=True, timeout=20)


def test_a_mount_that_never_ends_is_told_with_what_lifts_it(stuck: str, tmp_path: Path) -> None:
    seen = look()
    assert isinstance(seen, StuckMount)
    assert len(seen.daemons) == 1
    assert seen.connections == [stuck]
    project = Project(tmp_path / "project", tmp_path / "cache")
    project.write("import bakery\n")
    started = time.monotonic()
    swept, doctor = project.bake("gc", "--json"), project.bake("doctor")
    assert time.monotonic() - started < 60
    assert swept.code == 10
    assert seen.what in json.loads(swept.out)["left"][0]["what"]
    assert seen.what in doctor.out
    assert f"({seen.daemons[0]})" in doctor.out
    aborted(stuck)
    until = time.monotonic() + 10
    while look() is not None and time.monotonic() < until:
        time.sleep(0.1)
    assert look() is None
    assert project.bake("gc").code == 0
