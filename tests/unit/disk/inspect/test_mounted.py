"""XFS and btrfs as a mounted file system shows them: what the scripts print, and what is made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bakery.disk.inspect import mounted
from bakery.disk.inspect.mounted import MountedSystem
from bakery.disk.inspect.scan import Pattern
from bakery.disk.inspect.tree import Tree, subvolumes
from bakery.disk.inspect.volumes import DiskVolume
from bakery.errors import DriverError
from bakery.util import tools
from bakery.util.process import exit_text
from bakery.util.waiting import Cancel

ROOT = DiskVolume(number=1, start=1 << 20, size=1 << 30, kind="btrfs", label="fedora")
FSTAB = "LABEL=fedora / btrfs subvol=root 0 0\nLABEL=fedora /home btrfs rw,subvol=/home 0 0\n"


class Kernel:
    """What is in each subvolume."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.files: dict[str, dict[str, bytes]] = {
            "": {"root/": b"", "home/": b""},
            "root": {"etc/": b"", "etc/fstab": FSTAB.encode(), "etc/token": b"a secret-word b"},
            "home": {"ann/": b"", "ann/.bash_history": b"ls\n"},
        }
        self.options: list[str] = []
        self.asked: list[bytes] = []
        monkeypatch.setattr(tools, "run", self.run)

    def run(self, words: Any, *_: Any, stdin: bytes | None = None, accept: Any = (0,), **__: Any) -> bytes:
        script, _, kind, options, _, _, subvolume, *rest = words[[*words].index("-c") + 1 :]
        self.options.append(f"{kind} {options}")
        files = self.files[subvolume]
        if "find" in script:
            lines = ["2/d/755/0/0/4096/"]
            for name, data in files.items():
                kind = "d" if name.endswith("/") else "f"
                lines.append(f"9/{kind}/644/0/1/{len(data)}/{name.rstrip('/')}")
            return "\0".join([*lines, ""]).encode()
        if "grep" in script:
            assert accept == (0, 1)
            assert stdin is not None
            self.asked.append(stdin)
            found = (name for name, data in files.items() if any(line in data for line in stdin.splitlines()))
            return "".join(f"./{name}\0" for name in found).encode()
        return files[rest[0]]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


def test_subvolumes_are_joined_by_fstab(kernel: Kernel) -> None:
    found = mounted.systems(Path("/disk"), ROOT, Cancel())
    assert [system.subvolume for system in found] == ["", "root", "home"]
    tree = Tree(found)
    assert tree.is_system
    assert tree.text("/home/ann/.bash_history") == "ls\n"
    assert tree.top().path == "/"
    (entry,) = tree.files("/etc/token")
    assert (entry.mode, entry.size, entry.gid) == (0o100644, 15, 1)
    assert {entry.path for entry in tree.walk("/home")} == {"/home/ann", "/home/ann/.bash_history"}
    assert not found[0].owners([1])
    assert kernel.options[0] == (f"btrfs ro,loop,nosuid,nodev,noexec,offset={1 << 20},sizelimit={1 << 30},subvolid=5")


def test_a_file_is_found_by_its_content_and_a_line_that_only_looks_like_it_is_not(kernel: Kernel) -> None:
    (system,) = [system for system in mounted.systems(Path("/disk"), ROOT, Cancel()) if system.subvolume == "root"]
    hits = system.search([Pattern("pw", b"secret-word"), Pattern("long", b"secret-word\nsecond"), Pattern("no", b"")])
    assert [(path, pattern.name) for path, pattern, _ in hits] == [("/etc/token", "pw")]
    assert kernel.asked == [b"secret-word\n"]
    assert not system.search([Pattern("nothing", b"\n")])


def test_a_system_at_the_top_is_one(kernel: Kernel) -> None:
    kernel.files[""] = {"etc/": b"", "etc/hosts": b"x"}
    assert len(mounted.systems(Path("/disk"), ROOT, Cancel())) == 1
    xfs = MountedSystem(Path("/disk"), DiskVolume(number=1, start=0, size=9, kind="xfs"), Cancel())
    assert not xfs.compresses
    assert xfs.there()
    assert kernel.options[-1] == "xfs ro,loop,nosuid,nodev,noexec,offset=0,sizelimit=9,norecovery,nouuid"


def test_the_subvolumes_of_an_fstab() -> None:
    assert [*subvolumes(f"# x\n{FSTAB}UUID=1 /boot ext4 defaults\nproc /proc\nUUID=2 none swap sw\n")] == [
        "root",
        "home",
        None,
        None,
    ]


def test_only_root_may_mount(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert not mounted.possible()


@pytest.mark.parametrize(
    ("how", "is_refusal"), [(77, True), (32, False), (1, False), (137, False), (-9, False), (-15, False)]
)
def test_a_look_that_broke_off_is_not_taken_for_a_file_system_that_cannot_be_read(how: int, is_refusal: bool) -> None:
    error = DriverError("reading the xfs of 1 failed", why=f"unshare sh -c ... {exit_text(how)}\nmount: unknown type")
    assert mounted.is_refusal(error) is is_refusal
