"""A guest's files and programs by VMware Tools: vSphere's guest operations, through pyvmomi."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from bakery.drivers.vsphere.api import types
from bakery.drivers.vsphere.api.center import VCenter
from bakery.drivers.vsphere.api.errors import (
    VSphereError,
    VSphereRetryableError,
    fault_of,
    translate_errors,
)
from bakery.drivers.vsphere.guest.guest import GuestAway, GuestFolderGone
from bakery.drivers.vsphere.image import lease
from bakery.errors import BakeryError
from bakery.redaction.secret import Secret
from bakery.util.results import Lost

T = TypeVar("T")
PLACES: Final = ("/dev/shm", "/run")  # noqa: S108  each makes a folder of its own there, for itself alone
"""Where files of ours may lie in a guest: in its memory, so that no image ever has them."""
PREFIX: Final = "bakery-"
PRIVATE: Final = 0o600
PAGE: Final = 200
AWAY: Final = frozenset({"GuestOperationsUnavailable", "TooManyGuestLogons", "ToolsUnavailable"})
"""Faults while VMware Tools, or the guest, start anew."""
OFF: Final = frozenset({"InvalidPowerState", "InvalidState", "ManagedObjectNotFound"})
NOT_THERE: Final = "FileNotFound"
NO_PLACE: Final = frozenset({"FileFault", "CannotAccessFile", "GuestPermissionDenied"})
REFUSED: Final = "InvalidGuestLogin"
OLD: Final = frozenset({"GuestComponentsOutOfDate", "OperationNotSupportedByGuest", "OperationDisabledByGuest"})


@dataclass(eq=False)
class ToolsGuest:
    """A guest, by the guest operations of VMware Tools; for several threads.

    Args:
        center: a session of this guest's own.
        machine: pyvmomi's reference to the machine.
        user: as whom.
        password: that user's, in the guest.
    """

    center: VCenter
    machine: Any
    user: str
    password: Secret

    def __post_init__(self) -> None:
        """Learn where the managers are; pyvmomi's attributes ask anew each time.

        Raises:
            VSphereError: there are none.
        """
        names = ("fileManager", "processManager")
        values = self.center.properties(self.center.content.guestOperationsManager, *names) or {}
        if missing := [name for name in names if name not in values]:
            raise VSphereError("this vSphere has no guest operations", why=f"it names no {missing[0]}")
        self._files, self._programs = (values[name] for name in names)

    def make_folder(self) -> str:
        """Make a folder of our own; see `GuestAccess`."""
        places = PLACES if self.user == "root" else PLACES[:1]
        missing = ""
        for place in places:
            try:
                return self._make_folder_in(place)
            except GuestFolderGone as error:
                missing = str(error)
            except VSphereError as error:
                if fault_of(error) not in NO_PLACE:
                    raise
                missing = _words(error)
        raise VSphereError(
            f"there is no place for files of ours in the guest: neither of {', '.join(places)}",
            why=missing,
            hint="a guest that is reached by guest operations needs /dev/shm, a folder in its memory",
        )

    def _make_folder_in(self, place: str) -> str:
        return str(
            self._ask(
                f"make a folder in {place} of the guest",
                lambda auth: self._files.CreateTemporaryDirectoryInGuest(self.machine, auth, PREFIX, "", place),
            )
        )

    def remove_folder(self, path: str) -> None:
        """Remove a folder; see `GuestAccess`."""
        self._ask(
            f"remove {path} in the guest",
            lambda auth: self._files.DeleteDirectoryInGuest(self.machine, auth, path, recursive=True),
            repeat=False,
        )

    def sizes(self, folder: str, number: int) -> Mapping[str, int]:
        """Return the files of one command; see `GuestAccess`."""
        found: dict[str, int] = {}
        while True:
            answer = self._listed(folder, len(found), rf"{number}\..*")
            listed = answer.files or ()
            # Some say whole paths.
            found |= {str(one.path).rpartition("/")[2]: int(one.size) for one in listed}
            if not answer.remaining or not listed:
                break
        return {name: size for name, size in found.items() if name.startswith(f"{number}.")}

    def _listed(self, folder: str, first: int, pattern: str) -> Any:
        return self._ask(
            "list files in the guest",
            lambda auth: self._files.ListFilesInGuest(self.machine, auth, folder, first, PAGE, pattern),
        )

    def upload(self, path: str, data: bytes) -> None:
        """Write a file; see `GuestAccess`."""
        attributes = types.vim().vm.guest.FileManager.PosixFileAttributes(permissions=PRIVATE)

        def put() -> None:
            address = self._ask(
                f"take {path} into the guest",
                lambda auth: self._files.InitiateFileTransferToGuest(
                    self.machine, auth, path, attributes, len(data), overwrite=True
                ),
            )
            self._transfer("PUT", str(address), data, f"write {path} in the guest")

        self._whole(put)

    def download(self, path: str) -> bytes:
        """Read a file; see `GuestAccess`."""

        def get() -> bytes:
            answer = self._ask(
                f"hand {path} out of the guest",
                lambda auth: self._files.InitiateFileTransferFromGuest(self.machine, auth, path),
            )
            return self._transfer("GET", str(answer.url), None, f"read {path} in the guest")

        return self._whole(get)

    def rename(self, path: str, name: str) -> None:
        """Rename a file; see `GuestAccess`. One that is gone was renamed by a request whose answer was lost."""
        try:
            self._ask(
                f"rename {path} in the guest",
                lambda auth: self._files.MoveFileInGuest(self.machine, auth, path, name, overwrite=True),
            )
        except GuestFolderGone:
            self._listed(path.rpartition("/")[0], 0, ".*")  # unless the folder itself is gone

    def delete(self, path: str) -> None:
        """Delete a file; see `GuestAccess`."""
        try:
            self._ask(
                f"delete {path} in the guest", lambda auth: self._files.DeleteFileInGuest(self.machine, auth, path)
            )
        except GuestFolderGone:
            return

    def start(self, program: str, arguments: str) -> int:
        """Start a program; see `GuestAccess`."""
        spec = types.vim().vm.guest.ProcessManager.ProgramSpec(programPath=program, arguments=arguments)
        return int(
            self._ask(
                f"start {program} in the guest",
                lambda auth: self._programs.StartProgramInGuest(self.machine, auth, spec),
            )
        )

    def runs(self, words: str) -> bool:
        """Look for a program; see `GuestAccess`."""
        found = self._ask(
            "list the guest's programs", lambda auth: self._programs.ListProcessesInGuest(self.machine, auth)
        )
        return any(words in f"{one.cmdLine} " and one.endTime is None for one in found or ())

    def terminate(self, pid: int) -> None:
        """End a program; see `GuestAccess`."""
        try:
            self._ask(
                f"end program {pid} in the guest",
                lambda auth: self._programs.TerminateProcessInGuest(self.machine, auth, pid),
            )
        except VSphereError as error:
            if fault_of(error) != "GuestProcessNotFound":
                raise

    def round_trip(self) -> float:
        """Measure a question that is answered by the guest; see `GuestAccess`."""
        started = time.monotonic()
        self._ask("list files in the guest", lambda auth: self._files.ListFilesInGuest(self.machine, auth, "/", 0, 1))
        return time.monotonic() - started

    def close(self) -> None:
        """Log out."""
        self.center.session.close()

    # ---- how it is asked ----------------------------------------------------------------------------------------

    def _ask(self, what: str, request: Callable[[Any], T], *, repeat: bool = True) -> T:
        """Make a request as our user of the guest."""
        login = types.vim().vm.guest.NamePasswordAuthentication(
            username=self.user, password=self.password.reveal(), interactiveSession=False
        )
        with _translated(self.user):
            return self.center.call(what, lambda: request(login), repeat=repeat)

    def _whole(self, transfer: Callable[[], T]) -> T:
        """Transfer a file, and once more where that was cut short."""
        try:
            return transfer()
        except (Lost, GuestAway):
            return transfer()

    def _transfer(self, method: str, address: str, data: bytes | None, what: str) -> bytes:
        """Send or fetch a file at the address that the server told, which is its own or that of one of its hosts."""
        server, own_port = self.center.account.address
        url = urlsplit(address.replace(lease.OWN_HOST, server, 1))
        port = url.port or (own_port if lease.OWN_HOST in address else lease.PORT)
        thumbprint = "" if url.hostname == server else self._thumbprint()
        with _translated(self.user), translate_errors(what):
            connection = lease.connect(self.center, url.hostname or "", port, thumbprint)
            try:
                connection.request(method, f"{url.path}?{url.query}" if url.query else url.path, data)
                answer = connection.getresponse()
                content = answer.read()
            finally:
                connection.close()
        if answer.status // 100 != 2:  # noqa: PLR2004  done
            raise GuestAway(f"vSphere did not {what}: {answer.status} {answer.reason} from {url.hostname}")
        return content

    def _thumbprint(self) -> str:
        """Return what vCenter knows the machine's host by; empty where it does not say, and then it is verified."""
        with _translated(self.user):
            host = (self.center.properties(self.machine, "runtime.host") or {}).get("runtime.host")
            values = (self.center.properties(host, "summary.config") or {}) if host is not None else {}
        config = values.get("summary.config")
        return str(getattr(config, "sslThumbprint", None) or "")


@contextmanager
def _translated(user: str) -> Generator[None]:
    """Tell what passes by itself from what is refused for good."""
    try:
        yield
    except VSphereRetryableError as error:
        raise Lost(_words(error)) from error
    except VSphereError as error:
        fault = fault_of(error) or ""
        if fault in AWAY:
            raise GuestAway(_words(error)) from error
        if fault in OFF:
            raise Lost(_words(error)) from error
        if fault == NOT_THERE:
            raise GuestFolderGone(_words(error)) from error
        if fault == REFUSED:
            error.hint = f"guest_password=... or VSPHERE_GUEST_PASSWORD is {user}'s in the guest"
        if fault in OLD:
            error.hint = (
                "update open-vm-tools in the guest; its tools.conf may disable guest operations ([guestoperations])"
            )
        raise


def _words(error: BakeryError) -> str:
    return re.sub(r"\s+", " ", f"{error.what}: {error.why}")
