"""Guest operations by pyvmomi's types, without a server and without a guest."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from pyVmomi import vim

from bakery.drivers.vsphere.api.center import VCenter
from bakery.drivers.vsphere.api.errors import VSphereError
from bakery.drivers.vsphere.driver import VSphereDriver
from bakery.drivers.vsphere.guest import endpoint
from bakery.drivers.vsphere.guest.endpoint import GuestPasswords, open_guest
from bakery.drivers.vsphere.guest.guest import GuestAway, GuestFolderGone
from bakery.drivers.vsphere.guest.operations import ToolsGuest
from bakery.drivers.vsphere.image import lease
from bakery.drivers.vsphere.source import VSphere
from bakery.errors import DriverError, ImagefileError, NotYet
from bakery.machine.transport.stages import NotReached
from bakery.model import Endpoint, from_json, to_json
from bakery.publish import VSphere as Publisher
from bakery.redaction.secret import Secret
from bakery.state.claim import Claim
from bakery.util.results import Lost
from bakery.util.waiting import Cancel
from tests.unit.drivers.vsphere.in_memory import InMemory

VIM: Any = vim
GUEST: Any = VIM.vm.guest


class Inside:
    """A guest's files and programs; each answers for the method of vSphere that has its name."""

    def __init__(self, api: InMemory) -> None:
        self.files: dict[str, bytes] = {}
        self.folders = {"/run"}
        self.programs: list[Any] = []
        self.passwords: list[str] = []
        for name in (one for one in dir(type(self)) if one.startswith("do_")):
            method = getattr(self, name)
            setattr(api, f"_{name.removeprefix('do_')}", lambda _, __, *words, m=method: m(*words))

    def do_CreateTemporaryDirectoryInGuest(self, auth: Any, prefix: str, suffix: str, place: str) -> str:  # noqa: N802
        self.passwords.append(auth.password)
        if place not in self.folders:
            raise VIM.fault.FileNotFound(file=place, msg="no such folder")
        return f"{place}/{prefix}1{suffix}"

    def do_ListFilesInGuest(self, _: Any, folder: str, first: int, most: int, pattern: str | None) -> Any:  # noqa: N802
        names = [path for path in self.files if path.startswith(f"{folder}/") and re.search(pattern or "", path)]
        page = min(most, 2)
        found = [
            GUEST.FileManager.FileInfo(
                path=path, type="file", size=len(self.files[path]), attributes=GUEST.FileManager.FileAttributes()
            )
            for path in names[first : first + page]
        ]
        return GUEST.FileManager.ListFileInfo(files=found, remaining=max(0, len(names) - first - page))

    def do_MoveFileInGuest(self, _: Any, before: str, after: str, overwrite: bool) -> None:  # noqa: N802
        assert overwrite
        if before not in self.files:
            raise VIM.fault.FileNotFound(file=before, msg="no such file")
        self.files[after] = self.files.pop(before)

    def do_DeleteFileInGuest(self, _: Any, path: str) -> None:  # noqa: N802
        if path not in self.files:
            raise VIM.fault.FileNotFound(file=path, msg="no such file")
        del self.files[path]

    def do_DeleteDirectoryInGuest(self, _: Any, path: str, recursive: bool) -> None:  # noqa: N802
        assert recursive
        self.files = {name: data for name, data in self.files.items() if not name.startswith(f"{path}/")}

    def do_InitiateFileTransferToGuest(  # noqa: N802
        self, _: Any, path: str, attributes: Any, size: int, overwrite: bool
    ) -> str:
        assert overwrite
        assert attributes.permissions == 0o600
        return f"https://*/guestFile?file={path}&size={size}"

    def do_InitiateFileTransferFromGuest(self, _: Any, path: str) -> Any:  # noqa: N802
        if path not in self.files:
            raise VIM.fault.FileNotFound(file=path, msg="no such file")
        kind = GUEST.FileManager.FileTransferInformation
        return kind(
            attributes=GUEST.FileManager.FileAttributes(), size=0, url=f"https://h-1.test/guestFile?file={path}"
        )

    def do_StartProgramInGuest(self, _: Any, spec: Any) -> int:  # noqa: N802
        info = GUEST.ProcessManager.ProcessInfo(
            name="sh", pid=len(self.programs) + 1, owner="root", cmdLine=f"{spec.programPath} {spec.arguments}"
        )
        self.programs.append(info)
        return int(info.pid)

    def do_ListProcessesInGuest(self, _: Any, pids: Any) -> Any:  # noqa: N802
        assert not pids
        return self.programs

    def do_TerminateProcessInGuest(self, _: Any, pid: int) -> None:  # noqa: N802
        if pid not in [one.pid for one in self.programs]:
            raise VIM.fault.GuestProcessNotFound(pid=pid, msg="no such program")
        self.programs = [one for one in self.programs if one.pid != pid]


