"""What Ansible tells us while it runs: results of tasks, and what it read on this host."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bakery.provision.items import Item
from bakery.util.observer import note_environment, note_input, note_output, note_untraceable

LARGEST: Final = 1 << 20
"""Bytes of a message; the kernel allows less."""
_END: Final = b"end"
NOT_INPUTS: Final = ("/proc/", "/sys/", "/dev/", "/usr/lib/", "/usr/lib64/", "/usr/share/zoneinfo/", "/lib/")
"""Folders of the host's whose content is no input of a step."""


@dataclass
class Told:
    """All that Ansible told.

    Args:
        items: results, in order.
        read: kind and name of what was looked at.
        stats: of each host, Ansible's own numbers; empty where it did not come to its end.
        idle: plays that matched no host.
        module_utils: the folder of this host with Ansible's own library for modules.
    """

    items: list[Item] = field(default_factory=list[Item])
    implicit: set[int] = field(default_factory=set[int])
    read: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    stats: Mapping[str, Mapping[str, int]] = field(default_factory=dict[str, Mapping[str, int]])
    idle: list[str] = field(default_factory=list[str])
    module_utils: str = ""

    def take(self, message: Mapping[str, Any]) -> Item | None:
        """Take a message; return the item that it tells of."""
        match message["type"]:
            case "read":
                self.read.append((message["kind"], message["name"]))
            case "stats":
                self.stats = message["hosts"]
            case "module-utils":
                self.module_utils = message["path"]
            case "no-hosts":
                self.idle.append(message["play"])
            case "result":
                item = _item(message)
                if message["implicit"]:
                    self.implicit.add(len(self.items))
                self.items.append(item)
                return item
        return None

    @property
    def own(self) -> list[Item]:
        """Results of tasks that somebody wrote; not of those that Ansible adds, such as gathering facts."""
        return [item for number, item in enumerate(self.items) if number not in self.implicit]

    def note_inputs(self, ignored: Sequence[str]) -> None:
        """Tell who watches the step what it took in; from the step's own thread.

        Args:
            ignored: folders whose content is no input: Python's, Ansible's, our own.
        """
        for kind, name in self.read:
            if kind == "program":
                note_untraceable(f"Ansible runs {name} on this host")
            elif kind == "env":
                note_environment(name)
            elif (path := _source(name)) is not None and not path.startswith((*NOT_INPUTS, *ignored)):
                if kind == "wrote":
                    if Path(path).is_file():  # a file without a name is opened by that of its folder
                        note_output(path)
                else:
                    note_input("listing" if kind == "listing" else "file", path)


@contextmanager
def listening(heard: Callable[[Item], None]) -> Generator[tuple[int, Told]]:
    """Yield a descriptor for Ansible to write to, and what it told so far; all of it, once `with` is left.

    Args:
        heard: told of each item, from another thread.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    told = Told()

    def listen() -> None:
        while (data := ours.recv(LARGEST)) != _END:
            item = told.take(json.loads(data))
            if item is not None:
                heard(item)

    thread = threading.Thread(target=listen, name="bakery-ansible", daemon=True)
    thread.start()
    try:
        yield theirs.fileno(), told
    finally:
        theirs.send(_END)  # comes after all that was told
        thread.join()
        ours.close()
        theirs.close()


def _item(message: Mapping[str, Any]) -> Item:
    return Item(
        name=message["name"],
        outcome=message["outcome"],
        seconds=round(message["seconds"], 3),
        location=message["path"],
        text=_text(message["said"]),
        host=message["host"],
    )


def _text(said: Mapping[str, Any]) -> str:
    """Put a module's words together: its message, and what the program that it ran wrote."""
    if "items" in said:
        return "\n".join(f"item {item.get('item')}: {_text(item)}" for item in said["items"])
    lines = [str(said["msg"]).strip()] if "msg" in said else []
    lines += [f"exit code {said['rc']}"] if said.get("rc") not in (None, "0", 0) else []
    for name in ("stdout", "stderr", "module_stdout", "module_stderr"):
        text = str(said.get(name, "")).strip()
        if text and text not in lines[:1]:
            lines += [f"{name.removeprefix('module_')}: {text}" if "\n" not in text else text]
    return "\n".join(lines)


def _source(name: str) -> str | None:
    """Return the source that a file of bytecode was made of; any other name as it is, None for Python's own folders."""
    path = Path(name)
    if path.suffix == ".pyc" and path.parent.name == "__pycache__":
        return str(path.parents[1] / f"{path.name.partition('.')[0]}.py")
    return None if path.name == "__pycache__" else os.fspath(path)
