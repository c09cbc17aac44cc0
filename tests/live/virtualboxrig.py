"""What the live tests of VirtualBox share: VirtualBox in a folder, a registry of each test's own, the tiny guest."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from bakery.drivers.virtualbox.api import answers
from bakery.drivers.virtualbox.source import VirtualBox
from bakery.model import Artifact
from bakery.state.project import cache_folder
from bakery.testing.aws.tiny import tiny_guest
from bakery.testing.virtualbox.root import ROOT, Home, make

SHOW_HOST_KEY = """#!/bin/sh
dropbearkey -t ed25519 -f /etc/dropbear/dropbear_ed25519_host_key >/tmp/made
{
    echo "-----BEGIN SSH HOST KEY KEYS-----"
    grep '^ssh-ed25519' /tmp/made
    echo "-----END SSH HOST KEY KEYS-----"
} >/dev/console
"""
"""The tiny guest knows no cloud-init: it makes a host key of its own, and shows it on the serial port."""


def root() -> Path:
    """Return the folder with VirtualBox, made where it is missing: the first time that takes some minutes."""
    if os.geteuid() != 0 or shutil.which("mmdebstrap") is None:
        pytest.skip("VirtualBox for tests needs root and mmdebstrap")
    return make(Path(os.environ.get(ROOT) or cache_folder(os.environ) / "virtualbox-sid"))


@contextmanager
def registry(folder: Path) -> Iterator[Home]:
    """Give a test a VirtualBox of its own, and end its service afterwards."""
    folder.mkdir(parents=True)
    home = Home(root=root(), path=folder)
    home.install()
    home.real("setproperty", "machinefolder", str(folder / "machines"))  # which by default is in the user's home
    try:
        yield home
    finally:
        home.end()


def tiny() -> Artifact:
    """Return the tiny guest's disk."""
    disk = tiny_guest(cache_folder(os.environ) / "tiny")
    return Artifact(driver="qemu", id=str(disk.absolute()), name="tiny", format="qcow2")


def source(**options: object) -> VirtualBox:
    """Return a source whose machine is up in seconds. Its kernel knows no AHCI, hence IDE."""
    settings = {"memory": "128M", "cpus": 1, "controller": "ide", "host_key": "console", "user_data": SHOW_HOST_KEY}
    return VirtualBox.from_settings({**settings, **options}, base=options.get("base", tiny()))


def golden(home: Home, folder: Path) -> None:
    """Register a machine of somebody else's: the tiny guest, with a port rule of its own and a snapshot "clean"."""
    disk = folder / "golden.vdi"
    subprocess.run(["qemu-img", "convert", "-O", "vdi", tiny().id, str(disk)], check=True)
    create = ["createvm", "--name=golden", "--ostype=Linux_64", "--platform-architecture=x86", "--register"]
    hardware = ["--memory=128", "--cpus=1", "--chipset=piix3", "--nic1=nat", "--nic-type1=virtio", "--boot1=disk"]
    for words in (
        [*create, f"--basefolder={folder / 'golden'}"],
        ["modifyvm", "golden", *hardware, "--nat-pf1=theirs,tcp,127.0.0.1,28080,,80"],
        ["storagectl", "golden", "--name", "IDE", "--add=ide", "--controller=PIIX4"],
        ["storageattach", "golden", "--storagectl=IDE", "--port=0", "--device=0", "--type=hdd", f"--medium={disk}"],
        ["snapshot", "golden", "take", "clean"],
    ):
        done = home.real(*words)
        assert done.returncode == 0, done.stderr


def environ(home: Home, cache: Path) -> dict[str, str]:
    """Return the variables of a `bake` whose VBoxManage is that of a registry."""
    return {**os.environ, **home.environ, "BAKERY_CACHE_DIR": str(cache)}


def bake(home: Home, folder: Path, *words: str, cache: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `bake` in a folder with an imagefile; its cache is in there too, unless another is named."""
    return subprocess.run(
        [sys.executable, "-m", "bakery", "-C", str(folder), *words],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=environ(home, cache or folder / "cache"),
    )


def raw_disk(image: Path, folder: Path) -> Path:
    """Return the disk of an appliance as a raw file."""
    folder.mkdir()
    with tarfile.open(image) as archive:
        archive.extractall(folder, filter="data")
    (vmdk,) = folder.glob("*.vmdk")
    raw = folder / "disk.raw"
    subprocess.run(["qemu-img", "convert", "-f", "vmdk", "-O", "raw", str(vmdk), str(raw)], check=True)
    return raw


def imports_into_a_fresh_registry(image: Path, folder: Path, *, memory: int) -> None:
    """Assert that an appliance becomes a machine of a VirtualBox that has never seen it, with nothing of this host."""
    with registry(folder / "another-home") as other:
        done = other.real("import", str(image), "--vsys=0", f"--basefolder={folder / 'imported'}")
        assert done.returncode == 0, done.stderr
        shown = other.real("showvminfo", image.stem, "--machinereadable").stdout
        assert f'name="{image.stem}"' in shown
        assert f"memory={memory}\n" in shown
        assert "Forwarding" not in shown
        extra = answers.extra_data(other.real("getextradata", image.stem, "enumerate").stdout)
        assert [key for key in extra if key.startswith(("bakery:", "VBoxInternal/"))] == []
        assert other.real("unregistervm", image.stem, "--delete").returncode == 0
        assert left(other) == set()


def boots_bare_in_qemu(raw: Path, folder: Path, *, memory: int, until: bytes, words: Sequence[str] = ()) -> None:
    """Assert that a disk boots in a plain QEMU, without a seed, a network, or anything of ours.

    Args:
        raw: the disk.
        folder: for the console.
        memory: in MiB.
        until: what its console then says.
        words: more of QEMU's, such as its firmware.
    """
    console = folder / "bare.console"
    line = ["qemu-system-x86_64", "-accel", "tcg", "-m", str(memory), "-display", "none", "-nodefaults", "-no-reboot"]
    line += ["-serial", f"file:{console}", "-drive", f"file={raw},format=raw,if=virtio", *words]
    with subprocess.Popen(line) as guest:
        try:
            wait_for(lambda: console.exists() and until in console.read_bytes(), 400)
        finally:
            guest.kill()


def left(home: Home) -> set[str]:
    """Return everything that a registry has, and the guests that run in it: one text for each thing."""
    machines = {f"machine {machine.name}" for machine in answers.machines(home.real("list", "vms").stdout)}
    media = {
        f"medium {medium.location}"
        for kind in ("hdds", "dvds")
        for medium in answers.media(home.real("list", kind).stdout)
    }
    return machines | media | {f"process {name}" for name in _guests(home)}


def _guests(home: Home) -> Iterator[str]:
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            if words and "qemu-system" in words[0] and Path(process.cwd()).is_relative_to(home.path):
                yield f"qemu {process.pid}"
        except psutil.Error:
            continue


def wait_for(seen: Callable[[], bool], seconds: float) -> None:
    """Wait until something is seen."""
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.2)
