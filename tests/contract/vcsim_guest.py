"""A stand-in for VMware Tools' guest operations, of which vcsim 0.24 has the two that begin a transfer of a file.

Answers are pyvmomi's own types, written by its own serializer. What is asked for is done in the real guest behind the
machine, as the user and with the password that the request has: by the guest's SSH server, which plays the part of
`vmtoolsd` here and is never told to the driver. vcsim itself would write each file for everybody to read, as root, and
says of each that it has no bytes.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import paramiko

if TYPE_CHECKING:
    from tests.contract.vcsim import SoapRequest, VCenterStandIn

PREFIX = "/guestFile/"
BUSY = 10.0
"""Seconds that a guest's SSH server may take for an answer."""
OWN = (
    "CreateTemporaryDirectoryInGuest",
    "ListFilesInGuest",
    "MoveFileInGuest",
    "DeleteFileInGuest",
    "DeleteDirectoryInGuest",
    "StartProgramInGuest",
    "ListProcessesInGuest",
    "TerminateProcessInGuest",
)
TRANSFERS = ("InitiateFileTransferToGuest", "InitiateFileTransferFromGuest")
NO_FILE = 44
"""Our scripts' exit code where a file is missing."""
PROGRAMS = (
    'for p in /proc/[0-9]*; do printf "%s " "${p#/proc/}"; tr "\\0\\n" "  " <"$p/cmdline"; echo; done 2>/dev/null'
)


