"""The disk of a Debian base, booted by a bare QEMU: every firmware and bus, growth, identity, a kernel upgrade."""

from __future__ import annotations

import base64
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from bakery.disk.bases.debian import Debian
from bakery.errors import NotYet
from bakery.machine.transport.banner import knock
from bakery.machine.transport.stages import NotReached
from bakery.model import Endpoint
from bakery.state.ssh_keys import make_keys
from bakery.util.context import WorkContext
from bakery.util.waiting import Cancel, until

pytestmark = pytest.mark.live

BUSES: Mapping[str, Sequence[str]] = {
    "bare": ("-drive", "file=disk.qcow2"),  # what a user types
    "virtio": ("-drive", "file=disk.qcow2,if=virtio,cache=unsafe"),
    "sata": ("-machine", "q35", "-drive", "file=disk.qcow2"),
    "nvme": ("-drive", "file=disk.qcow2,if=none,id=d", "-device", "nvme,drive=d,serial=1"),
    "vmware": ("-drive", "file=disk.qcow2,if=none,id=d", "-device", "pvscsi", "-device", "scsi-hd,drive=d"),
}
FIRMWARE = {"bios": (), "uefi": ("-bios", "/usr/share/ovmf/OVMF.fd")}


class Guest:
    """One running machine with a fresh key pair, a pinned host key and a private folder."""

    def __init__(self, folder: Path, words: Sequence[str], nic: str) -> None:
        keys = make_keys("bakery-live")
        self.folder = folder
        key = folder / "key"
        key.touch(0o600)
        key.write_text(keys.user_private)
        files = {"ssh_host_ed25519_key": keys.host_private, "ssh_host_ed25519_key.pub": keys.host_public}
        lines = (
            f"f+~ /etc/ssh/{name} 0600 root root - {_coded(text.strip() + chr(10))}\n" for name, text in files.items()
        )
        credentials = {"ssh.authorized_keys.root": keys.user_public, "tmpfiles.extra": "".join(lines)}
        for name, text in credentials.items():
            (folder / name).write_text(f"io.systemd.credential.binary:{name}={_coded(text)}")
        self.port = _free_port()
        host_key = " ".join(keys.host_public.split()[:2])
        (folder / "known").write_text(f"[127.0.0.1]:{self.port} {host_key}\n")
        self.process = subprocess.Popen(
            (
                "qemu-system-x86_64",
                "-accel",
                "tcg,thread=multi",
                "-cpu",
                "max,-la57,-svm,-erms,-fsrm",
                "-smp",
                "2",
                "-m",
                "1024",
                "-display",
                "none",
                "-serial",
                "file:console.log",
                *words,
                *(word for name in credentials for word in ("-smbios", f"type=11,path={name}")),
                "-netdev",
                f"user,id=n,hostfwd=tcp:127.0.0.1:{self.port}-:22",
                "-device",
                f"{nic},netdev=n",
            ),
            cwd=folder,
        )

    def run(self, command: str, timeout: float = 60) -> str:
        done = self._ssh(command, timeout)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def wait(self, last_boot: str = "") -> str:
        """Wait for a boot other than `last_boot`, and for the end of that boot; returns its id."""

        def probe() -> str:
            try:
                knock(Endpoint(transport="ssh", host="127.0.0.1", port=self.port), 5, self._alive).close()
                done = self._ssh("cat /proc/sys/kernel/random/boot_id", 60)
            except (NotReached, subprocess.TimeoutExpired):
                self._alive()
                raise NotYet("no answer") from None
            if done.returncode or done.stdout.strip() in ("", last_boot):
                raise NotYet(f"{done.stderr}\n{self.console()[-1500:]}")
            return done.stdout.strip()

        found = until(probe, what="a login", timeout=400, cancel=Cancel())
        assert self._ssh("systemctl is-system-running --wait", 200).stdout.strip() == "running", self.console()
        return found

    def _alive(self) -> None:
        if self.process.poll() is not None:
            pytest.fail(f"the machine died:\n{self.console()}")

    def console(self) -> str:
        log = self.folder / "console.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def _ssh(self, command: str, timeout: float) -> subprocess.CompletedProcess[str]:
        options = ("UserKnownHostsFile=known", "StrictHostKeyChecking=yes", "BatchMode=yes", "ConnectTimeout=60")
        words = ("ssh", "-F", "none", "-i", "key", "-p", str(self.port), *(f"-o{option}" for option in options))
        return subprocess.run(
            (*words, "root@127.0.0.1", command),
            cwd=self.folder,
            timeout=timeout,
            capture_output=True,
            text=True,
            check=False,
        )


def _coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def booted(disk: Path, folder: Path, *, firmware: str, bus: str, nic: str = "virtio-net-pci") -> Iterator[Guest]:
    subprocess.run(
        ("qemu-img", "create", "-q", "-f", "qcow2", "-b", disk, "-F", "raw", "disk.qcow2", "8G"), cwd=folder, check=True
    )
    guest = Guest(folder, (*BUSES[bus], *FIRMWARE[firmware]), nic)
    try:
        guest.wait()
        yield guest
    finally:
        guest.process.kill()
        guest.process.wait()


@pytest.fixture(scope="session")
def work() -> WorkContext:
    cache = Path(os.environ.get("BAKERY_CACHE_DIR", Path.home() / ".cache" / "bakery"))
    return WorkContext(cache=cache)


@pytest.fixture(scope="session")
def bookworm(work: WorkContext) -> Path:
    assert not list(Debian("bookworm").check())
    return Debian("bookworm").disk(work).path


