"""A real build on a cluster: a container whose host is lost, and which goes on elsewhere from its checkpoint."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bakery.drivers.nspawn import host
from tests.contract.clusterrig import ClusterRig
from tests.live.baking import Project

pytestmark = [
    pytest.mark.live,
    pytest.mark.all,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(host.why_plain()), reason=f"no container: {host.why_plain()}"),
]

IMAGEFILE = """
import bakery
from bakery.drivers import Debian, Nspawn

@bakery.source
def container() -> Nspawn:
    return Nspawn(base=Debian("bookworm"))

""" + "\n".join(
    f"""
@bakery.task
def t{number}(m):
    m.run("echo {number} >>/root/tasks; sleep {60 if number == 9 else 0.1}")
"""
    for number in range(1, 11)
)
IMAGEFILE += """
@bakery.image(tasks=[t1, t2, t3, t4, t5, t6, t7, t8, t9, t10], tests=[])
def ten():
    return None
"""


def test_a_lost_hosts_build_goes_on_elsewhere_from_its_eighth_task(project: Project, tmp_path: Path) -> None:
    """The hosts share nothing but a store: the other one fetches what it needs of the base and the checkpoints."""
    project.write(IMAGEFILE)
    (project.folder / ".bakeryignore").write_text("tmp\n")
    shared = tmp_path / "shared"
    with ClusterRig(tmp_path) as rig:

        def start(name: str) -> None:
            own = {
                **project.env,
                "BAKERY_CACHE_DIR": str(tmp_path / f"cache-{name}"),
                "BAKERY_STORE": f"file://{shared}",
            }
            rig.start_workers(name, words=("--slots", "1"), environ=own)

        start("w1")
        start("w2")
        command = [sys.executable, "-m", "bakery", "-C", str(project.folder), "build", "--no-test", "--on", rig.address]
        with (tmp_path / "bake.log").open("w") as log:
            bake = subprocess.Popen(command, stdout=log, stderr=log, env=project.env, start_new_session=True)
        try:
            first = _lost_in_the_ninth(rig, tmp_path / "bake.log", bake, shared)
            code = bake.wait(900)
        finally:
            bake.terminate()
        told = (tmp_path / "bake.log").read_text()
        assert code == 0, told
        after = told.partition("it goes on at")[2]
        assert f"{first} on " in told
        assert re.search(r"task 9/10 t9 \.\.\.", after), told
        assert not re.search(r"task 8/10 t8 \.\.\.", after), told
        assert (project.folder / ".bakery/images/container/ten.qcow2").stat().st_size > 50 << 20
        start(first)  # a real host would have lost the container too
        assert "which an earlier worker left" in rig.log(first)


def _lost_in_the_ninth(rig: ClusterRig, log: Path, bake: subprocess.Popen[bytes], shared: Path) -> str:
    """Kill the worker that makes the image, and its build, once the eighth task's checkpoint is shared."""
    end = time.monotonic() + 900
    while "task 9/10 t9 ..." not in log.read_text() or not _has_eighth(shared):
        assert bake.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.2)
    found = re.search(r"made by (w\d) on", log.read_text())
    assert found is not None
    rig.kill_host(found[1])
    return found[1]


def _has_eighth(shared: Path) -> bool:
    return any('"task": "t8"' in path.read_text() for path in shared.glob("checkpoints/*.json"))