class Connection:
    """Where files are moved."""

    def __init__(self, inside: Inside, statuses: list[int]) -> None:
        self.inside, self.statuses = inside, statuses

    def request(self, method: str, path: str, data: bytes | None) -> None:
        """Take or find a file."""
        name = path.partition("file=")[2].partition("&")[0]
        status = self.statuses.pop(0) if self.statuses else 200
        if method == "PUT" and status == 200:
            self.inside.files[name] = data or b""
        self.answer = SimpleNamespace(status=status, reason="so", read=lambda: self.inside.files.get(name, b""))

    def getresponse(self) -> Any:
        """Say how it went."""
        return self.answer

    def close(self) -> None:
        """Hang up."""


@pytest.fixture
def inside(api: InMemory) -> Inside:
    api.add(
        GUEST.GuestOperationsManager,
        "guest",
        fileManager=GUEST.FileManager("guest-files", api),
        processManager=GUEST.ProcessManager("guest-programs", api),
    )
    return Inside(api)


@pytest.fixture
def reached(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, str]]:
    """The hosts that files were moved at; how the next moves end is in `statuses`."""
    hosts: list[tuple[str, int, str]] = []
    statuses: list[int] = []

    def connect(_: VCenter, host: str, port: int, thumbprint: str) -> Connection:
        hosts.append((host, port, thumbprint))
        return Connection(inside, statuses)

    monkeypatch.setattr(lease, "connect", connect)
    return hosts


@pytest.fixture
def guest(api: InMemory, inside: Inside, driver: VSphereDriver) -> ToolsGuest:
    del inside
    api.change(VIM.HostSystem("h-1", api), **{"summary.config": SimpleNamespace(sslThumbprint="AA:BB")})
    machine = api.machine("isolated", **{"runtime.powerState": "poweredOn", "runtime.host": VIM.HostSystem("h-1", api)})
    center = driver.centers.of_source(VSphere(base="debian"))
    return ToolsGuest(center, machine, "root", Secret("of the guest"))


def test_files_go_in_and_out_where_the_server_says(
    guest: ToolsGuest, inside: Inside, reached: list[tuple[str, int, str]]
) -> None:
    folder = guest.make_folder()
    assert folder == "/run/bakery-1"  # there is no /dev/shm
    assert set(inside.passwords) == {"of the guest"}
    for name in ("1.cmd", "1.out.0", "1.err.0", "12.cmd"):
        guest.upload(f"{folder}/{name}.part", name.encode())
        guest.rename(f"{folder}/{name}.part", f"{folder}/{name}")
    guest.rename(f"{folder}/1.cmd.part", f"{folder}/1.cmd")  # as where the first answer was lost
    assert guest.sizes(folder, 1) == {"1.cmd": 5, "1.out.0": 7, "1.err.0": 7}
    assert guest.download(f"{folder}/1.out.0") == b"1.out.0"
    assert set(reached) == {("vc.test", 443, ""), ("h-1.test", 443, "AA:BB")}
    guest.delete(f"{folder}/1.cmd")
    guest.delete(f"{folder}/1.cmd")
    with pytest.raises(GuestFolderGone):
        guest.download(f"{folder}/1.cmd")
    guest.remove_folder(folder)
    assert inside.files == {}
    assert guest.round_trip() >= 0


def test_programs_are_started_looked_for_and_ended(guest: ToolsGuest, inside: Inside) -> None:
    pid = guest.start("/bin/sh", "/run/bakery-1/run 1 0 ")
    assert guest.runs("/run/bakery-1/run 1 ")
    assert not guest.runs("/run/bakery-1/run 2 ")
    inside.programs[0].endTime = datetime.now(UTC)
    assert not guest.runs("/run/bakery-1/run 1 ")
    guest.terminate(pid)
    guest.terminate(pid)
    assert inside.programs == []


@pytest.mark.usefixtures("reached")
def test_a_transfer_that_breaks_is_made_once_more(
    guest: ToolsGuest, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses = [500]
    monkeypatch.setattr(lease, "connect", lambda *_: Connection(inside, statuses))
    guest.upload("/run/file", b"whole")
    assert inside.files == {"/run/file": b"whole"}
    statuses += [500, 500]
    with pytest.raises(GuestAway, match="500 so from"):
        guest.upload("/run/file", b"other")


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("GuestOperationsUnavailable", GuestAway),
        ("InvalidState", Lost),
        ("GuestPermissionDenied", VSphereError),
        ("InvalidGuestLogin", VSphereError),
        ("OperationDisabledByGuest", VSphereError),
        ("Timedout", Lost),
    ],
)
def test_what_passes_by_itself_is_told_from_what_is_refused(
    guest: ToolsGuest, api: InMemory, fault: str, kind: type[Exception]
) -> None:
    monkey = getattr(VIM.fault, fault)

    def refuse(*_: Any) -> Any:
        raise monkey(msg="of a test")

    api._StartProgramInGuest = refuse  # type: ignore[attr-defined]
    with pytest.raises(kind, match=fault) as caught:
        guest.start("/bin/sh", "")
    if fault == "InvalidGuestLogin":
        assert "VSPHERE_GUEST_PASSWORD" in getattr(caught.value, "hint", "")


