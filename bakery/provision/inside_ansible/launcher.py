"""Starts one of Ansible's programs, and tells bakery what it does, and what it reads on this host.

Python's audit hooks see each file that Ansible and its workers open, which no callback is told; they must be there
before the inventory is read. Messages are JSON objects, one a datagram, to the socket that BAKERY_EVENTS_FD names.
On the machine itself there is no such socket, and what is read is seen otherwise: there they are lines of the file that
BAKERY_EVENTS_FILE names.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import zipfile
from contextlib import suppress
from importlib import import_module
from types import SimpleNamespace
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120  pathlib would import more than Ansible needs
REACH = ("ssh", "scp", "sftp", "sshpass", "nsenter", "env", "prlimit", "chrt", "nice", "choom", "setpriv")
OWN = (*REACH, "ldconfig", "gcc", "cc", "objdump", "ld")
"""Programs that Ansible starts to reach a machine, and those by which Python finds its C library."""
UTILS = "ansible/module_utils/"
PACKAGE = f"{UTILS}__init__.py"
"""In a module's archive: Ansible's library, and the package that it is."""
WATCHED = frozenset(("open", "os.listdir", "os.scandir", "subprocess.Popen"))


class Channel:
    """Sends messages to bakery; each only once, where it says what was read."""

    def __init__(self, descriptor: int, ignored: tuple[str, ...]) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)
        self._ignored = ignored
        self._told: set[tuple[str, str]] = {
            (kind, name)
            for path in sys.path  # where Ansible looks for collections among Python's packages
            for kind in ("file", "listing")
            for name in (os.path.abspath(path), os.path.abspath(os.path.join(path, "ansible_collections")))  # noqa: PTH100, PTH118
        }

    def send(self, message: dict[str, Any]) -> None:
        """Send one message; where nobody listens any more, all of this is about to be ended."""
        with suppress(BrokenPipeError, ConnectionError):
            self._socket.sendall(json.dumps(message, default=str).encode(errors="replace"))

    def wait_for_end(self) -> None:
        """Wait until nobody listens any more; nothing is ever sent to us."""
        try:
            while self._socket.recv(1):
                pass
        except OSError:
            return

    def read(self, kind: str, what: Any) -> None:
        """Tell of something that was looked at; `what` is a path for the kinds file, listing and wrote.

        Called thousands of times for a task, most of them for Ansible's own files, and each worker begins without the
        memory of those before it: hence no message for what bakery would throw away.
        """
        if isinstance(what, str):
            if what.startswith(self._ignored) or (kind, what) in self._told:
                return
        elif not isinstance(what, (bytes, os.PathLike)):
            return
        name = os.path.abspath(os.fsdecode(what)) if kind in ("file", "listing", "wrote") else str(what)  # noqa: PTH100
        if (kind, name) not in self._told and not name.startswith(self._ignored):
            self._told.add((kind, name))
            self.send({"type": "read", "kind": kind, "name": name})


class EventFile:
    """Writes messages to a file, a line each."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def send(self, message: dict[str, Any]) -> None:
        """Write one message."""
        os.write(self._descriptor, json.dumps(message, default=str).encode(errors="replace") + b"\n")


def end_with_bakery(channel: Channel) -> None:
    """End all of this when bakery is gone, killed perhaps: nobody would hear of the play, or clean up after it."""

    def wait() -> None:
        channel.wait_for_end()
        shutil.rmtree(os.environ["BAKERY_FOLDER"], ignore_errors=True)
        for pid in descendants(os.getpid()):  # workers have sessions of their own
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, name="bakery-end", daemon=True).start()


