"""debugfs, sfdisk and blkid in memory: one ext4 file system whose files lie where the test put them on the disk."""

from __future__ import annotations

import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field

BLOCK = 4096


@dataclass
class Node:
    """A file or a folder."""

    inode: int
    mode: int
    text: str = ""
    uid: int = 0
    gid: int = 0
    flags: int = 0x80000
    blocks: range = field(default_factory=lambda: range(0))


class Debugfs:
    """What the tools say of a file system.

    Args:
        start: where it begins on the disk, in bytes.
    """

    def __init__(self, start: int) -> None:
        self.start = start
        self.nodes: dict[str, Node] = {"/": Node(2, stat.S_IFDIR | 0o755)}
        self.scripts: list[str] = []
        self.words: list[str] = []
        self._next = 12

    def add(self, path: str, text: str = "", mode: int = 0o100644, *, at: range | None = None, uid: int = 0) -> Node:
        """Put a file, or a folder, there, with the folders above it; one whose name begins with NUL is in no folder."""
        parent = path.rpartition("/")[0] or "/"
        if path[0] == "/" and parent not in self.nodes:
            self.add(parent, mode=stat.S_IFDIR | 0o755)
        self.nodes[path] = Node(self._next, mode, text, uid, blocks=at or range(0))
        self._next += 1
        return self.nodes[path]

    def run(self, words: Sequence[str], text: str) -> str:
        """Answer as debugfs does."""
        assert words[-1].endswith(f"?offset={self.start}"), "another place on the disk was asked for"
        self.words = list(words)
        if words[1] == "-R":
            return self._one(words[2])
        self.scripts.append(text)
        return "".join(f"debugfs: {line}\n{self._one(line)}" for line in text.splitlines())

    def _one(self, command: str) -> str:
        name, _, rest = command.partition(" ")
        match name:
            case "ls":
                return self._listed(rest.removeprefix("-p "))
            case "cat":
                return self._by_inode(rest)[1].text
            case "stats":
                return f"Inode count: 100\nBlock size:               {BLOCK}\n"
            case "stat":
                return f"Inode: {rest}   Type: regular    Flags: {self._by_inode(rest)[1].flags:#x}\n"
            case "icheck":
                return "Block\tInode number\n" + "".join(
                    f"{block}\t{self._owner(int(block))}\n" for block in rest.split()
                )
            case "ncheck":
                found = {str(node.inode): path for path, node in self.nodes.items() if path[0] == "/"}
                return "Inode\tPathname\n" + "".join(
                    f"{number}\t/{found[number]}\n" for number in rest.split() if number in found
                )
        raise AssertionError(f"nobody foresaw {command!r}")

    def _listed(self, what: str) -> str:
        if what.startswith("<"):
            path, node = self._by_inode(what)
        else:
            path = what.strip('"').rstrip("/") or "/"
            if path not in self.nodes:
                return f"{path}: File not found by ext2_lookup \n"
            node = self.nodes[path]
        above = path.rstrip("/")
        lines = [f"/{node.inode}/{node.mode:06o}/{node.uid}/{node.gid}/{dot}//" for dot in (".", "..")]
        lines.append("/0/000000/0/0//0/")
        for name, below in self.nodes.items():
            if name != "/" and name.rpartition("/")[0] == above:
                size = "" if stat.S_ISDIR(below.mode) else len(below.text)
                last = name.rpartition("/")[2]
                lines.append(f"/{below.inode}/{below.mode:06o}/{below.uid}/{below.gid}/{last}/{size}/")
        return "\n".join([*lines, ""])

    def _by_inode(self, text: str) -> tuple[str, Node]:
        number = int(re.sub(r"[<>]", "", text))
        return next((path, node) for path, node in self.nodes.items() if node.inode == number)

    def _owner(self, block: int) -> str:
        if block == 1:
            return "8"  # the journal
        return next((str(node.inode) for node in self.nodes.values() if block in node.blocks), "<block not found>")
