"""Exports: what is downloaded is compared with what vSphere says, and packed in the order that DSP0243 wants."""

from __future__ import annotations

import hashlib
import http.client
import os
import tarfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from bakery.drivers.vsphere.api.account import VSphereAccount
from bakery.drivers.vsphere.api.center import VCenter
from bakery.drivers.vsphere.image import appliance_files, export, lease
from bakery.drivers.vsphere.image.export_disks import ExportedFile, ExportJob, export_disks
from bakery.drivers.vsphere.options import Keep
from bakery.drivers.vsphere.source import VSphere
from bakery.errors import DriverError, PreflightError
from bakery.model import Artifact
from bakery.state.claim import Claim
from bakery.util.context import WorkContext
from tests.unit.drivers.vsphere.conftest import FakeSession
from tests.unit.drivers.vsphere.in_memory import InMemory

VIM: Any = vim
VMODL: Any = vmodl
DISK, VARIABLES = b"a disk", b"variables"


class FakeHost:
    """A host that sends files: what each address has, how often it breaks off, and what it answers."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.asked = files, list[str]()
        self.breaks, self.status, self.announced = 0, 200, True
        self._content = b""

    def request(self, method: str, path: str) -> None:
        """Note what is asked for."""
        assert method == "GET"
        self.asked.append(path)
        self._content = self.files[path.rpartition("/")[2].partition("?")[0]]

    @property
    def reason(self) -> str:
        """The status in words."""
        return http.client.responses[self.status]

    def getresponse(self) -> FakeHost:
        """Answer."""
        return self

    def getheader(self, _: str) -> str | None:
        """How long it is."""
        return str(len(self._content)) if self.announced else None

    def read(self, _: int) -> bytes:
        """All of it at once, or less."""
        if self.breaks:
            self.breaks -= 1
            raise http.client.IncompleteRead(self._content[:2])
        content, self._content = self._content, b""
        return content

    def close(self) -> None:
        """End."""


def entry(key: str, content: bytes, algorithm: str = "sha256", **changes: Any) -> Any:
    """What vSphere says of a file."""
    digest = hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()
    sha1 = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    values = {"key": key, "sha1": sha1, "size": len(content), "disk": key.endswith("vmdk"), **changes}
    if algorithm != "sha1":
        values = {"checksum": digest, "checksumType": algorithm, **values}
    return VIM.HttpNfcLease.ManifestEntry(**values)


@pytest.fixture
def api() -> InMemory:
    api = InMemory()
    api.sent = {"disk-0.vmdk": DISK}
    api.manifest = [entry("disk-0.vmdk", DISK, capacity=4096, populatedSize=6)]
    return api


@pytest.fixture
def host(api: InMemory, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    host = FakeHost(api.sent)
    monkeypatch.setattr(lease, "connect", lambda *_: host)
    return host


@pytest.fixture
def job(api: InMemory, host: FakeHost, claim: Claim) -> ExportJob:
    del host
    session: Any = FakeSession(api, api.content)
    center = VCenter(VSphereAccount(server="vc.test", username="baker"), session)
    return ExportJob(center=center, machine=api.machine("built"), name="web", folder=claim.folder, claim=claim)


def test_each_file_is_downloaded_and_compared(api: InMemory, host: FakeHost, job: ExportJob) -> None:
    api.sent.update({"web.nvram": VARIABLES, "odd": b"odd", "tools.iso": b"a CD", "boot.flp": b"a floppy"})
    api.manifest += [entry("web.nvram", VARIABLES), entry("odd", b"odd")]
    files = export_disks(job)
    assert [(file.path.name, file.path.read_bytes()) for file in files] == [
        ("web-disk1.vmdk", DISK),
        ("web-1.nvram", VARIABLES),
        ("web-2.bin", b"odd"),
    ]
    assert (files[0].capacity, files[0].populated, files[1].capacity) == (4096, 6, None)
    assert files[0].sha256 == hashlib.sha256(DISK).hexdigest()
    assert host.asked[0] == "/nfc/2/disk-0.vmdk?ticket=t"
    assert (api.called("HttpNfcLeaseComplete"), api.called("HttpNfcLeaseAbort")) == (1, 0)
    assert api.called("HttpNfcLeaseSetManifestChecksumType") == 1


@pytest.mark.parametrize("fault", ["NotSupported", "MethodNotFound", "InvalidRequest"])
def test_a_server_that_chooses_its_digests_itself_tells_sha1(api: InMemory, job: ExportJob, fault: str) -> None:
    api.faults["HttpNfcLeaseSetManifestChecksumType"] = getattr(VMODL.fault, fault)(msg="too old")
    api.manifest = [entry("disk-0.vmdk", DISK, "sha1")]
    assert export_disks(job)[0].sha256 == hashlib.sha256(DISK).hexdigest()


def test_another_refusal_of_digests_is_an_error(api: InMemory, job: ExportJob) -> None:
    api.faults["HttpNfcLeaseSetManifestChecksumType"] = VMODL.fault.SystemError(msg="broken", reason="broken")
    with pytest.raises(DriverError, match="did not choose the export's digests"):
        export_disks(job)
    assert api.called("HttpNfcLeaseAbort") == 1


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ([], "says nothing of the digest of web-disk1.vmdk"),
        ([entry("disk-0.vmdk", b"a desk")], "is not what vSphere sent"),
        ([entry("disk-0.vmdk", DISK, size=7)], "is not what vSphere sent"),
        ([entry("disk-0.vmdk", DISK, "sha1", sha1="00")], "is not what vSphere sent"),
        ([entry("disk-0.vmdk", DISK, "md5")], "cannot be checked"),
    ],
)
def test_what_is_not_what_was_sent_is_no_image(api: InMemory, job: ExportJob, said: list[Any], message: str) -> None:
    api.manifest = said
    with pytest.raises(DriverError, match=message):
        export_disks(job)
    assert (api.called("HttpNfcLeaseComplete"), api.called("HttpNfcLeaseAbort")) == (0, 1)


def test_a_connection_that_breaks_is_made_again_a_few_times(
    api: InMemory, host: FakeHost, job: ExportJob, claim: Claim
) -> None:
    said: list[str] = []
    told = replace(job, claim=replace(claim, emit=lambda event: said.append(str(getattr(event, "message", "")))))
    host.breaks = 3
    assert export_disks(told)[0].path.read_bytes() == DISK
    assert len(host.asked) == 4
    assert [text for text in said if "is downloaded again" in text]
    host.breaks = 4
    with pytest.raises(DriverError, match=r"did not send web-disk1\.vmdk"):
        export_disks(told)
    assert api.called("HttpNfcLeaseAbort") == 1


def test_a_body_that_ends_early_is_asked_for_again(
    host: FakeHost, job: ExportJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = iter(["7", "6"])
    monkeypatch.setattr(host, "getheader", lambda _: next(lengths))
    assert export_disks(job)[0].size == 6
    assert len(host.asked) == 2


def test_a_body_of_unknown_length_is_checked_by_the_manifest(host: FakeHost, job: ExportJob) -> None:
    host.announced = False
    assert export_disks(job)[0].size == 6


@pytest.mark.parametrize(("status", "times"), [(404, 1), (503, 4)])
def test_a_host_that_does_not_send_says_why(host: FakeHost, job: ExportJob, status: int, times: int) -> None:
    host.status = status
    with pytest.raises(DriverError) as error:
        export_disks(job)
    assert error.value.why == f"{status} {http.client.responses[status]}"
    assert len(host.asked) == times


def test_a_machine_without_a_disk_has_no_image(api: InMemory, job: ExportJob) -> None:
    api.sent.clear()
    with pytest.raises(DriverError, match="gives no disk of the machine"):
        export_disks(job)


def test_a_full_disk_of_this_host_is_said_as_that(job: ExportJob, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(PreflightError, match="is full"):
        export_disks(job)


def exported(folder: Path, name: str = "web-disk1.vmdk", content: bytes = DISK) -> ExportedFile:
    path = folder / name
    path.write_bytes(content)
    return ExportedFile(
        key="k", path=path, size=len(content), sha256=hashlib.sha256(content).hexdigest(), capacity=4096
    )


def test_an_appliance_begins_with_its_descriptor_and_manifest(tmp_path: Path) -> None:
    files = [exported(tmp_path), exported(tmp_path, "web-1.nvram", VARIABLES)]
    export.pack(tmp_path / "web.ova", "web", "<Envelope/>", files, WorkContext(cache=tmp_path))
    with tarfile.open(tmp_path / "web.ova") as archive:
        assert archive.getnames() == ["web.ovf", "web.mf", "web-disk1.vmdk", "web-1.nvram"]
        manifest = archive.extractfile("web.mf")
        assert manifest is not None
        assert manifest.read().decode().splitlines()[1] == f"SHA256(web-disk1.vmdk)= {files[0].sha256}"
    head = (tmp_path / "web.ova").read_bytes()[257:265]
    assert head == b"ustar\x0000"


def test_a_disk_that_ustar_cannot_name_the_size_of_is_packed_as_gnu_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "LARGEST_USTAR", len(DISK))
    export.pack(tmp_path / "web.ova", "web", "<Envelope/>", [exported(tmp_path)], WorkContext(cache=tmp_path))
    assert (tmp_path / "web.ova").read_bytes()[257:265] == b"ustar  \x00"


def test_the_ovf_is_asked_for_with_the_files_and_the_users_notes(api: InMemory, job: ExportJob) -> None:
    said: list[str] = []
    told = replace(job, claim=replace(job.claim, emit=lambda event: said.append(str(getattr(event, "message", "")))))
    api.warnings = [VMODL.MethodFault(msg="an odd thing")]
    plain, more = VSphere(base=None, notes="Text."), VSphere(base=None, extra_config={"a": "b"})
    assert export.describe(told, plain, [exported(job.folder)]) == "<Envelope/>"
    assert export.describe(told, more, []) == "<Envelope/>"
    first, second = api.described
    assert (first.name, first.description, list(first.exportOption)) == ("web", "Text.", [])
    assert [(file.path, file.size, file.capacity) for file in first.ovfFiles] == [("web-disk1.vmdk", 6, 4096)]
    assert (second.description, list(second.exportOption)) == ("", ["extraconfig"])
    assert "vSphere says of the OVF: an odd thing" in said


def test_a_machine_that_no_ovf_can_describe_is_an_error(api: InMemory, job: ExportJob) -> None:
    api.errors = [VMODL.MethodFault(msg="no such hardware")]
    with pytest.raises(DriverError, match="did not describe the machine as OVF") as error:
        export.describe(job, VSphere(base=None), [])
    assert "no such hardware" in error.value.why


@pytest.mark.parametrize(
    ("rule", "left"), [(Keep(), 0), (Keep(newest=1), 1), (Keep(newest=None), 2), (Keep(days=7), 2)]
)
def test_older_appliances_stay_as_was_asked_for(tmp_path: Path, claim: Claim, rule: Keep, left: int) -> None:
    settings = {"source": VSphere(base=None, image="ova", keep=rule).settings()}
    for number in range(3):
        path = tmp_path / f".web.{number}.ova"
        path.write_bytes(str(number).encode())
        image = Artifact(driver="vsphere", id=str(path), name="web", format="ova", settings=settings)
        kept = appliance_files.keep(image, "web", claim)
        stamp = time.time() - 10 + number
        os.utime(kept.path, (stamp, stamp))
    assert (tmp_path / "web.ova").read_bytes() == b"2"
    assert len(list(tmp_path.glob("web@*.ova"))) == left
