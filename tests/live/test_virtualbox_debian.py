"""Debian through VirtualBox, as the manual shows it: built, exported, imported again, and tested as what that is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakery.state.project import cache_folder
from bakery.testing.virtualbox.root import Home
from tests.live import virtualboxrig as rig
from tests.live.baking import shared

pytestmark = [pytest.mark.live, pytest.mark.virtualbox, pytest.mark.timeout(3600)]
IMAGEFILE = """
import bakery
from bakery import Host, Machine
from bakery.drivers import Debian, VirtualBox


@bakery.source
def box() -> VirtualBox:
    note = {{"tmpfiles.extra": "f /run/of-the-firmware - - - - hello\\n"}}
    return VirtualBox(base=Debian("bookworm"), memory="1G", credentials=note, {options})


@bakery.task
def greeting(m: Machine) -> None:
    m.write("/etc/motd", "baked in VirtualBox\\n")
    m.run("grep -q hello /run/of-the-firmware")


@bakery.test
def is_debian_with_our_greeting(host: Host) -> None:
    assert host.system_info.codename == "bookworm"
    assert host.file("/etc/motd").contains("baked in VirtualBox")
    assert host.file("/sys/firmware/efi").exists is {efi}
    assert host.file("/run/of-the-firmware").content_string == "hello"


@bakery.image
def web() -> None: ...
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with rig.registry(tmp_path / "home") as home:
        yield home
        assert rig.left(home) == set()


@pytest.mark.parametrize(
    ("options", "efi"),
    [
        pytest.param("", False, id="as it is"),
        pytest.param('firmware="efi", controller="virtio", chipset="ich9"', True, id="efi", marks=pytest.mark.all),
        pytest.param('controller="nvme", nic="82540EM"', False, id="nvme", marks=pytest.mark.all),
    ],
)
def test_debian_is_built_in_virtualbox_and_tested_as_the_appliance_that_comes_of_it(
    tmp_path: Path, home: Home, options: str, efi: bool
) -> None:
    (tmp_path / "imagefile.py").write_text(IMAGEFILE.format(options=options, efi=efi), encoding="utf-8")
    cache = shared(cache_folder(os.environ), tmp_path / "cache", "bases")
    # a guest that is emulated on a busy host has taken ten minutes until it let us in
    done = rig.bake(home, tmp_path, "build", "--connect-timeout", "30m", cache=cache)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "smoke" in done.stderr
    image = tmp_path / ".bakery" / "images" / "box" / "web.ova"
    assert image.stat().st_size > 50 << 20
    assert rig.left(home) == set()
    rig.imports_into_a_fresh_registry(image, tmp_path, memory=1024)
    raw = rig.raw_disk(image, tmp_path / "unpacked")
    words = (
        "-cpu",
        "max,-la57,-svm,-erms,-fsrm",
        "-vga",
        "std",
        *(("-bios", "/usr/share/ovmf/OVMF.fd") if efi else ()),
    )
    rig.boots_bare_in_qemu(raw, tmp_path, memory=1024, until=b" login:", words=words)