@pytest.mark.all
@pytest.mark.parametrize(
    ("firmware", "bus", "nic"),
    [
        ("bios", "bare", "e1000"),
        ("bios", "sata", "e1000e"),
        ("uefi", "virtio", "virtio-net-pci"),
        ("uefi", "sata", "e1000e"),
        ("bios", "nvme", "virtio-net-pci"),
        ("bios", "vmware", "vmxnet3"),
    ],
)
def test_it_boots_whole_and_grows_into_the_disk(
    bookworm: Path, tmp_path: Path, firmware: str, bus: str, nic: str
) -> None:
    with booted(bookworm, tmp_path, firmware=firmware, bus=bus, nic=nic) as guest:
        assert int(guest.run("df --output=size -BM / | tail -1").removesuffix("M")) > 7500
        assert guest.run("test -d /sys/firmware/efi && echo uefi || echo bios") == firmware
        assert guest.run("cloud-init status").startswith("status: disabled")
        script = "/etc/init.d/cloud-init"  # which Debian 13 would take for a service when this one is upgraded
        assert guest.run(f"test -e {script} && echo there || echo gone") == "gone"
        assert guest.run("cat /proc/cmdline").endswith("console=tty0 console=ttyS0,115200 quiet")
        assert guest.run("getent hosts 10.0.2.2 localhost | wc -l") != "0"
        assert guest.run("ls /etc/ssh/ssh_host_*_key") == "/etc/ssh/ssh_host_ed25519_key"


@pytest.mark.all
def test_two_machines_of_one_disk_are_two_machines_and_make_their_own_host_keys(bookworm: Path, tmp_path: Path) -> None:
    found = set()
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        with booted(bookworm, folder, firmware="bios", bus="virtio") as guest:
            identity = guest.run("cat /etc/machine-id")
            assert re.fullmatch("[0-9a-f]{32}", identity)
            found.add(identity)
            # As on a machine that nobody gave a key: the unit makes all kinds, and sshd waits for the first alone.
            guest.run("rm /etc/ssh/ssh_host_*; systemctl restart ssh-host-keys.service", timeout=120)
            assert guest.run("test -s /etc/ssh/ssh_host_ed25519_key && echo made") == "made"
            guest.run("while [ -e /etc/ssh/.host-keys-wanted ]; do sleep 1; done", timeout=180)
            assert guest.run("ls /etc/ssh/ssh_host_*_key | wc -l") == "3"
            guest.run("until ssh-keyscan -t rsa localhost 2>/dev/null | grep -q ssh-rsa; do sleep 1; done", timeout=60)
            found.add(guest.run("cat /etc/ssh/ssh_host_ed25519_key.pub"))
    assert len(found) == 4


RECONFIGURE = "dpkg-reconfigure --frontend=noninteractive linux-image-$(uname -r)"
"""What dpkg does last when it has unpacked a kernel: its postinst makes the initramfs and calls update-grub."""
UPGRADE = (
    "export DEBIAN_FRONTEND=noninteractive; apt-get update && apt-get --yes full-upgrade && "
    "apt-get --yes --reinstall install linux-image-$(uname -r) grub-pc grub-common && update-grub"
)


@pytest.mark.all
@pytest.mark.timeout(3600)  # dpkg and the initramfs take minutes on an emulated processor
@pytest.mark.parametrize("command", [RECONFIGURE, UPGRADE], ids=["kernel", "all"])
def test_a_new_kernel_and_update_grub_leave_it_bootable(bookworm: Path, tmp_path: Path, command: str) -> None:
    with booted(bookworm, tmp_path, firmware="bios", bus="virtio") as guest:
        first = guest.run("cat /proc/sys/kernel/random/boot_id")
        made = guest.run("stat --format=%i.%Y /boot/initrd.img-$(uname -r)")
        guest.run(command, timeout=2400)
        assert guest.run("stat --format=%i.%Y /boot/initrd.img-$(uname -r)") != made
        menu = guest.run("cat /boot/grub/grub.cfg")
        assert "### BEGIN /etc/grub.d/10_linux ###" in menu
        assert re.search(r"linux\s+/boot/vmlinuz-\S+ root=UUID=\S+ ro +console=tty0 console=ttyS0,115200 quiet", menu)
        guest._ssh("systemctl reboot", 30)
        guest.wait(last_boot=first)


def test_the_tree_has_nothing_of_this_host(work: WorkContext) -> None:
    tree = Debian("bookworm").tree(work).path
    assert (tree / "etc/hostname").read_text() == "debian\n"
    assert (tree / "etc/machine-id").read_text() == ""
    assert not list((tree / "etc/ssh").glob("ssh_host_*"))
    assert not list((tree / "etc/apt/apt.conf.d").glob("*mmdebstrap*"))
    assert [line.split()[1] for line in (tree / "etc/apt/sources.list").read_text().splitlines()] == [
        "http://deb.debian.org/debian",
        "http://deb.debian.org/debian",
        "http://security.debian.org/debian-security",
    ]


@pytest.mark.all
def test_a_flipped_byte_is_found_and_the_disk_made_anew(work: WorkContext, tmp_path: Path, bookworm: Path) -> None:
    own = WorkContext(cache=tmp_path)
    recipe = bookworm.parent.parent
    shutil.copytree(recipe, tmp_path / "bases" / recipe.name, ignore=shutil.ignore_patterns("tree"), symlinks=True)
    (tmp_path / "bases" / recipe.name / bookworm.parent.name / "tree").symlink_to(bookworm.parent / "tree")
    base = Debian("bookworm")
    assert base.intact(own)
    disk = tmp_path / bookworm.relative_to(work.cache)
    disk.chmod(0o644)
    with disk.open("r+b") as file:
        file.seek(512)
        file.write(b"x")
    assert not base.intact(own)
    assert base.disk(own).path == disk
    assert base.intact(own)
