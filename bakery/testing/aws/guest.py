"""One instance's real machine: a QEMU guest whose port 22 is at the instance's own address."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

from bakery.util import tools
from bakery.util.context import WorkContext
from bakery.util.process import PIPE, Process, start_process, wait

MEMORY = "128"
SMALLEST = 1 << 20
"""Bytes of a seed disk: busybox's findfs does not look at one that ends before its own buffer of 68 KiB."""
DOWN = 20.0
"""Seconds that a guest may take to power off by itself."""


class Guest:
    """A guest, on or off.

    Args:
        folder: where its disk, seed, console and monitor are.
        name: the instance's id.
        base: the disk that it starts from.
        user_data: what its seed holds.
        key: a public key, where the instance has a key pair.
    """

    def __init__(self, folder: Path, name: str, base: Path, *, user_data: str, key: str = "") -> None:
        self.name, self._folder = name, folder
        self.disk = folder / f"{name}.qcow2"
        self.console = folder / f"{name}.console"
        self._seed = folder / f"{name}.iso"
        self._process: Process | None = None
        self._work = WorkContext(cache=folder)
        create = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base.resolve()), "-F", "qcow2", str(self.disk)]
        tools.run(create, self._work, what="making the guest's disk")
        files = {"meta-data": f"instance-id: {name}\npublic-keys:\n - {key}\n", "user-data": user_data}
        self._seed.write_bytes(seed(files))

    @property
    def on(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def start(self, addresses: Iterable[str]) -> None:
        """Switch it on; its port 22 is at each address."""
        forwards = "".join(f",hostfwd=tcp:{address}:22-:22" for address in addresses)
        self._process = start_process(
            [
                "qemu-system-x86_64",
                "-accel",
                "tcg",
                "-m",
                MEMORY,
                "-display",
                "none",
                "-nodefaults",
                "-serial",
                f"file:{self.console}",
                "-monitor",
                "stdio",
                "-drive",
                f"file={self.disk},if=virtio",
                "-drive",
                f"file={self._seed},if=virtio,format=raw,readonly=on",
                "-device",
                "virtio-net-pci,netdev=n",
                "-device",
                "virtio-rng-pci",
                "-netdev",
                f"user,id=n,restrict=on{forwards}",
            ],
            stdin=PIPE,
            stdout=PIPE,
        )

    def stop(self) -> None:
        """Press its power button and wait; a guest that does not react is cut off."""
        if self._process is None or not self.on:
            return
        self._say("system_powerdown")
        if wait(self._process, DOWN) is None:
            self.kill()

    def kill(self) -> None:
        """Cut it off, and leave no process behind."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe:
                    pipe.close()

    def save(self, target: Path) -> None:
        """Copy its disk; a running guest is held still meanwhile, as a crash-consistent snapshot is."""
        if self.on:
            self._hold()
        part = target.with_suffix(".part")
        copy = ["qemu-img", "convert", "-U", "-O", "qcow2", str(self.disk), str(part)]
        tools.run(copy, self._work, what="copying the guest's disk")
        part.rename(target)
        if self.on:
            self._say("cont")

    def _hold(self) -> None:
        """Hold its processors still, and wait until the monitor says so."""
        self._say("stop")
        self._say("info status")
        if self._process and self._process.stdout:
            for line in self._process.stdout:
                if b"paused" in line:
                    break

    def _say(self, line: str) -> None:
        if self._process and self._process.stdin:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()


def seed(files: dict[str, str]) -> bytes:
    """Return a NoCloud seed disk."""
    from pycdlib.pycdlib import PyCdlib

    iso = PyCdlib()
    iso.new(interchange_level=3, vol_ident="cidata", rock_ridge="1.09")
    for number, (name, text) in enumerate(files.items()):
        content = text.encode()
        iso.add_fp(io.BytesIO(content), len(content), f"/FILE{number}.;1", rr_name=name)
    out = io.BytesIO()
    iso.write_fp(out)
    iso.close()
    return out.getvalue().ljust(SMALLEST, b"\0")
