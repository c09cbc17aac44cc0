"""VirtualBox through VBoxManage: one method for each thing that the driver asks for."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Self, TypeVar

from bakery.drivers.virtualbox.api import answers
from bakery.drivers.virtualbox.api.answers import MachineInfo, MachineName, Medium
from bakery.drivers.virtualbox.api.errors import (
    LIMITED,
    NOT_FOUND,
    MachineLockedError,
    ServiceUnreachableError,
    VirtualBoxError,
    refusal,
)
from bakery.errors import DriverError, NotYet
from bakery.util.process import run_process
from bakery.util.results import TimedOut
from bakery.util.waiting import Cancel, until

PROGRAM = "VBoxManage"
ANSWER = 60.0
"""Seconds for a verb that only looks or notes something down; they take a tenth of one."""
WORK = 3 * 3600.0
"""Seconds for a verb that reads or writes a whole disk."""
UNLOCKED = 60.0
"""Seconds to wait for a machine that is locked: VirtualBox lets go of one a moment after it has ended."""
REACHED = 30.0
"""Seconds to wait for VBoxSVC, which ends some seconds after its last client and cannot be reached just then."""
MediumKind = Literal["disk", "dvd"]
T = TypeVar("T")


def stops_with_us() -> tuple[str, ...]:
    """Return the words in front of VBoxManage that stop it when this process was killed; Linux only.

    By SIGTERM: killed outright, VBoxManage leaves VBoxSVC exporting or importing to the end, for nobody.
    """
    setpriv = shutil.which("setpriv")
    return () if setpriv is None else (setpriv, "--pdeathsig", "TERM", "--")


@dataclass(frozen=True, kw_only=True)
class VBoxManage:
    """VirtualBox of this user on this host.

    Args:
        program: the command, by name or path.
        cancel: ends every call.
    """

    program: str = PROGRAM
    cancel: Cancel = field(default_factory=Cancel)

    def within(self, cancel: Cancel) -> Self:
        """Return the same, ended by another token."""
        return replace(self, cancel=cancel)

    @property
    def installed(self) -> bool:
        """Whether the command is there."""
        return shutil.which(self.program) is not None

    # ---- the call -------------------------------------------------------------------------------------------

    def ask(self, *words: str | Path, what: str, timeout: float = ANSWER) -> str:
        """Run one verb and return its standard output.

        Args:
            words: the verb and its arguments; no secrets, they are visible to everybody on this host.
            what: what it is for: "read the machine".
            timeout: seconds.

        Raises:
            VirtualBoxError: VirtualBox refused; `VirtualBoxRetryableError` where asking again may help.
            DriverError: there is no VBoxManage.
            Interrupted: the build was cancelled.
        """
        if not self.installed:
            raise DriverError(
                f"there is no {self.program} on PATH",
                hint="install VirtualBox 7.0 or newer: https://www.virtualbox.org/wiki/Downloads",
            )

        def attempt() -> str:
            try:
                return self._once(words, what, timeout)
            except ServiceUnreachableError as error:  # it is just ending, or starting; nothing was begun
                raise NotYet(error.why) from error

        return until(
            attempt,
            what=f"VirtualBox to {what}",
            timeout=REACHED,
            cancel=self.cancel,
            every=(0.2, 2.0),
            error=ServiceUnreachableError,
            hint="its service VBoxSVC does not start: VBoxSVC.log in its settings folder says why",
        )

    def _once(self, words: Sequence[str | Path], what: str, timeout: float) -> str:
        """Run one verb, once."""
        try:
            done = run_process([*stops_with_us(), self.program, *map(str, words)], cancel=self.cancel, timeout=timeout)
        except TimedOut:
            raise VirtualBoxError(
                f"VirtualBox did not {what}",
                why=f"no answer to `VBoxManage {words[0]}` within {timeout:g} s: its service VBoxSVC hangs",
                hint="end the process VBoxSVC; the next call starts it anew. Machines that run go on running",
            ) from None
        if done.exited != 0:
            raise refusal(what, done.stderr, done.exited)
        return done.stdout

    def change(self, *words: str | Path, what: str, timeout: float = ANSWER) -> str:
        """Run a verb that needs the machine's lock, to change or to read it, and wait while somebody else has it.

        Raises:
            VirtualBoxError: as `ask`.
            DriverError: the lock is not let go in time.
        """

        def attempt() -> str:
            try:
                return self.ask(*words, what=what, timeout=timeout)
            except MachineLockedError as error:
                raise NotYet(error.why) from error

        return until(
            attempt,
            what=f"VirtualBox to {what}",
            timeout=UNLOCKED,
            cancel=self.cancel,
            every=(0.1, 1.0),
            hint="a window of VirtualBox that has the machine's settings open locks it",
        )

    # ---- looking --------------------------------------------------------------------------------------------

    def version(self) -> tuple[int, int, int]:
        """Return the version.

        Raises:
            VirtualBoxError: VirtualBox does not answer.
        """
        return self._read(answers.version, self.ask("--version", what="say its version"))

    def machines(self) -> list[MachineName]:
        """Return all registered machines."""
        return answers.machines(self.ask("list", "vms", what="list its machines"))

    def runs(self, machine: str) -> bool:
        """Say whether a machine runs or stands still, by its name or UUID.

        Opens no session, as `info` does of a machine that is locked: VBoxSVC of 7.2.22 has been seen hanging.
        """
        running = answers.machines(self.ask("list", "runningvms", what="list the machines that run"))
        return any(machine in (known.name, known.uuid) for known in running)

    def info(self, machine: str) -> MachineInfo | None:
        """Return what VirtualBox knows of a machine; None where there is none of this name or UUID.

        VBoxManage opens a session for that where the machine is locked, and is refused while that lock just ends.
        """
        try:
            text = self.change("showvminfo", machine, "--machinereadable", what=f"read the machine {machine}")
        except VirtualBoxError as error:
            if error.code == NOT_FOUND:
                return None
            if error.code == LIMITED and (known := self._inaccessible(machine)):
                return known
            raise
        return self._read(answers.machine_info, text)

    def _inaccessible(self, uuid: str) -> MachineInfo | None:
        shown = answers.inaccessible(self.ask("list", "--long", "vms", what="list its machines"))
        return next((machine for machine in shown if machine.uuid == uuid), None)

    def must_have(self, machine: str) -> MachineInfo:
        """Return what VirtualBox knows of a machine that was there a moment ago.

        Raises:
            DriverError: it is gone.
        """
        known = self.info(machine)
        if known is None:
            raise DriverError(f"the machine {machine} is gone", why="VirtualBox has none of that name any more")
        return known

    def media(self, kind: MediumKind) -> list[Medium]:
        """Return all registered media of a kind."""
        return answers.media(self.ask("list", "hdds" if kind == "disk" else "dvds", what="list its media"))

    def os_types(self) -> frozenset[str]:
        """Return VirtualBox's words for the systems of guests."""
        return answers.os_types(self.ask("list", "ostypes", what="list the types of guests"))

    def extra_data(self, machine: str) -> dict[str, str]:
        """Return a machine's own entries, by key."""
        return answers.extra_data(
            self.change("getextradata", machine, "enumerate", what="read the machine's extra data")
        )

    def guest_properties(self, machine: str) -> list[str]:
        """Return the names of a machine's guest properties."""
        return answers.guest_properties(
            self.change("guestproperty", "enumerate", machine, what="read the machine's guest properties")
        )

    def additions(self) -> Path | None:
        """Return the ISO of the guest additions that this VirtualBox brings; None where it brings none."""
        return answers.additions(self.ask("list", "systemproperties", what="say where its guest additions are"))

    @staticmethod
    def _read(parse: Callable[[str], T], text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise VirtualBoxError("VirtualBox's answer cannot be read", why=str(error)) from error

    # ---- machines -------------------------------------------------------------------------------------------

    def create(self, name: str, *, uuid: str, folder: Path, os_type: str) -> None:
        """Make and register a machine without anything in it.

        Args:
            name: its name.
            uuid: its UUID, chosen by us.
            folder: where it gets a folder of its own.
            os_type: VirtualBox's word for the guest's system.
        """
        words = ["createvm", f"--name={name}", f"--uuid={uuid}", f"--basefolder={folder}", f"--ostype={os_type}"]
        if self.version() >= (7, 1, 0):  # with the first version that knows ARM, it must be said
            words.append("--platform-architecture=x86")
        self.ask(*words, "--register", what=f"create the machine {name}")

    def modify(self, machine: str, words: Sequence[str]) -> None:
        """Change settings of a machine that is off: options of `modifyvm`."""
        self.change("modifyvm", machine, *words, what="change the machine's settings")

    def enroll_secure_boot(self, machine: str) -> None:
        """Give an EFI machine the certificates of Microsoft, and let it boot only what they vouch for."""
        for words in (
            ("inituefivarstore",),
            ("enrollmssignatures",),
            ("enrollorclpk",),
            ("secureboot", "--enable"),
        ):
            self.change("modifynvram", machine, *words, what="set up secure boot")

    def set_extra_data(self, machine: str, values: Mapping[str, str]) -> None:
        """Write entries of a machine's own; an empty value removes one."""
        for key, value in values.items():
            self.change(
                "setextradata", machine, key, *((value,) if value else ()), what="write the machine's extra data"
            )

    def set_guest_properties(self, machine: str, values: Mapping[str, str]) -> None:
        """Write what a machine's guest additions let the guest read; an empty value removes one."""
        for name, value in values.items():
            verb = ("set", machine, name, value) if value else ("delete", machine, name)
            self.change("guestproperty", *verb, what="write the machine's guest properties")

    def add_controller(self, machine: str, words: Sequence[str]) -> None:
        """Add or change a storage controller: options of `storagectl`.

        Options and values as words of their own: 7.2 counts them, and finds `--name=X --portcount=2` too few.
        """
        self.change("storagectl", machine, *words, what="add a storage controller")

    def attach(self, machine: str, words: Sequence[str]) -> None:
        """Attach or detach a medium: options of `storageattach`."""
        self.change("storageattach", machine, *words, what="attach a medium")

    def start(self, machine: str, *, gui: bool, timeout: float) -> None:
        """Start a machine."""
        kind = "gui" if gui else "headless"
        self.change("startvm", machine, f"--type={kind}", what="start the machine", timeout=timeout)

    def control(self, machine: str, *words: str) -> None:
        """Do something to a machine that runs: words of `controlvm`."""
        self.ask("controlvm", machine, *words, what=f"do `{words[0]}` to the machine")

    def discard_state(self, machine: str) -> None:
        """Drop the saved memory of a machine, which then is off."""
        self.change("discardstate", machine, what="discard the machine's saved state")

    def unregister(self, machine: str) -> None:
        """Unregister a machine and delete the disks that only it uses; one that is not registered is.

        While something reads a disk, 7.2 refuses and has unregistered the machine all the same: the disk then stays.

        Raises:
            VirtualBoxError: it runs, or its files cannot be deleted.
        """
        try:
            self.change("unregistervm", machine, "--delete", what="unregister the machine", timeout=WORK)
        except VirtualBoxError as error:
            if error.code != NOT_FOUND:
                raise

    def forget(self, machine: str) -> None:
        """Unregister a machine whose settings cannot be read, with which 7.2 refuses to delete anything."""
        self.ask("unregistervm", machine, what="unregister the machine")

    def take_snapshot(self, machine: str, name: str) -> None:
        """Take a snapshot of a machine that is off."""
        self.change("snapshot", machine, "take", name, what="take a snapshot", timeout=WORK)

    def clone(
        self, machine: str, name: str, *, uuid: str, folder: Path, snapshot: str = "", macs: bool = False
    ) -> None:
        """Make and register a machine like another.

        Args:
            machine: the other's name or UUID.
            name: of the new one.
            uuid: of the new one.
            folder: where it gets a folder of its own.
            snapshot: the snapshot that its disks stand on; without one they are copied.
            macs: whether it has the other's network addresses.
        """
        words = ["clonevm", machine, f"--name={name}", f"--uuid={uuid}", f"--basefolder={folder}", "--mode=machine"]
        options = (["link"] if snapshot else []) + (["keepallmacs"] if macs else [])
        words += [f"--snapshot={snapshot}"] if snapshot else []
        words += [f"--options={','.join(options)}"] if options else []
        words.append("--register")
        self.change(*words, what=f"clone the machine {machine}", timeout=WORK)

    # ---- media and appliances -------------------------------------------------------------------------------

    def close_medium(self, kind: MediumKind, medium: str) -> None:
        """Take a medium out of VirtualBox's registry; what is not in it is out of it."""
        try:
            self.change("closemedium", kind, medium, what="take a medium out of the registry")
        except VirtualBoxError as error:
            if error.code not in (NOT_FOUND, "VBOX_E_FILE_ERROR"):
                raise

    def clone_medium(self, medium: str, to: Path, *, format: str, variant: str) -> None:  # noqa: A002  VirtualBox's word
        """Write a disk, with all that it stands on, as one file; which is registered afterwards."""
        words = ["clonemedium", "disk", medium, str(to), f"--format={format}", f"--variant={variant}"]
        self.change(*words, what=f"write {to.name}", timeout=WORK)

    def export(self, machine: str, to: Path, words: Sequence[str]) -> None:
        """Write an appliance: OVA or OVF by the file's ending, with a manifest."""
        self.change("export", machine, f"--output={to}", *words, what=f"export {to.name}", timeout=WORK)

    def import_appliance(self, path: Path, name: str, *, folder: Path) -> None:
        """Import an appliance of one machine, with VDI disks, new MAC addresses, and its manifest checked."""
        words = ["import", str(path), "--vsys=0", f"--vmname={name}", f"--basefolder={folder}", "--options=importtovdi"]
        self.change(*words, what=f"import {path.name}", timeout=WORK)
