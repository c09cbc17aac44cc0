"""Whole lives of machines and images in a vCenter in memory: what is asked, in what order, and what is left."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from bakery.drivers.shared.ovf_package import ByteRange, PackageFile
from bakery.drivers.vsphere.driver import VSphereDriver
from bakery.drivers.vsphere.image import import_disk, lease, ovf
from bakery.drivers.vsphere.options import Keep
from bakery.drivers.vsphere.source import VSphere
from bakery.errors import DriverError
from bakery.model import Artifact, Where
from bakery.state.claim import Claim
from bakery.testing.contract import RecordingLedger
from bakery.util.context import WorkContext
from tests.unit.drivers.vsphere.in_memory import InMemory

VIM: Any = vim
VMODL: Any = vmodl
Files = dict[str, PackageFile]


def source(**options: Any) -> VSphere:
    return VSphere(**{"base": "debian", "cluster": "C0", **options})


def of_role(claim: Claim, role: str) -> Claim:
    return replace(claim, role=role, name=f"{claim.name}-{role}")


def whole(driver: VSphereDriver, claim: Claim, **options: Any) -> Artifact:
    """A life, from the source to the kept image, with one ledger for all of it."""
    handle = driver.launch(source(**options), claim)
    assert driver.endpoint(handle).host == "192.0.2.1"
    artifact = driver.capture(handle, "web", of_role(claim, "image"))
    smoke = driver.launch(artifact, of_role(claim, "smoke"))
    kept = driver.keep(artifact, "web", of_role(claim, "keep"))
    driver.destroy(smoke.resource)
    return kept


@pytest.mark.parametrize("image", ["template", "snapshot", "machine"])
def test_an_image_is_made_kept_and_deleted(api: InMemory, driver: VSphereDriver, claim: Claim, image: str) -> None:
    before = api.names()
    kept = whole(driver, claim, image=image, notes="Text.", attributes={"team": "web"}, folder="built")
    assert api.names() - before == {"web", "built"}
    assert driver.intact(kept)
    assert (kept.format, kept.data["path"]) == ("template" if image == "template" else "machine", "/DC0/vm/built/web")
    assert api.called("ShutdownGuest") == 1
    assert driver.image_format(source(image=image)) == kept.format
    driver.delete(kept)
    assert not driver.intact(kept)
    driver.delete(kept)
    assert api.names() - before == {"built"}


def test_the_old_one_steps_aside_and_goes(api: InMemory, driver: VSphereDriver, claim: Claim) -> None:
    first = whole(driver, claim)
    second = whole(driver, replace(claim, name=f"{claim.name}x"), keep=Keep(newest=1))
    assert len([name for name in api.names() if name.startswith("web@")]) == 1
    whole(driver, replace(claim, name=f"{claim.name}y"))
    assert [name for name in api.names() if name.startswith("web")] == ["web"]
    assert not driver.intact(first)
    assert not driver.intact(second)


def test_somebody_elses_name_is_a_problem_and_no_prey(api: InMemory, driver: VSphereDriver, claim: Claim) -> None:
    api.machine("web")
    (problem,) = driver.name_conflicts(source(), "web")
    assert "is taken in /DC0" in problem.what
    assert list(driver.name_conflicts(source(folder="none"), "web")) == []
    assert list(driver.name_conflicts(source(cluster="none"), "web")) == []
    handle = driver.launch(source(), claim)
    artifact = driver.capture(handle, "web", of_role(claim, "image"))
    with pytest.raises(DriverError, match="is taken by something that bakery did not make"):
        driver.keep(artifact, "web", of_role(claim, "keep"))
    assert "web" in api.names()


@pytest.mark.usefixtures("rest")
def test_what_was_made_is_found_and_destroyed_from_records(api: InMemory, driver: VSphereDriver, claim: Claim) -> None:
    before = api.names()
    handle = driver.launch(source(folder="built"), claim)
    assert [one.id for one in driver.find(Where(run=claim.run))] == [handle.id]
    assert list(driver.find(Where(older_than=60))) == []
    assert list(driver.find(Where(run="another"))) == []
    ledger = claim.ledger
    assert isinstance(ledger, RecordingLedger)
    ledger.undo(VSphereDriver())
    assert api.names() == before
    assert api.called("PowerOffVM_Task") == 1


@pytest.mark.usefixtures("rest")
def test_a_clone_without_marks_is_known_by_its_name(api: InMemory, driver: VSphereDriver, claim: Claim) -> None:
    api.machine(claim.name)
    api.machine("bakery")
    assert [one.key for one in driver.find(Where())] == [claim.name]


def test_attributes_that_may_not_be_set_are_an_error_and_marks_go_into_the_notes(
    api: InMemory, driver: VSphereDriver, claim: Claim
) -> None:
    handle = driver.launch(source(attributes={"team": "web"}), claim)
    artifact = driver.capture(handle, "web", of_role(claim, "image"))
    api.faults["SetField"] = VIM.fault.NoPermission(msg="no")
    kept = driver.keep(artifact, "web", of_role(claim, "keep"))
    notes = str(api.objects[kept.id][1]["config.annotation"])
    assert "bakery:image=web" in notes
    assert "bakery:expires" not in notes


def test_pre_flight_is_silent_where_all_is_well_and_says_all_that_is_not(api: InMemory, driver: VSphereDriver) -> None:
    assert list(driver.check(source(network="VM Network", datastore="DS0", host="H0"))) == []
    api.denied = frozenset({"Network.Assign", "VirtualMachine.Provisioning.DeployTemplate"})
    problems = list(driver.check(source(network="VM Network", folder="new", clone="linked")))
    assert [problem.what for problem in problems] == [
        "a linked clone of debian needs a snapshot to stand on",
        "the folder /DC0/vm/new is not there and will be made",
        "baker lacks privileges on the network VM Network",
        "baker lacks privileges on the base debian",
    ]
    api.denied = frozenset()
    api.objects["h-1"][1].update({"runtime.inMaintenanceMode": True, "runtime.connectionState": "disconnected"})
    api.objects["ds-1"][1]["summary"].freeSpace = 1
    api.objects["ds-1"][1]["summary"].accessible = False
    said = [problem.what for problem in driver.check(source(host="H0", datastore="DS0"))]
    assert said == [
        "the host H0 is in maintenance mode",
        "the host H0 is disconnected",
        "the datastore DS0 is not accessible now",
        "the datastore DS0 has no room",
    ]
    assert len(list(driver.check(source(base="debain", datastore="x", cluster="y")))) == 3


def test_a_server_without_verification_or_too_old_is_said(
    driver: VSphereDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOVC_INSECURE", "1")
    (problem,) = driver.check(source())
    assert not problem.fatal
    about = driver.centers.of_source(source()).content.about
    about.apiVersion = "6.0"
    assert "vSphere 6.0 is too old" in [problem.what for problem in driver.check(source())]
    about.apiVersion = "6.5"
    assert "vSphere 6.5 has no virtual TPM" in [problem.what for problem in driver.check(source(tpm=True))]
    about.apiType = "HostAgent"
    assert any("single ESXi host" in problem.what for problem in driver.check(source()))


def test_doctor_says_which_server_the_environment_means(
    api: InMemory, driver: VSphereDriver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    del api
    (line,) = driver.doctor(WorkContext(cache=tmp_path))
    assert line.what == "a vCenter in memory at vc.test lets baker in"
    (line,) = driver.doctor(WorkContext(cache=tmp_path, offline=True))
    assert "not asked" in line.what
    monkeypatch.delenv("VSPHERE_SERVER")
    (line,) = driver.doctor(WorkContext(cache=tmp_path))
    assert "no vSphere is named" in line.what
    assert "VSPHERE_SERVER" in line.hint  # a warning, not a tick
    assert not line.fatal
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    for problems in (driver.check(source()), driver.doctor(WorkContext(cache=tmp_path))):
        (problem,) = problems
        assert problem.fatal
        assert "[vmware]" in problem.hint


def test_a_template_has_a_key_and_machines_overlap_unless_an_address_is_given(
    driver: VSphereDriver, tmp_path: Path
) -> None:
    assert driver.prepare(source(), WorkContext(cache=tmp_path)) == "uuid-1 1"
    assert driver.overlaps(source())
    assert not driver.overlaps(source(address="192.0.2.9"))


@pytest.mark.parametrize("method", ["PowerOnVM_Task", "MarkAsTemplate", "Rename_Task"])
def test_what_was_done_although_the_answer_says_otherwise_is_done(
    api: InMemory, driver: VSphereDriver, claim: Claim, method: str
) -> None:
    """A lost answer is asked for again, and the second time it is refused."""
    work = getattr(api, f"_{method}")
    fault = VIM.fault.InvalidPowerState(msg="it is", requestedState="poweredOn", existingState="poweredOn")

    def twice(*words: Any) -> None:
        work(*words)
        raise fault

    setattr(api, f"_{method}", twice)
    assert driver.intact(whole(driver, claim))


# ---- publishing -------------------------------------------------------------------------------------------------


MACHINE = ovf.OvfMachine(
    name="web & co",
    disk="disk1.vmdk",
    size=7,
    capacity=8 << 20,
    cpus=2,
    memory=512,
    networks=("network1", "network2"),
    nic="vmxnet3",
    firmware="efi",
    secure_boot=True,
    guest_id="debian12_64Guest",
)


def test_an_ovf_says_all_of_a_machine() -> None:
    text = ovf.descriptor(MACHINE)
    for part in (
        "web &amp; co",
        'ovf:href="disk1.vmdk"',
        'ovf:size="7"',
        'ovf:capacity="8388608"',
        'vmw:osType="debian12_64Guest"',
        'vmw:key="firmware" vmw:value="efi"',
        'vmw:key="bootOptions.efiSecureBootEnabled" vmw:value="true"',
        "<rasd:Connection>network2</rasd:Connection>",
        "<rasd:ResourceSubType>VmxNet3</rasd:ResourceSubType>",
    ):
        assert part in text
    assert "efiSecureBoot" not in ovf.descriptor(replace(MACHINE, firmware="bios", secure_boot=False))


class FakeConnection:
    """A host that takes a disk."""

    def __init__(self, status: int) -> None:
        self.status, self.reason, self.timeout = status, "so", 0.0
        self.taken: list[tuple[str, str, bytes]] = []

    def request(self, method: str, path: str, body: Iterator[bytes], headers: dict[str, str]) -> None:
        """Take it."""
        sent = b"".join(body)
        self.taken.append((method, path, sent))
        assert headers["Content-Length"] == str(len(sent))

    def getresponse(self) -> FakeConnection:
        """Answer."""
        return self

    def read(self, _: int) -> bytes:
        """Say why."""
        return b"no room"

    def close(self) -> None:
        """End."""


@contextmanager
def importing(monkeypatch: pytest.MonkeyPatch, status: int = 201) -> Iterator[FakeConnection]:
    host = FakeConnection(status)
    monkeypatch.setattr(lease, "connect", lambda *_: host)
    yield host


def job(driver: VSphereDriver, claim: Claim) -> import_disk.ImportJob:
    center = driver.centers.of_source(source())
    return import_disk.ImportJob(
        center=center,
        name="imported",
        descriptor="<ovf/>",
        pool=VIM.ResourcePool("pool-1", center.session.stub),
        folder=center.folder("group-v1"),
        store=VIM.Datastore("ds-1", center.session.stub),
        host=None,
        networks=(),
        work=claim,
    )


@pytest.fixture
def files(tmp_path: Path) -> dict[str, PackageFile]:
    """A disk, and a CD image that no device of the import is."""
    found: dict[str, PackageFile] = {}
    for name, content in (("disk1.vmdk", b"a disk"), ("tools.iso", b"an iso")):
        path = tmp_path / name
        path.write_bytes(content)
        found[name] = PackageFile(name, (ByteRange(path, 0, len(content)),))
    return found


def test_a_disk_is_sent_under_a_lease_that_is_then_complete(
    api: InMemory, driver: VSphereDriver, claim: Claim, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.warnings = [VMODL.MethodFault(msg="an odd thing")]
    said: list[str] = []
    told = replace(claim, emit=lambda event: said.append(str(getattr(event, "message", ""))))
    with importing(monkeypatch) as host:
        machine = import_disk.import_machine(job(driver, told), files, 60)
    assert api.objects[machine._GetMoId()][1]["name"] == "imported"
    assert host.taken == [
        ("POST", "/nfc/1/disk-0.vmdk", b"a disk"),
        ("PUT", "/nfc/1/tools.iso", b"an iso"),
    ]
    assert (api.called("HttpNfcLeaseComplete"), api.called("HttpNfcLeaseAbort")) == (1, 0)
    assert "vSphere says of the OVF: an odd thing" in said


@pytest.mark.parametrize("what", ["status", "disk", "file", "error", "spec"])
def test_a_lease_is_given_up_where_anything_fails(
    api: InMemory, driver: VSphereDriver, claim: Claim, files: Files, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    begin = api._ImportVApp

    def changed(*words: Any) -> Any:
        lease = begin(*words)
        values = api.objects["lease-1"][1]
        if what == "disk":
            values["info"].deviceUrl = []
        if what == "error":
            values.update({"state": "error", "error": VMODL.MethodFault(msg="broken")})
        return lease

    monkeypatch.setattr(api, "_ImportVApp", changed)
    if what == "spec":
        api.errors = [VMODL.MethodFault(msg="no such hardware"), VMODL.MethodFault(msg="nor such")]
    if what == "file":
        del files["tools.iso"]
    said = {
        "status": "no room",
        "disk": "no address",
        "file": "there is no tools.iso",
        "error": "broken",
        "spec": "no such hardware\nMethodFault: nor such",
    }
    with importing(monkeypatch, 500 if what == "status" else 201), pytest.raises(DriverError) as error:
        import_disk.import_machine(job(driver, claim), files, 60)
    assert said[what] in error.value.why
    assert api.called("HttpNfcLeaseAbort") == (what in {"status", "disk", "file"})
