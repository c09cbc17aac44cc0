"""The cloud: keypairs, machines and images as files, with the manners of a real one."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import shutil
import signal
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

from bakery.errors import DriverError, PreflightError, RetryableError
from bakery.testing.folder.faults import Fault, Faults
from bakery.util.context import WorkContext
from bakery.util.files import write_whole
from bakery.util.process import PIPE, STDOUT, start_process
from bakery.util.tools import run

T = TypeVar("T")
Kind = Literal["keypairs", "machines", "images"]
BUSYBOX = ("/bin/busybox", "/usr/bin/busybox")
ENDING = 10.0  # seconds that a machine has to end
HIDDEN_LOOKS = 3  # an eventually consistent cloud shows a new thing only at a later look
FOLDERS = ("bin", "dev", "etc", "proc", "root", "sys", "tmp", "usr/bin", "sbin", "var/log", "var/tmp", "run")


class NotFound(Exception):  # noqa: N818  the cloud's 404
    """There is no such thing."""


class FolderCloud:
    """A cloud in a folder; safe for several processes.

    Args:
        path: its folder; made when missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        for kind in ("keypairs", "machines", "images"):
            (path / kind).mkdir(parents=True, exist_ok=True)
        self.faults = Faults(path)

    # ---- calls: each can be hit by a fault ----------------------------------------------------------------------

    def create_keypair(self, name: str, public_key: str, tags: Mapping[str, str]) -> None:
        """Create a keypair; its name must be free."""

        def create() -> None:
            if any(record["name"] == name for record in self._records("keypairs")):
                raise DriverError(f"the keypair {name} exists")
            self._write("keypairs", name, {"name": name, "public_key": public_key, "tags": dict(tags)})

        self._call("create_keypair", create)

    def run_machine(self, name: str, image: str | None, keypair: str, tags: Mapping[str, str]) -> str:
        """Start a machine from an image, or from an empty busybox system, and return its id.

        A second call with a name that is taken returns the first one's id, as client tokens do.
        """

        def create() -> str:
            for record in self._records("machines"):
                if record["name"] == name:
                    found: str = record["id"]
                    return found
            if image is not None and not (self.path / "images" / image).is_dir():
                raise DriverError(f"there is no image {image}")
            number = f"m-{secrets.token_hex(4)}"
            folder = self.path / "machines" / number
            folder.mkdir()
            source = None if image is None else self.path / "images" / image / "tree.tar"
            record = {"id": number, "name": name, "keypair": keypair, "tags": dict(tags), "image": image}
            self._write("machines", number, record)
            make_tree(folder / "root", source)
            self._write("machines", number, {**record, "pid": start_leader(folder)})
            return number

        number, fault = self._called("run_machine", create)
        if fault == "invisible":
            self._update("machines", number, hidden=HIDDEN_LOOKS)
        if fault == "dies":
            os.kill(self._read("machines", number)["pid"], signal.SIGKILL)
        if fault in ("stuck", "broken"):
            self._update("machines", number, state="building" if fault == "stuck" else "error")
        return number

    def describe_machine(self, number: str) -> dict[str, Any]:
        """Return a machine's record with its `state`: building, running, error or stopped."""

        def look() -> dict[str, Any]:
            record = self._visible("machines", number)
            return {**record, "state": record.get("state") or ("running" if _alive(record) else "stopped")}

        return self._call("describe_machine", look)

    def stop_machine(self, number: str) -> None:
        """Stop a machine; its disk stays."""
        self._call("stop_machine", lambda: _end(self._visible("machines", number)))

    def create_image(self, number: str, name: str, tags: Mapping[str, str], *, running: bool = False) -> str:
        """Make an image of a machine, stopped unless it may run, and return its id; it becomes `available` later."""

        def create() -> str:
            machine = self._visible("machines", number)
            if _alive(machine) and not running:
                raise DriverError(f"the machine {number} is not stopped")
            image = f"i-{secrets.token_hex(4)}"
            folder = self.path / "images" / image
            folder.mkdir()
            self._write("images", image, {"id": image, "name": name, "tags": dict(tags), "state": "pending"})
            root = self.path / "machines" / number / "root"
            words = ["tar", "-C", str(root), "--one-file-system", "--warning=no-file-changed"]
            _run(*words, "-cf", folder / "tree.tar", ".", what="packing the machine's files")
            self._update("images", image, state="available")
            return image

        image, fault = self._called("create_image", create)
        if fault == "invisible":
            self._update("images", image, hidden=HIDDEN_LOOKS)
        if fault in ("stuck", "broken"):
            self._update("images", image, state="pending" if fault == "stuck" else "killed")
        return image

    def import_image(self, tree: Path, name: str, tags: Mapping[str, str]) -> str:
        """Make an image of an archive that comes from elsewhere, and return its id."""

        def create() -> str:
            image = f"i-{secrets.token_hex(4)}"
            folder = self.path / "images" / image
            folder.mkdir()
            self._write("images", image, {"id": image, "name": name, "tags": dict(tags), "state": "pending"})
            shutil.copyfile(tree, folder / "tree.tar")
            self._update("images", image, state="available")
            return image

        return self._call("import_image", create)

    def describe_image(self, number: str) -> dict[str, Any]:
        """Return an image's record."""
        return self._call("describe_image", lambda: self._visible("images", number))

    def rename_image(self, number: str, name: str) -> None:
        """Give an image another name."""
        self._call("rename_image", lambda: self._update("images", number, name=name, named=time.time()))

    def delete(self, kind: Kind, number: str) -> None:
        """Delete a thing; raises `NotFound` when it is gone already."""

        def remove() -> None:
            record = self._read(kind, number)
            if record.get("immortal"):
                raise DriverError(f"{number} cannot be deleted: it is in use", hint="look at it in the cloud's console")
            _end(record)
            shutil.rmtree(self.path / kind / number)

        self._call(f"delete_{kind}", remove, before=lambda fault: self._make_immortal(kind, number, fault))

    def list(self, kind: Kind) -> list[dict[str, Any]]:
        """Return all records of a kind, oldest first."""
        return self._call(f"list_{kind}", lambda: list(self._records(kind)))

    # ---- how a call goes ----------------------------------------------------------------------------------------

    def _call(self, name: str, action: Callable[[], T], before: Callable[[Fault | None], None] | None = None) -> T:
        return self._called(name, action, before)[0]

    def _called(
        self, name: str, action: Callable[[], T], before: Callable[[Fault | None], None] | None = None
    ) -> tuple[T, Fault | None]:
        with self._locked():
            fault = self.faults.at(name)
            match fault:
                case "throttled":
                    raise RetryableError(f"{name}: request limit exceeded")
                case "server-error":
                    raise RetryableError(f"{name}: 503 service unavailable")
                case "quota":
                    raise DriverError(f"{name}: quota exceeded", hint="delete something, or ask for a larger quota")
                case "denied":
                    raise DriverError(f"{name}: permission denied", hint="ask for the permission")
            if before is not None:
                before(fault)
            answer = action()
            if fault == "answer-lost":
                raise RetryableError(f"{name}: the connection timed out")
            return answer, fault

    def _make_immortal(self, kind: Kind, number: str, fault: Fault | None) -> None:
        if fault == "immortal":
            self._update(kind, number, immortal=True)

    @contextmanager
    def _locked(self) -> Generator[None]:
        import fcntl

        with (self.path / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    # ---- records ------------------------------------------------------------------------------------------------

    def _file(self, kind: Kind, number: str) -> Path:
        return self.path / kind / number / "record.json"

    def _read(self, kind: Kind, number: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._file(kind, number).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise NotFound(number) from None
        return found

    def _write(self, kind: Kind, number: str, record: Mapping[str, Any]) -> None:
        file = self._file(kind, number)
        file.parent.mkdir(exist_ok=True)
        write_whole(file, json.dumps({"created": time.time(), **record}))

    def _update(self, kind: Kind, number: str, **changes: Any) -> None:
        self._write(kind, number, {**self._read(kind, number), **changes})

    def _visible(self, kind: Kind, number: str) -> dict[str, Any]:
        record = self._read(kind, number)
        if record.get("hidden"):
            self._update(kind, number, hidden=record["hidden"] - 1)
            raise NotFound(number)
        return record

    def _records(self, kind: Kind) -> Iterator[dict[str, Any]]:
        for folder in sorted((self.path / kind).iterdir()):
            if (folder / "record.json").exists():
                yield self._read(kind, folder.name)
            else:
                shutil.rmtree(folder)  # its maker was killed before the cloud had accepted it


def _run(*words: str | Path, what: str) -> bytes:
    return run(words, WorkContext(cache=Path()), what=what)


def make_tree(root: Path, archive: Path | None) -> None:
    """Unpack an image, or make a system of busybox alone.

    Raises:
        PreflightError: busybox is not installed.
    """
    root.mkdir()
    if archive is not None:
        _run("tar", "-C", root, "-xf", archive, what="unpacking the image")
        return
    busybox = next((Path(path) for path in BUSYBOX if Path(path).exists()), None)
    if busybox is None:
        raise PreflightError("busybox is not installed", hint="apt-get install busybox-static")
    for name in FOLDERS:
        (root / name).mkdir(parents=True)
    shutil.copy2(busybox, root / "bin/busybox")  # with its date: what a build adds is newer, as on a real machine
    for applet in _run(busybox, "--list", what="asking busybox for its programs").decode().split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n", encoding="utf-8")
    (root / "etc/group").write_text("root:x:0:\n", encoding="utf-8")
    (root / "etc/os-release").write_text('ID=busybox\nPRETTY_NAME="busybox in a folder"\n', encoding="utf-8")


LEADER = """
mount -t proc proc "$1/proc"
mount -t tmpfs tmpfs "$1/run"
: >"$1/run/.containerenv"  # its disk is this host's: nothing in it need be written out or trimmed
mount -t tmpfs tmpfs "$1/dev"
for name in null zero full random urandom; do : >"$1/dev/$name"; mount --bind "/dev/$name" "$1/dev/$name"; done
exec chroot "$1" /bin/sh -c "echo up; exec sleep 2147483647"
"""


def start_leader(folder: Path) -> int:
    """Start the process whose namespaces are the machine, and return its id once its root is the machine's."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    words = ["unshare", *user, "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child"]
    root = (folder / "root").resolve()
    # forked away from us: a machine of a cloud outlives the program that asked for it
    command = ["setsid", "--fork", *words, "--", "/bin/sh", "-c", LEADER, "machine", str(root)]
    with start_process(command, stdout=PIPE, stderr=STDOUT) as process:
        said = process.stdout.readline() if process.stdout else b""
    for entry in Path("/proc").iterdir() if said == b"up\n" else ():
        if entry.name.isdigit() and _has_root(entry, root):
            return int(entry.name)
    raise DriverError("the machine did not start", why=said.decode() or "unshare or chroot is not allowed on this host")


def _has_root(process: Path, root: Path) -> bool:
    """Whether a process has a folder as its root: by what it is, as in a chroot its path is another one."""
    try:
        return (process / "root").samefile(root)
    except OSError:  # it ended meanwhile, or is not ours to look at
        return False


def _alive(record: Mapping[str, Any]) -> bool:
    pid = record.get("pid")
    if not pid:
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _end(record: Mapping[str, Any]) -> None:
    """Kill a machine's leader, and with it all that runs in its namespace."""
    if not _alive(record):
        return
    with contextlib.suppress(ProcessLookupError):  # it ended just now
        leader = os.pidfd_open(record["pid"])
        try:
            signal.pidfd_send_signal(leader, signal.SIGKILL)
            select.select([leader], [], [], ENDING)
        finally:
            os.close(leader)
