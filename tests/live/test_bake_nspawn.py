"""Builds in a container: tested in QEMU, and the same image as a virtual machine's."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakery.drivers.nspawn import host
from tests.live.baking import Project, clean
from tests.live.content import differences, listing

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(bool(host.why_plain()), reason=f"no container: {host.why_plain()}"),
]

BOTH = """
import bakery
from bakery.drivers import Debian, Nspawn, Qemu

UNIT = '''
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
[Install]
WantedBy=multi-user.target
'''


@bakery.source
def machine() -> Qemu:
    return Qemu(base=Debian("bookworm"))


@bakery.source
def container() -> Nspawn:
    return Nspawn(base=Debian("bookworm"))


@bakery.task
def hello(m):
    m.write("/etc/systemd/system/hello.service", UNIT)
    m.run("systemctl enable --now hello")
    m.run("useradd --create-home app && install -d -o app -g app -m 2750 /srv/app && echo 1 >/srv/app/data")
    m.write("/srv/app/own", "own\\n", owner="app", mode=0o640)


@bakery.task
def nginx(m):
    m.run("apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends nginx-light")
    m.run("systemctl is-active nginx")
    m.write("/etc/motd", "one\\n")


@bakery.test
def hello_runs(host):
    assert host.service("hello").is_running
    assert host.file("/srv/app").mode == 0o2750
    assert host.file("/srv/app/own").user == "app"


@bakery.image(sources=[machine, container], tasks=[hello, nginx], tests=[hello_runs])
def web():
    return None
"""


@pytest.mark.all
@pytest.mark.timeout(1800)
def test_one_imagefile_gives_the_same_image_in_a_machine_and_in_a_container(project: Project, tmp_path: Path) -> None:
    project.write(BOTH)
    done = project.bake("--no-test", timeout=1700)  # both at once
    clean(done, 0)
    paths = {Path(line).parent.name: Path(line) for line in done.out.splitlines()}
    assert set(paths) == {"machine", "container"}
    seen = {source: listing(path, tmp_path / source) for source, path in paths.items()}
    assert len(seen["machine"]) > 10_000
    assert differences(seen["machine"], seen["container"]) == []


@pytest.mark.all
@pytest.mark.timeout(600)
def test_a_changed_last_task_gives_the_image_that_a_whole_build_gives(project: Project, tmp_path: Path) -> None:
    """Two are the base's disk, changed, one of them of layers that were restored; the other is made from the start."""
    project.write(BOTH)
    clean(project.bake("--only", "container", "--no-test"), 0)
    changed = BOTH.replace("one\\n", "two\\n")
    project.write(changed)
    restored = project.bake("--only", "container", "--no-test")
    clean(restored, 0)
    outcomes = {event["step"]: event["outcome"] for event in project.events() if event["type"] == "step-ended"}
    assert outcomes == {"hello": "cached", "nginx": "ok"}
    seen = [listing(Path(restored.out.strip()), tmp_path / "seen")]
    for name, text in (
        ("raw", changed.replace('Nspawn(base=Debian("bookworm"))', 'Nspawn(base=Debian("bookworm"), format="raw")')),
        # Where a boot loader is changed, the disk is made from the start.
        ("whole", changed.replace('two\\n")', 'two\\n")\n    m.run("chmod 755 /usr/lib/grub")')),
    ):
        whole = Project(tmp_path / name, project.cache)
        whole.write(text)
        done = whole.bake("--only", "container", "--no-test", "--no-cache")
        clean(done, 0)
        seen.append(listing(Path(done.out.strip()), tmp_path / "seen"))
    one, raw, other = seen
    assert len(one) > 10_000
    assert one["/etc/motd"].content == other["/etc/motd"].content
    assert differences(one, other) == []
    assert differences(raw, other) == []


@pytest.mark.all
@pytest.mark.timeout(1800)
def test_what_a_container_is_captured_as_is_tested_as_a_virtual_machine(project: Project) -> None:
    project.write(BOTH)
    done = project.bake("--only", "container", timeout=1700)
    clean(done, 0)
    tests = {event["test"]: event["outcome"] for event in project.events() if event["type"] == "test-ended"}
    assert tests["hello_runs"] == "passed"
    assert "failed" not in tests.values()
    assert project.left() == {"file .bakery/images/container/web.qcow2"}


RESTARTS = """
import bakery
from bakery import Machine
from bakery.drivers import Debian, Nspawn
from bakery.errors import TaskError

BORN = "cut -d' ' -f22 /proc/1/stat"


@bakery.source
def container() -> Nspawn:
    return Nspawn(base=Debian("bookworm"))


@bakery.task
def restarts_unseen(m: Machine) -> None:
    # systemd stops everything before it ends it, and nsenter on the host stops with this command
    before = m.run(BORN, hide=True).stdout
    m.run("(sleep 0.2; systemctl reboot) >/dev/null 2>&1 & sleep 60", warn=True)
    assert m.run(BORN, hide=True).stdout != before


@bakery.task
def restarts(m: Machine) -> None:
    for command in ("reboot", "systemctl reboot", "true && shutdown -r now", "sh -c 'sleep 1; init 6'"):
        before = m.run(BORN, hide=True).stdout
        assert m.run(command).ok
        assert m.run(BORN, hide=True).stdout != before, command
    try:
        m.run("shutdown -r +5; true")
    except TaskError as error:
        assert "m.reboot()" in error.hint
    m.run("shutdown -c")
    m.run("exit 5")
"""


@pytest.mark.all
@pytest.mark.timeout(600)
def test_a_command_that_restarts_a_container_is_waited_for(project: Project) -> None:
    project.write(RESTARTS)
    done = project.bake("--no-test", timeout=500)
    assert (done.code, "`exit 5` ended with exit code 5" in done.err) == (7, True), done.err