def descendants(pid: int) -> list[int]:
    """List the processes that a process started, and theirs; none where there is no /proc."""
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():  # noqa: PTH112, PTH208  as above
        if name.isdigit():
            with suppress(OSError), open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
                parents.setdefault(int(file.read().rpartition(")")[2].split()[1]), []).append(int(name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found[1:]


def watch(channel: Channel) -> None:
    """Tell of each file that is opened or looked for, each folder that is listed, and each program that is started."""
    plain = os.stat

    def stat(path: Any, *args: Any, **options: Any) -> os.stat_result:
        channel.read("file", path)
        return plain(path, *args, **options)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event not in WATCHED:
            return
        if event == "open":
            mode, flags = str(args[1]), args[2] if isinstance(args[2], int) else 0
            writes = flags & (os.O_WRONLY | os.O_RDWR) if args[1] is None else mode[:1] in "wxa"
            channel.read("wrote" if writes else "file", args[0])
        elif event in ("os.listdir", "os.scandir"):
            channel.read("listing", "." if args[0] is None else args[0])
        elif event == "subprocess.Popen":
            program = os.path.basename(os.fsdecode(args[0]))  # noqa: PTH119
            if program not in OWN:
                channel.read("program", program)

    for known in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
        if plain in known:
            known.add(stat)
    os.stat = stat
    sys.addaudithook(hook)


def watch_environment(channel: Channel) -> None:
    """Tell of each variable of this environment that a play asks for."""
    lookup = import_module("ansible.plugins.lookup.env").LookupModule
    plain = lookup.run

    def run(self: Any, terms: Any, *args: Any, **options: Any) -> Any:
        for term in terms:
            channel.read("env", str(term).split()[0])
        return plain(self, terms, *args, **options)

    lookup.run = run


def look_in_folder_first(place: str) -> str:
    """Have modules look for Ansible's library in a folder of the machine, before the archive that they bring along.

    Bakery may put a copy there. An archive whose library is another one than Ansible's own is left as it is: a project
    can replace parts of it.

    Args:
        place: the folder on the machine; `here` where that is where we run.

    Returns:
        Ansible's library on this host.
    """
    common = import_module("ansible.executor.module_common")
    library = os.path.dirname(import_module("ansible.module_utils").__file__ or "")  # noqa: PTH120  as above
    folder = library if place == "here" else place

    class Archive(zipfile.ZipFile):
        """Writes the package that the library is in last."""

        package: tuple[Any, Any] | None = None
        ours = True

        def writestr(self, zinfo_or_arcname: Any, data: Any, *args: Any, **options: Any) -> None:
            name = str(getattr(zinfo_or_arcname, "filename", zinfo_or_arcname))
            if name == PACKAGE:
                self.package = (zinfo_or_arcname, data)
                return
            self.ours = self.ours and (not name.startswith(UTILS) or same(name.removeprefix(UTILS), data))
            super().writestr(zinfo_or_arcname, data, *args, **options)

        def close(self) -> None:
            if self.package is not None:
                (info, data), self.package = self.package, None
                text = data.encode() if isinstance(data, str) else bytes(data)
                super().writestr(info, text + (f"__path__.insert(0, {folder!r})\n".encode() if self.ours else b""))
            super().close()

    def same(name: str, data: Any) -> bool:
        try:
            with open(os.path.join(library, name), "rb") as file:  # noqa: PTH118, PTH123  the same
                return file.read() == (data.encode() if isinstance(data, str) else data)
        except OSError:
            return False

    vars(common)["zipfile"] = SimpleNamespace(**{**vars(zipfile), "ZipFile": Archive})
    return library


def tame_mitogen(folder: str) -> None:
    """Have Mitogen keep its socket in a folder that goes with the play, and leave processors to the kernel.

    It would bind its processes to the first ones, which are the same for each of the plays that run on this host.
    """
    tempfile.tempdir = folder
    affinity = import_module("ansible_mitogen.affinity")
    vars(affinity)["policy"] = affinity.Policy()
    begin_in_home_folder()


def begin_in_home_folder() -> None:
    """Have modules and commands run where Ansible's own way has them: in the home folder of whom it logs in as.

    Mitogen's would, from the second task on, run in a folder for temporary files. Another user than root may not get
    into that home folder; there Ansible, too, takes one for temporary files.
    """
    cast = import_module("ansible_mitogen.utils.unsafe").cast

    def home(self: Any) -> Any:
        may = (None, "root", self.get_option("remote_user"))
        if self.become and self.become.get_option("become_user", playcontext=self._play_context) not in may:
            return None
        return cast(self.get_task_var("bakery_home"))

    import_module("ansible_mitogen.connection").Connection.get_default_cwd = home


def main() -> None:
    """Run `ansible-NAME ARGUMENTS`; the first argument is the name."""
    sys.path[:] = [path for path in sys.path if path != HERE]
    file = os.environ.pop("BAKERY_EVENTS_FILE", "")
    ignored = tuple(json.loads(os.environ.pop("BAKERY_NOT_INPUTS", "[]")))
    channel = EventFile(file) if file else Channel(int(os.environ.pop("BAKERY_EVENTS_FD")), ignored)
    name = sys.argv[1]
    command = import_module(f"ansible.cli.{name}")
    loaders = import_module("ansible.plugins.loader")
    for kind in ("callback", "connection"):
        getattr(loaders, f"{kind}_loader").add_directory(os.path.join(HERE, kind))  # noqa: PTH118
    if isinstance(channel, Channel):
        end_with_bakery(channel)
        watch(channel)
        watch_environment(channel)
    place, mitogen = os.environ.pop("BAKERY_MODULE_UTILS", ""), os.environ.pop("BAKERY_MITOGEN", "")
    if mitogen:
        tame_mitogen(mitogen)
    elif place and name == "playbook":
        channel.send({"type": "module-utils", "path": look_in_folder_first(place)})
    sys.modules["bakery_channel"] = channel  # type: ignore[assignment]  # where the callback finds it
    command.main([f"ansible-{name}", *sys.argv[2:]])


if __name__ == "__main__":
    main()
