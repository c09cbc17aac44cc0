"""Debian's releases baked as a user does, and another kernel in an image: it boots, by itself, on the new one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bakery.drivers.nspawn import host
from bakery.state.project import cache_folder
from tests.live.baking import Project, clean, shared

pytestmark = [pytest.mark.live, pytest.mark.all, pytest.mark.timeout(3600)]

HEAD = """
import bakery
from bakery import Host, Machine
from bakery.drivers import Debian, Nspawn, Qemu

"""
RELEASE = (
    HEAD
    + """
@bakery.source
def laptop() -> Qemu:
    return Qemu(base=Debian({release!r}), memory="1G")


@bakery.task
def login(m: Machine) -> None:
    m.run("useradd --create-home --shell /bin/bash baker && echo baker:secret | chpasswd")
    m.run("echo 'baker was here' >/home/baker/note", user="baker")


@bakery.test
def right_release(host: Host) -> None:
    assert host.system_info.codename == {release!r}


@bakery.test
def somebody_can_log_in(host: Host) -> None:
    assert host.user("baker").shell == "/bin/bash"
    assert host.file("/home/baker/note").user == "baker"
"""
)
KERNEL = (
    HEAD
    + """
INSTALL = (
    "apt-get update && apt-get --yes install --no-install-recommends linux-image-6.12-amd64 && "
    "apt-get --yes full-upgrade && {menu} && update-initramfs -u -k all"
)


@bakery.source
def here() -> {driver}:
    return {driver}(base=Debian("bookworm"))


@bakery.task(timeout=2700)
def another_kernel(m: Machine) -> None:
    m.run(INSTALL, env={{"DEBIAN_FRONTEND": "noninteractive"}})
    {after}


@bakery.test
def runs_the_new_kernel(host: Host) -> None:
    assert host.check_output("uname -r").startswith("6.12.")
    menu = host.file("/boot/grub/grub.cfg").content_string
    assert "root=UUID=" in menu or "root=LABEL=" in menu
"""
)
KEYS = (
    HEAD
    + """
NEVER = '''
[Unit]
ConditionPathExists=/never
Before=ssh.service

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A
'''


@bakery.source
def here() -> Nspawn:
    return Nspawn(base=Debian("trixie"))


@bakery.task
def as_debian_made_it(m: Machine) -> None:
    m.run("systemctl disable ssh-host-keys")
    m.run("rm -r /etc/systemd/system/ssh-host-keys.service /etc/systemd/system/ssh@.service.d")


@bakery.task
def a_maker_that_never_runs(m: Machine) -> None:
    m.write("/etc/systemd/system/mine.service", NEVER)
    m.run("mkdir -p /etc/systemd/system/ssh.service.wants")
    m.run("ln -s ../mine.service /etc/systemd/system/ssh.service.wants/")


@bakery.task
def harden(m: Machine) -> None:
    m.run("useradd --create-home deploy")
    m.write("/etc/ssh/sshd_config.d/10-hard.conf", "Port 2222\\nPermitRootLogin no\\nAllowUsers deploy\\n")


@bakery.test
def deploy_is_who_gets_in(host: Host) -> None:
    assert host.user().name == "root"
    assert host.socket("tcp://0.0.0.0:2222").is_listening


@bakery.image(tasks=[as_debian_made_it, harden], login=bakery.Login(user="deploy", port=2222))
def good() -> None:
    return None


@bakery.image(tasks=[as_debian_made_it, a_maker_that_never_runs], tests=[])
def bad() -> None:
    return None
"""
)
REBOOTS = 'm.reboot(timeout=600)\n    assert m.run("uname -r").stdout.startswith("6.12.")'


@pytest.fixture
def place(tmp_path: Path) -> Project:
    return Project(tmp_path / "project", shared(cache_folder(os.environ), tmp_path / "cache"))


@pytest.mark.parametrize("release", ["bullseye", "bookworm", "trixie"])
def test_a_release_bakes_is_logged_in_to_and_boots(place: Project, release: str) -> None:
    place.write(RELEASE.format(release=release))
    clean(place.bake("build", timeout=3000), 0)
    passed = {
        event["test"] for event in place.events() if event["type"] == "test-ended" if event["outcome"] == "passed"
    }
    assert {"right_release", "somebody_can_log_in", "no_failed_units", "host_keys_are_made"} <= passed
    assert place.left() == {"file .bakery/images/laptop/project.qcow2"}


NSPAWN = pytest.mark.skipif(bool(host.why_plain()), reason=f"no container: {host.why_plain()}")


@NSPAWN
def test_an_image_of_debian_13_as_it_is_makes_host_keys_and_lets_in_whom_it_says(place: Project) -> None:
    """Its own sshd-keygen.service waits for a first boot, which a sealed image has none of."""
    place.write(KEYS)
    clean(place.bake("build", "good", timeout=3000), 0)
    passed = {
        event["test"] for event in place.events() if event["type"] == "test-ended" if event["outcome"] == "passed"
    }
    assert {"deploy_is_who_gets_in", "host_keys_are_made", "host_keys_are_new"} <= passed


@NSPAWN
def test_an_image_that_makes_no_host_keys_is_not_kept(place: Project) -> None:
    place.write(KEYS)
    clean(place.bake("build", "bad", timeout=3000), 8, "nobody can log in to a machine of this image")
    assert place.images() == []


@pytest.mark.parametrize(
    ("driver", "menu", "after"),
    [
        pytest.param("Qemu", "update-grub", REBOOTS, id="qemu"),
        pytest.param(  # a container has no disk for update-grub to look at: the menu is written when it is captured
            "Nspawn",
            "true",
            "pass",
            id="nspawn",
            marks=pytest.mark.skipif(bool(host.why_plain()), reason=f"no container: {host.why_plain()}"),
        ),
    ],
)
def test_another_kernel_is_installed_and_the_image_boots_on_it(
    place: Project, driver: str, menu: str, after: str
) -> None:
    place.write(KERNEL.format(driver=driver, menu=menu, after=after))
    clean(place.bake("build", "--no-cache", timeout=3500), 0)
    (image,) = place.images()
    assert Path(image["id"]).stat().st_size == image["size"]


RESTARTS = """
import bakery
from bakery import Machine
from bakery.drivers import Debian, Qemu
from bakery.errors import TaskError

BORN = "cat /proc/sys/kernel/random/boot_id"


@bakery.source
def laptop() -> Qemu:
    return Qemu(base=Debian("bookworm"))


@bakery.task
def restarts(m: Machine) -> None:
    for command in ("reboot", "systemctl reboot", "true && shutdown -r now"):
        before = m.run(BORN, hide=True).stdout
        assert m.run(command).ok
        assert m.run(BORN, hide=True).stdout != before, command
        m.run("echo after >>/root/boots && sync")
    try:
        m.run("shutdown -r +5; true")
    except TaskError as error:
        assert "m.reboot()" in error.hint
    m.run("shutdown -c")
    m.run("test $(wc -l </root/boots) = 3 && exit 5")
"""


@pytest.mark.all
@pytest.mark.timeout(1800)
def test_a_command_that_restarts_a_virtual_machine_is_waited_for(place: Project) -> None:
    place.write(RESTARTS)
    done = place.bake("--no-test", timeout=1700)
    assert (done.code, "exit 5` ended with exit code 5" in done.err) == (7, True), done.err
    assert place.left() == set()