@dataclass
class GuestOperationsStandIn:
    """The guests of a stand-in.

    Args:
        front: which has the machines.
        refused: how many more logins are refused, as before cloud-init has set a password.
    """

    front: VCenterStandIn
    refused: int = 0
    _clients: dict[tuple[str, str, str], paramiko.SSHClient] = field(
        default_factory=dict[tuple[str, str, str], paramiko.SSHClient]
    )
    _logins: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    _modes: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    _running: list[paramiko.Channel] = field(default_factory=list[paramiko.Channel])
    _lock: Any = field(default_factory=threading.Lock)

    def answer(self, call: SoapRequest) -> Any:
        """Return what a call gets, as pyvmomi has it; None where it is none of ours; raises a fault of pyvmomi's."""
        if call.method not in {*OWN, *TRANSFERS}:
            return None
        machine = call.value("vm")
        self._must_run(machine)
        login = (call.value("username"), call.value("password"))
        self._client(machine, *login)
        if call.method in TRANSFERS:  # vcsim's own, but for the user
            self._logins[machine] = login
            self._modes[machine, call.value("guestFilePath")] = f"{int(call.value('permissions') or 0o644):o}"
            return None
        return getattr(self, f"_{call.method}")(call, machine, login)

    def close(self) -> None:
        """Hang up."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()

    def transfer(self, method: str, path: str, body: bytes) -> tuple[int, bytes] | None:
        """Move a file at the address that vcsim told; None where it is none of those."""
        from pyVmomi import vim

        if not path.startswith(PREFIX):
            return None
        gone: Any = vim.fault.GuestOperationsFault
        try:
            return self._moved(method, path, body)
        except gone:
            return 503, b""

    def _moved(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        parts = urlsplit(path)
        machine = parse_qs(parts.query)["id"][0]
        file = "/" + unquote(parts.path.removeprefix(PREFIX))
        if method == "GET":
            code, data, _ = self._shell(machine, self._logins[machine], f"cat {shlex.quote(file)}")
            return (200, data) if code == 0 else (500, b"")
        mode = self._modes.get((machine, file), "644")
        line = f"umask 077; cat >{shlex.quote(file)} && chmod {mode} {shlex.quote(file)}"
        code, _, _ = self._shell(machine, self._logins[machine], line, body)
        return (200, b"") if code == 0 else (500, b"")

    # ---- calls --------------------------------------------------------------------------------------------------

    def _CreateTemporaryDirectoryInGuest(self, call: SoapRequest, machine: str, login: tuple[str, str]) -> Any:  # noqa: N802
        folder, prefix, suffix = (call.value(name) for name in ("directoryPath", "prefix", "suffix"))
        line = f"d=$(mktemp -d {shlex.quote(folder)}/{shlex.quote(prefix)}XXXXXX) && n=$d{shlex.quote(suffix)}"
        line = f"[ -d {shlex.quote(folder)} ] || exit {NO_FILE}; {line} && {{ [ $n = $d ] || mv $d $n; }} && echo $n"
        return self._done(machine, login, line, folder).strip().decode()

    def _ListFilesInGuest(self, call: SoapRequest, machine: str, login: tuple[str, str]) -> Any:  # noqa: N802
        from pyVmomi import vim

        make: Any = vim.vm.guest.FileManager
        folder = call.value("filePath")
        # Like VMware Tools it lists what there is: a file that is removed while ls reads the folder is no error.
        line = f"cd {shlex.quote(folder)} 2>/dev/null || exit {NO_FILE}; ls -lnA 2>/dev/null || [ -d . ]"
        pattern = re.compile(call.value("matchPattern") or ".*")
        rows = [row.split(maxsplit=8) for row in self._done(machine, login, line, folder).decode().splitlines()]
        found = [(row[8], int(row[4])) for row in rows if len(row) == 9 and row[4].isdigit() and pattern.search(row[8])]
        first, most = int(call.value("index") or 0), int(call.value("maxResults") or 50)
        shown = found[first : first + most]
        return make.ListFileInfo(
            files=[
                make.FileInfo(path=name, type="file", size=size, attributes=make.FileAttributes())
                for name, size in shown
            ],
            remaining=max(0, len(found) - first - most),
        )

    def _MoveFileInGuest(self, call: SoapRequest, machine: str, login: tuple[str, str]) -> Any:  # noqa: N802
        before, after = call.value("srcFilePath"), call.value("dstFilePath")
        self._done(
            machine,
            login,
            f"[ -e {shlex.quote(before)} ] || exit {NO_FILE}; {shlex.join(['mv', before, after])}",
            before,
        )
        return ()

    def _DeleteFileInGuest(self, call: SoapRequest, machine: str, login: tuple[str, str]) -> Any:  # noqa: N802
        path = call.value("filePath")
        self._done(machine, login, f"[ -e {shlex.quote(path)} ] || exit {NO_FILE}; rm {shlex.quote(path)}", path)
        return ()

    def _DeleteDirectoryInGuest(self, call: SoapRequest, machine: str, login: tuple[str, str]) -> Any:  # noqa: N802
        path = call.value("directoryPath")
        assert call.value("recursive") == "true"
        self._done(machine, login, f"[ -d {shlex.quote(path)} ] || exit {NO_FILE}; rm -r {shlex.quote(path)}", path)
        return ()

    def _StartProgramInGuest(self, call: SoapRequest, machine: str, login: tuple[str, str]) -> Any:  # noqa: N802
        from pyVmomi import VmomiSupport

        program, arguments = call.value("programPath"), call.value("arguments")
        # Not in a shell's background, where signals are ignored.
        line = f"cd /; echo $$; exec {shlex.quote(program)} {arguments} </dev/null >/dev/null 2>&1"
        number: Any = VmomiSupport.long
        try:
            stdin, stdout, _ = self._client(machine, *login).exec_command(line, timeout=BUSY * 6)
            self._running = [one for one in self._running if not one.closed] + [stdin.channel]
            return number(stdout.readline())
        except (paramiko.SSHException, OSError, EOFError, ValueError) as error:
            raise self._away() from error

    def _ListProcessesInGuest(self, _: SoapRequest, machine: str, login: tuple[str, str]) -> Any:  # noqa: N802
        from pyVmomi import vim

        make: Any = vim.vm.guest.ProcessManager.ProcessInfo
        rows = [row.split(maxsplit=1) for row in self._done(machine, login, PROGRAMS, "").decode().splitlines()]
        return [
            make(
                name=words[1].split()[0],
                pid=int(words[0]),
                owner=login[0],
                cmdLine=words[1].strip(),
                startTime=datetime.now(UTC),
            )
            for words in rows
            if len(words) == 2
        ]

    def _TerminateProcessInGuest(self, call: SoapRequest, machine: str, login: tuple[str, str]) -> Any:  # noqa: N802
        from pyVmomi import vim

        code, _, _ = self._shell(machine, login, f"kill {int(call.value('pid'))}")
        if code:
            fault: Any = vim.fault.GuestProcessNotFound
            raise fault(pid=int(call.value("pid")), msg="there is no such program")
        return ()

    # ---- the guest ----------------------------------------------------------------------------------------------

    def _must_run(self, machine: str) -> None:
        from pyVmomi import vim

        faults: Any = vim.fault
        reference = self.front.center.machine(machine)
        state = str((self.front.center.properties(reference, "runtime.powerState") or {}).get("runtime.powerState"))
        if state != "poweredOn":
            raise faults.InvalidPowerState(msg="the machine is off", requestedState="poweredOn", existingState=state)

    def _client(self, machine: str, user: str, password: str) -> paramiko.SSHClient:
        """Return a connection to the guest, as a user with a password; what fails is said in vSphere's words."""
        from pyVmomi import vim

        faults: Any = vim.fault
        with self._lock:
            client = self._clients.get((machine, user, password))
            transport = client.get_transport() if client is not None else None
            if client is not None and transport is not None and transport.is_active():
                return client
            if self.refused:
                self.refused -= 1
                raise faults.InvalidGuestLogin(msg="Failed to authenticate with the guest operating system.")
            client = paramiko.SSHClient()
            client.set_missing_host_key_policy(paramiko.AutoAddPolicy())  # noqa: S507  a rig on loopback
            try:
                client.connect(
                    (self.front.rig / f"{machine}.address").read_text(),
                    username=user,
                    password=password,
                    look_for_keys=False,
                    allow_agent=False,
                    timeout=BUSY,
                    banner_timeout=BUSY,
                    auth_timeout=BUSY,
                )
            except paramiko.AuthenticationException as error:
                client.close()
                raise faults.InvalidGuestLogin(msg="Failed to authenticate with the guest operating system.") from error
            except (paramiko.SSHException, OSError, EOFError) as error:
                client.close()
                raise self._away() from error
            self._clients[machine, user, password] = client
            return client

    def _away(self) -> Exception:
        from pyVmomi import vim

        fault: Any = vim.fault.GuestOperationsUnavailable
        away: Exception = fault(msg="The guest operations agent could not be contacted.")
        return away

    def _shell(self, machine: str, login: tuple[str, str], line: str, data: bytes = b"") -> tuple[int, bytes, bytes]:
        client = self._client(machine, *login)
        try:
            stdin, stdout, stderr = client.exec_command(line, timeout=BUSY * 6)
            with contextlib.suppress(OSError):  # it read enough
                stdin.write(data)
            stdin.channel.shutdown_write()
            out, err = stdout.read(), stderr.read()
            code = stdout.channel.recv_exit_status()
        except (paramiko.SSHException, OSError, EOFError) as error:
            with self._lock:
                self._clients.pop((machine, *login), None)
            client.close()
            raise self._away() from error
        if code < 0:  # the guest went down under the command
            raise self._away()
        return code, out, err

    def _done(self, machine: str, login: tuple[str, str], line: str, path: str) -> bytes:
        from pyVmomi import vim

        faults: Any = vim.fault
        code, out, err = self._shell(machine, login, line)
        if code == NO_FILE:
            raise faults.FileNotFound(file=path, msg=f"File {path} was not found")
        if code:
            raise faults.CannotAccessFile(file=path, msg=err.decode(errors="replace").strip() or f"exit code {code}")
        return out
