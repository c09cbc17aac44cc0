"""The smallest imagefile with Debian, from nothing to an image that boots by itself; and what the cache makes of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bakery.state.project import cache_folder
from tests.live.baking import Done, Project, clean, shared
from tests.live.content import differences, listing
from tests.live.test_debian_base import BUSES, FIRMWARE, Guest

pytestmark = [pytest.mark.live, pytest.mark.timeout(1800)]

SMALLEST = """
import bakery
from bakery import Host, Machine
from bakery.drivers import Debian, Qemu

UNIT = '''
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
[Install]
WantedBy=multi-user.target
'''


@bakery.source
def laptop() -> Qemu:
    return Qemu(base=Debian("bookworm"))


@bakery.task
def unit(m: Machine) -> None:
    m.write("/etc/systemd/system/hello.service", UNIT)
    m.run("systemctl enable hello")


@bakery.task
def last(m: Machine) -> None:
    m.write("/etc/motd", "one\\n")


@bakery.test
def hello_runs(host: Host) -> None:
    assert host.service("hello").is_running
"""
SECRET = """

@bakery.variables
class Vars:
    password: bakery.Secret = bakery.secret(env="BAKE_TEST_PASSWORD")


@bakery.task
def careless(m: Machine, v: Vars) -> None:
    m.run('mkdir /srv/s; cd /srv/s; for i in $(seq 64); do echo "$P" >gone$i; echo stays >$i; done; sync; rm gone*',
          env={"P": v.password})
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("qemu")
    made = Project(folder / "project", shared(cache_folder(os.environ), folder / "cache"))
    made.write(SMALLEST)
    return made


@pytest.fixture(scope="module")
def baked(place: Project) -> Done:
    """The image is made and tested once, on two clones."""
    done = place.bake("build", "--clones", "2", timeout=1500)
    clean(done, 0)
    return done


@pytest.fixture(scope="module")
def image(baked: Done) -> Path:
    return Path(baked.out.strip())


@contextmanager
def booted(image: Path, folder: Path, *, firmware: str, bus: str) -> Iterator[Guest]:
    """What a user types, with a throw-away layer on the image."""
    overlay = ("qemu-img", "create", "-q", "-f", "qcow2", "-b", image, "-F", "qcow2", "disk.qcow2")
    subprocess.run(overlay, cwd=folder, check=True)
    guest = Guest(folder, (*BUSES[bus], *FIRMWARE[firmware]), "virtio-net-pci")
    try:
        guest.wait()
        yield guest
    finally:
        guest.process.kill()
        guest.process.wait()


def test_the_smallest_imagefile_bakes_and_two_clones_are_two_machines(baked: Done, image: Path, place: Project) -> None:
    assert "clones_differ" in {event.get("test") for event in place.events()}
    assert image == place.folder / ".bakery/images/laptop/project.qcow2"
    assert place.left() == {"file .bakery/images/laptop/project.qcow2"}


def test_nothing_changed_is_said_at_once(baked: Done, image: Path, place: Project) -> None:
    again = place.bake()
    clean(again, 0, "up to date")
    assert again.out.strip() == str(image)
    assert again.cpu < 1.5  # 0.3 s on an idle host
    assert not [event for event in place.events() if event["type"] == "phase-started"]


def cases() -> Iterator[object]:
    for firmware in FIRMWARE:
        for bus in BUSES:
            bounded = (firmware, bus) == ("bios", "bare")  # UEFI, and a bus: test_qemu_driver.py
            yield pytest.param(firmware, bus, marks=() if bounded else pytest.mark.all)


@pytest.mark.parametrize(("firmware", "bus"), [*cases()])
def test_the_image_boots_by_itself(image: Path, tmp_path: Path, firmware: str, bus: str) -> None:
    with booted(image, tmp_path, firmware=firmware, bus=bus) as guest:
        assert guest.run("cat /etc/motd; systemctl is-active hello") == "one\nactive"
        assert guest.run("test -d /sys/firmware/efi && echo uefi || echo bios") == firmware


@pytest.mark.all
def test_a_changed_last_task_goes_on_from_the_one_before_and_gives_what_a_whole_build_gives(
    baked: Done, place: Project, tmp_path: Path
) -> None:
    place.write(SMALLEST.replace("one\\n", "two\\n"))
    restored = place.bake("--no-test")
    clean(restored, 0)
    steps = {event["step"]: event["outcome"] for event in place.events() if event["type"] == "step-ended"}
    assert steps == {"unit": "cached", "last": "ok"}

    whole = Project(tmp_path / "whole", place.cache)
    whole.write(place.file.read_text())
    done = whole.bake("--no-test", "--no-cache")
    clean(done, 0)
    one = listing(Path(restored.out.strip()), tmp_path / "one.raw")
    other = listing(Path(done.out.strip()), tmp_path / "other.raw")
    assert len(one) > 10_000
    assert one["/etc/motd"].content == other["/etc/motd"].content
    assert differences(one, other) == []


@pytest.mark.all
def test_a_secret_in_files_that_a_task_deleted_is_in_no_free_block(place: Project, tmp_path: Path) -> None:
    """Its files lie between others that stay: only whole blocks are given back to the disk."""
    careless = Project(tmp_path / "careless", place.cache, {"BAKE_TEST_PASSWORD": "correct-horse-battery-staple"})
    careless.write(SMALLEST + SECRET)
    clean(careless.bake(), 0)
