"""The checks on a tree of files that is in memory; the real file systems are in the live tests."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from typing import Any, cast

from bakery.disk.inspect import KINDS, Finding, Hygiene, checks
from bakery.disk.inspect.ext4_reader import DirectoryEntry, _entries
from bakery.disk.inspect.tree import Tree
from bakery.disk.inspect.volumes import DiskVolume


class Memory:
    """A file system in memory, with the methods of Ext4."""

    subvolume = ""

    def __init__(self, files: Mapping[str, str], volume: DiskVolume | None = None) -> None:
        self.files = files
        self.volume = volume or DiskVolume(number=1, start=0, size=0, kind="ext4")

    def entries(self, *folders: str) -> tuple[DirectoryEntry, ...]:
        found: dict[str, DirectoryEntry] = {}
        for folder in folders:
            top = folder.rstrip("/") + "/"
            for number, (path, text) in enumerate(self.files.items()):
                if path.startswith(top):
                    name, _, below = path.removeprefix(top).partition("/")
                    mode = stat.S_IFDIR if below else stat.S_IFREG
                    found[top + name] = DirectoryEntry(top + name, number, mode, len(text))
        return tuple(found.values())

    def walk(self, folder: str) -> tuple[DirectoryEntry, ...]:
        top = folder.rstrip("/") + "/"
        return tuple(
            DirectoryEntry(path, number, stat.S_IFREG, len(text))
            for number, (path, text) in enumerate(self.files.items())
            if path.startswith(top)
        )

    def read(self, entry: DirectoryEntry) -> str:
        return list(self.files.values())[entry.inode]


def tree(*systems: Memory) -> Tree:
    return Tree(cast("Any", systems))


PASSWD = "root:x:0:0::/root:/bin/sh\nann:x:1:1::/home/ann:/bin/sh\ndaemon:x:1:1::/:/bin/false\nbroken\n"


def test_homes_are_those_of_the_users() -> None:
    assert checks.homes(tree(Memory({"/etc/passwd": PASSWD}))) == ("/root", "/etc/skel", "/home/ann")


def test_a_home_on_another_file_system_is_found_through_fstab() -> None:
    home = Memory({"/ann/.bash_history": "ls"}, DiskVolume(number=2, start=1, size=1, kind="ext4", uuid="AB-CD"))
    root = Memory({"/etc/passwd": PASSWD, "/etc/fstab": "# x\nUUID=ab-cd /home/ ext4 defaults\nproc /proc proc\n"})
    whole = tree(home, root)
    assert [finding.path for finding in checks.histories(whole)] == ["/home/ann/.bash_history"]
    assert whole.place(cast("Any", home), "/ann/x") == "/home/ann/x"
    stray = Memory({"/x": ""}, DiskVolume(number=7, start=0, size=0))
    assert whole.place(cast("Any", stray), "/x") == "/x on partition 7"


def test_a_file_of_keys_without_keys_is_fine() -> None:
    files = {"/etc/passwd": PASSWD, "/root/.ssh/authorized_keys": "# nobody\n", "/home/ann/.ssh/authorized_keys": ""}
    assert list(checks.authorized_keys(tree(Memory(files)))) == []


def test_an_empty_or_unset_machine_id_is_fine() -> None:
    for text in ("", "\n", "uninitialized\n"):
        assert list(checks.machine_id(tree(Memory({"/etc/machine-id": text, "/etc/x": ""})))) == []
    assert len(list(checks.machine_id(tree(Memory({"/etc/machine-id": "abc\n"}))))) == 1


def test_public_host_keys_are_fine() -> None:
    files = {"/etc/ssh/ssh_host_rsa_key.pub": "x", "/etc/ssh/ssh_host_rsa_key": "", "/etc/ssh/sshd_config": "x"}
    assert list(checks.host_keys(tree(Memory(files)))) == []


def test_a_swap_file_of_fstab_is_found() -> None:
    files = {"/etc/fstab": "/data/swap none swap sw 0 0\n/dev/sda2 none swap sw 0 0\n", "/data/swap": "x"}
    assert [finding.path for finding in checks.swap(tree(Memory(files)))] == ["/data/swap"]


def test_an_image_without_a_root_file_system_is_no_system() -> None:
    assert not tree(Memory({"/boot/x": ""})).is_system


def test_debugfs_listings_are_read_with_odd_names() -> None:
    text = "/2/040755/0/0/.//\n/2/040755/0/0/..//\n/25/100644/0/0/file one/2/\n/0/100644/0/0/deleted/2/\n/x: none\n"
    assert list(_entries("/tmp/", text)) == [DirectoryEntry("/tmp/file one", 25, 0o100644, 2)]


def test_only_wanted_kinds_and_paths_are_reported() -> None:
    finding = Finding("history", "/root/.bash_history", "x")
    assert Hygiene().wants(finding)
    assert not Hygiene(off=frozenset({"history"})).wants(finding)
    assert not Hygiene(allow=("/root/*",)).wants(finding)
    assert finding.fatal
    assert {kind for kind, fatal in KINDS.items() if not fatal} == {
        "not-inspected",
        "private-key",
        "swap",
        "world-writable",
    }
