"""A NoCloud seed is beside the machine's files while it is needed, and nowhere afterwards."""

from __future__ import annotations

from dataclasses import replace
from email import message_from_string
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from bakery.drivers.vsphere import destroy
from bakery.drivers.vsphere.api import datastore_files
from bakery.drivers.vsphere.api.datastore_files import DatastorePath
from bakery.drivers.vsphere.driver import VSphereDriver
from bakery.drivers.vsphere.machine import seed_iso, user_data
from bakery.drivers.vsphere.source import VSphere
from bakery.errors import DriverError
from bakery.model import Resource, Where
from bakery.state.claim import Claim
from bakery.state.ssh_keys import proof_of
from bakery.testing.contract import RecordingLedger
from bakery.util.context import WorkContext
from tests.unit.drivers.vsphere.in_memory import InMemory

VIM: Any = vim
DEVICE: Any = VIM.vm.device


def source(**options: Any) -> VSphere:
    return VSphere(**{"base": "debian", "cluster": "C0", "datasource": "nocloud", **options})


@pytest.fixture
def uploads(api: InMemory, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What was uploaded, by its path."""
    sent: dict[str, bytes] = {}

    def upload(_: Any, file: Path, to: DatastorePath, datacenter: Any) -> None:
        assert datacenter.path == "/DC0"
        sent[str(to)] = file.read_bytes()
        api.files.add(str(to))

    monkeypatch.setattr(seed_iso, "upload", upload)
    return sent


def drives(api: InMemory, machine: str) -> list[Any]:
    hardware = api.objects[machine][1]["config.hardware"]
    return [one for one in hardware.device if isinstance(one, DEVICE.VirtualCdrom)]


def of_role(claim: Claim, role: str) -> Claim:
    return replace(claim, role=role, name=f"{claim.name}-{role}")


def test_a_machine_gets_its_keys_by_a_seed_and_the_image_has_none(
    api: InMemory, driver: VSphereDriver, claim: Claim, uploads: dict[str, bytes]
) -> None:
    handle = driver.launch(source(), claim)
    path = f"[DS0] {claim.name}/bakery-seed.iso"
    assert set(uploads) == {path} == api.files
    assert claim.keys.host_private.encode() in uploads[path]
    assert b"bakery-host-key" in uploads[path]
    (drive,) = drives(api, handle.id)
    assert (drive.backing.fileName, drive.connectable.startConnected) == (path, True)
    settings = api.objects[handle.id][1]["config.extraConfig"]
    assert [option.key for option in settings if option.key.startswith("guestinfo.")] == []
    assert not (claim.folder / "bakery-seed.iso").exists()
    artifact = driver.capture(handle, "web", of_role(claim, "image"))
    assert api.files == set()
    assert isinstance(drives(api, handle.id)[0].backing, DEVICE.VirtualCdrom.RemotePassthroughBackingInfo)
    smoke = driver.launch(artifact, of_role(claim, "smoke"))
    assert len(uploads) == 2
    tested = next(seed for name, seed in uploads.items() if name != path)
    assert proof_of(claim.keys.user_private).encode() in tested, "it makes its own host key, as a user's does"
    assert claim.keys.host_private.splitlines()[2].encode() not in tested
    assert isinstance(claim.ledger, RecordingLedger)
    claim.ledger.undo(VSphereDriver())
    assert smoke.id not in api.objects
    assert api.files == set()


@pytest.mark.usefixtures("rest")
def test_a_seed_is_found_with_its_machine_where_there_is_no_journal(
    api: InMemory, driver: VSphereDriver, claim: Claim, uploads: dict[str, bytes]
) -> None:
    driver.launch(source(), claim)
    assert len(api.files) == len(uploads) == 1
    for resource in driver.find(Where(run=claim.run)):
        VSphereDriver().destroy(resource)
    assert api.files == set()


def test_seeds_go_after_machines_and_before_folders() -> None:
    kinds = ("folder", "machine", "seed", "aside")
    records = [Resource(driver="vsphere", kind=kind, key=kind) for kind in kinds]
    assert [[one.kind for one in batch] for batch in destroy.destroy_batches(records)] == [
        ["machine"],
        ["seed"],
        ["aside"],
        ["folder"],
    ]


@pytest.mark.parametrize(
    ("present", "added", "place"),
    [
        ([DEVICE.VirtualIDEController(key=200)], 0, (200, 0)),
        (
            [DEVICE.VirtualIDEController(key=200), DEVICE.VirtualDisk(key=1, controllerKey=200, unitNumber=0)],
            0,
            (200, 1),
        ),
        ([DEVICE.VirtualAHCIController(key=15000)], 0, (15000, 0)),
        ([], 1, (-601, 0)),
    ],
)
def test_a_drive_goes_where_there_is_a_place(present: list[Any], added: int, place: tuple[int, int]) -> None:
    changes: list[Any] = []
    assert seed_iso._place(present, changes) == place
    assert len(changes) == added


def test_a_drive_that_is_there_is_used_and_others_are_left_alone(
    api: InMemory, driver: VSphereDriver, claim: Claim, uploads: dict[str, bytes]
) -> None:
    theirs = DEVICE.VirtualCdrom.IsoBackingInfo(fileName="[DS0] isos/tools.iso")
    drive = DEVICE.VirtualCdrom(key=3000, controllerKey=200, unitNumber=0, backing=theirs)
    machine = api.machine("web", **{"config.hardware": VIM.vm.VirtualHardware(numCPU=1, memoryMB=64, device=[drive])})
    center = driver.centers.of_source(source())
    assert seed_iso.removed([drive]) == []
    assert seed_iso.seeds_of(center, machine) == []
    seed_iso._put_in(center, machine, DatastorePath("DS0", "web/bakery-seed.iso"), claim)
    assert drive.backing.fileName == "[DS0] web/bakery-seed.iso"
    assert len(seed_iso.removed([drive])) == 1
    assert uploads == {}


def test_a_folder_of_ours_goes_unless_a_machine_lives_in_it(
    api: InMemory, driver: VSphereDriver, tmp_path: Path
) -> None:
    center = driver.centers.of_source(source())
    datacenter, work = VIM.Datacenter("dc-1", center.session.stub), WorkContext(cache=tmp_path)
    api.files |= {"[DS0] bakery-1/x.log", "[DS0] theirs/x.log"}
    machine = api.machine("image", **{"config.files": VIM.vm.FileInfo(vmPathName="[DS0] bakery-1/x.vmx")})
    for folder in ("bakery-1", "theirs", "bakery-1/deep", "bakery-2"):
        datastore_files.delete_abandoned(center, DatastorePath("DS0", folder), datacenter, work)
    assert api.files == {"[DS0] bakery-1/x.log", "[DS0] theirs/x.log"}
    del api.objects[machine._GetMoId()][1]["config.files"]
    api.change(machine, **{"summary.config.vmPathName": "[DS0] bakery-1/x.vmx"})
    datastore_files.delete_abandoned(center, DatastorePath("DS0", "bakery-1"), datacenter, work)
    assert "[DS0] bakery-1/x.log" in api.files
    api.change(machine, **{"summary.config.vmPathName": ""})
    with pytest.raises(DriverError, match="cannot be deleted") as error:
        datastore_files.delete_abandoned(center, DatastorePath("DS0", "bakery-1"), datacenter, work)
    assert error.value.why == "vSphere does not say where the files of image are"
    api.change(machine, **{"config.files": VIM.vm.FileInfo(vmPathName="[DS0] other/x.vmx")})
    datastore_files.delete_abandoned(center, DatastorePath("DS0", "bakery-1"), datacenter, work)
    assert api.files == {"[DS0] theirs/x.log"}


def test_files_are_named_as_vsphere_does() -> None:
    path = DatastorePath.parse("[a store] folder/sub/x.vmx")
    assert (path.store, path.path, str(path.folder)) == ("a store", "folder/sub/x.vmx", "[a store] folder/sub")
    assert str(path.folder.child("y")) == "[a store] folder/sub/y"
    assert str(DatastorePath("a", "").child("y")) == "[a] y"
    with pytest.raises(DriverError, match="is no file on a datastore"):
        DatastorePath.parse("/vmfs/volumes/x")


def test_what_is_in_no_datacenter_is_an_error(api: InMemory, driver: VSphereDriver) -> None:
    center = driver.centers.of_source(source())
    assert datastore_files.datacenter_of(center, VIM.VirtualMachine("vm-1", center.session.stub))._GetMoId() == "dc-1"
    with pytest.raises(DriverError, match="in which datacenter group-d1 is"):
        datastore_files.datacenter_of(center, VIM.Folder("group-d1", center.session.stub))
    api.change(VIM.VirtualMachine("vm-1"), **{"config.files": None})
    del api.objects["vm-1"][1]["config.files"]
    with pytest.raises(DriverError, match="where the machine's files are"):
        datastore_files.folder_of(center, VIM.VirtualMachine("vm-1", center.session.stub))


def test_the_users_data_stand_beside_ours_while_the_image_is_built(claim: Claim) -> None:
    given = source(user_data="#cloud-config\npackages: [nginx]\n")
    parts = list(message_from_string(user_data.for_seed(given, claim)).walk())[1:]
    theirs, ours, lists = (bytes(part.get_payload(decode=True)).decode() for part in parts)
    assert "nginx" in theirs
    assert "ssh_deletekeys: false" in ours
    assert "bakery-host-key" in lists, "theirs would be replaced"
    assert "nginx" not in user_data.for_seed(given, of_role(claim, "smoke"))


def test_whoever_may_not_write_files_is_told_so(api: InMemory, driver: VSphereDriver) -> None:
    api.denied = frozenset({"Datastore.FileManagement"})
    (problem,) = driver.check(source(datastore="DS0"))
    assert problem.why == "Datastore.FileManagement"
    assert list(driver.check(source(datastore="DS0", datasource="guestinfo"))) == []
