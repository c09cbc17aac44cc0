"""Disk images made without root, mount or loop device, with whatever a test wants to find in them."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

SECTOR = 512
ROOT_START = 6144
ROOT_SIZE = 102_400
HOME_START = 108_544
HOME_SIZE = 20_480


class Image:
    """A GPT disk with a BIOS boot partition, a root file system and one for /home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.disk = folder / "disk.raw"
        self.files: dict[str, bytes] = {
            "etc/passwd": b"root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/sh\n",
            "etc/fstab": b"LABEL=root / ext4 defaults 0 1\nLABEL=home /home ext4 defaults 0 2\n",
            "etc/machine-id": b"",
            "etc/ssh/sshd_config": b"PasswordAuthentication no\n",
            "root/.bashrc": b"PS1='$ '\n",
            "tmp/.keep/": b"",
            "var/tmp/.keep/": b"",
        }
        self.home: dict[str, bytes] = {"ann/.profile": b"umask 022\n"}

    def make(self) -> Path:
        """Write it."""
        with self.disk.open("wb") as file:
            file.truncate(72 << 20)
        table = (
            "label: gpt\nstart=2048,size=4096,type=21686148-6449-6E6F-744E-656564454649\n"
            f"start={ROOT_START},size={ROOT_SIZE}\nstart={HOME_START},size={HOME_SIZE}\n"
        )
        _run(["/usr/sbin/sfdisk", "-q", str(self.disk)], table)
        self._system("root", self.files, ROOT_START, ROOT_SIZE)
        self._system("home", self.home, HOME_START, HOME_SIZE)
        return self.disk

    def _system(self, label: str, files: Mapping[str, bytes], start: int, size: int) -> None:
        tree = self.folder / label
        for name, data in files.items():
            path = tree / name
            if name.endswith("/"):
                path.mkdir(parents=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        place = ["-E", f"offset={start * SECTOR},root_owner=0:0", str(self.disk), f"{size // 2}k"]
        _run(["/usr/sbin/mke2fs", "-q", "-t", "ext4", "-L", label, "-d", str(tree), *place])

    def change(self, command: str) -> None:
        """Change the root file system with debugfs."""
        _run(["/usr/sbin/debugfs", "-w", "-R", command, f"{self.disk}?offset={ROOT_START * SECTOR}"])

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes anywhere on the disk."""
        with self.disk.open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def qcow2(self) -> Path:
        """Make a compressed qcow2 of it."""
        target = self.folder / "disk.qcow2"
        _run(["qemu-img", "convert", "-c", "-O", "qcow2", str(self.disk), str(target)])
        return target


def _run(words: list[str], text: str = "") -> None:
    subprocess.run(words, input=text, text=True, check=True, capture_output=True)


@pytest.fixture
def image(tmp_path: Path) -> Image:
    """An image with nothing in it that should not be there."""
    return Image(tmp_path)
