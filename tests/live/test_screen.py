"""The screen of a machine that is being built: as a picture, and to a VNC viewer."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from bakery.state.project import cache_folder
from tests.live.baking import Project, shared

pytestmark = [pytest.mark.live, pytest.mark.all]
PNG = b"\x89PNG\r\n\x1a\n"


def test_a_machine_under_way_is_seen(tmp_path: Path) -> None:
    place = Project(tmp_path / "project", shared(cache_folder(os.environ), tmp_path / "cache"))
    go = place.folder / "go"
    place.task(
        "m.run('while [ ! -e /tmp/go ]; do sleep 0.2; done &')",
        f"import time; t = Path({str(go)!r})",
        "while not t.exists(): time.sleep(0.1)",
    )
    assert "has no machine" in place.bake("screenshot").err or "no run" in place.bake("screenshot").err
    bake = place.start("build", "--no-test", "--no-cache")
    try:
        place.wait(bake, lambda event: event["type"] == "step-started")
        shot = place.folder / "now.png"
        done = place.bake("screenshot", "-o", str(shot))
        assert (done.code, done.out.strip()) == (0, str(shot)), done.err
        assert shot.read_bytes().startswith(PNG)
        wrong = place.bake("screenshot", "--build", "other")
        assert (wrong.code, "there are machines of tiny" in wrong.err) == (2, True), wrong.err
        words = place.words("vnc")
        with subprocess.Popen(words, env=place.env, stdout=subprocess.PIPE, text=True) as viewing:
            assert viewing.stdout is not None
            address = viewing.stdout.readline().strip()
            assert address.startswith("vnc://127.0.0.1:")
            with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=20) as viewer:
                assert viewer.recv(12) == b"RFB 003.008\n"
                viewer.sendall(b"RFB 003.008\n")
                assert viewer.recv(2) == b"\x01\x01", "one way in, which is without a password"
            go.touch()
            told, _ = bake.communicate(timeout=300)
            assert bake.returncode == 0, told
            assert viewing.wait(30) == 0, "it ends with the machine"
    finally:
        if bake.poll() is None:
            bake.terminate()
            bake.communicate(timeout=60)
    assert not [thing for thing in place.left() if ".bakery/images" not in thing]