def test_a_guest_without_a_place_for_our_files_is_said_to_be_so(guest: ToolsGuest, inside: Inside) -> None:
    inside.folders.clear()
    with pytest.raises(VSphereError, match="there is no place for files of ours"):
        guest.make_folder()


def test_an_endpoint_tells_its_passwords_to_nobody_who_writes(
    api: InMemory, inside: Inside, driver: VSphereDriver, claim: Claim
) -> None:
    del inside
    source = VSphere(base="debian", transport="guest", guest_password="of the guest", password="of the server")
    handle = driver.launch(source, claim)
    assert "of the" not in json.dumps([to_json(handle), to_json(source), source.settings()])
    where = driver.endpoint(handle)
    assert where.credentials == {"vsphere": "of the server", "guest": "of the guest"}
    written = json.dumps(to_json(where))
    assert "of the" not in written + repr(where) + repr(source)
    assert from_json(Endpoint, json.loads(written)).transport == endpoint.WAY
    api.change(
        driver.centers.of(handle.data).machine(handle.id), **{"guest.toolsRunningStatus": "guestToolsNotRunning"}
    )
    with pytest.raises(NotYet, match="VMware Tools do not run"):
        driver.endpoint(handle)


def test_another_process_needs_the_guests_password_again(
    inside: Inside, driver: VSphereDriver, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    del inside
    handle = driver.launch(VSphere(base="debian", transport="guest", guest_password="of the guest"), claim)
    with pytest.raises(DriverError, match="there is no password for root in the guest"):
        VSphereDriver().endpoint(handle)
    monkeypatch.setenv("VSPHERE_GUEST_PASSWORD", "of the environment")
    assert VSphereDriver().endpoint(handle).credentials["guest"] == "of the environment"


@pytest.mark.usefixtures("reached")
def test_a_way_is_opened_from_an_endpoint_alone(
    api: InMemory, inside: Inside, driver: VSphereDriver, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bakery.drivers.vsphere.api import center as centers

    monkeypatch.setattr(endpoint, "connect", centers.connect)
    handle = driver.launch(VSphere(base="debian", transport="guest", guest_password="of the guest"), claim)
    way = open_guest(driver.endpoint(handle), Cancel())
    assert way.user == "root"
    assert list(inside.files) == ["/run/bakery-1/run"]
    way.close()
    assert inside.files == {}
    for fault, stage in (("InvalidGuestLogin", "authentication"), ("GuestOperationsUnavailable", "guest agent")):
        api.faults["CreateTemporaryDirectoryInGuest"] = getattr(VIM.fault, fault)(msg="of a test")
        with pytest.raises(NotReached, match=stage) as caught:
            open_guest(driver.endpoint(handle), Cancel())
        assert caught.value.hint
    api.faults["CreateTemporaryDirectoryInGuest"] = VIM.fault.OperationDisabledByGuest(msg="of a test")
    with pytest.raises(VSphereError, match="make a folder"):
        open_guest(driver.endpoint(handle), Cancel())


def test_a_server_without_guest_operations_says_so(api: InMemory, driver: VSphereDriver) -> None:
    api.add(GUEST.GuestOperationsManager, "guest")
    center = driver.centers.of_source(VSphere(base="debian"))
    with pytest.raises(VSphereError, match="no guest operations"):
        ToolsGuest(center, api.machine("isolated"), "root", Secret("of the guest"))


def test_options_that_mean_nothing_together_are_refused() -> None:
    for options in ({"address": "192.0.2.1"}, {"address_within": "192.0.2.0/24"}):
        with pytest.raises(ImagefileError, match="are for SSH"):
            VSphere(base="debian", transport="guest", **options)  # type: ignore[arg-type]
    with pytest.raises(ImagefileError, match="nobody logs in with a password"):
        VSphere(base="debian", guest_password="of the guest")
    with pytest.raises(ImagefileError, match="must be one of 'ssh', 'guest'"):
        VSphere(base="debian", transport="telnet")  # type: ignore[arg-type]


def test_pre_flight_asks_for_the_password_and_the_privileges(
    api: InMemory, driver: VSphereDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.denied = frozenset({"VirtualMachine.GuestOperations.Execute"})
    source = VSphere(base="debian", transport="guest")
    assert [problem.what for problem in driver.check(source)] == [
        "there is no password for root in the guest",
        "baker lacks privileges on the folder of the machines",
    ]
    monkeypatch.setenv("VSPHERE_GUEST_PASSWORD", "of the guest")
    assert len(list(driver.check(source))) == 1
    assert list(driver.check(VSphere(base="debian"))) == []
    assert driver.overlaps(source)


def test_a_publishers_password_is_known_when_its_image_is_tested(api: InMemory, driver: VSphereDriver) -> None:
    del api
    published = Publisher(transport="guest", guest_password="of the guest")
    assert list(driver.name_conflicts(published, "web")) == []
    assert driver._passwords.of("root").reveal() == "of the guest"
    assert GuestPasswords().of("root", {"VSPHERE_GUEST_PASSWORD": "other"}).reveal() == "other"
