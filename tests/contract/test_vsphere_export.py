"""An image exported from vcsim over TLS: the lease and its answers are a stand-in's, the files what was sent."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bakery.disk import foreign_formats
from bakery.disk.signatures import is_disk_image
from bakery.drivers.vsphere.driver import VSphereDriver
from bakery.drivers.vsphere.image import lease
from bakery.drivers.vsphere.options import Keep
from bakery.errors import DriverError, Interrupted
from bakery.testing.contract import Stop
from tests.contract.test_vsphere_life import once, vim_fault
from tests.contract.vcsim import Reply, SoapRequest, VCenterStandIn
from tests.contract.vcsim_export import SIZE
from tests.contract.vspherelife import Life, OneLedger, borrow, lives

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenterStandIn]:
    with VCenterStandIn(tmp_path_factory.mktemp("vcsim") / "front") as front:
        yield front


@pytest.fixture
def front(shared: VCenterStandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[VCenterStandIn]:
    yield from borrow(shared, monkeypatch)


@pytest.fixture
def life(front: VCenterStandIn, tmp_path: Path) -> Callable[..., Life]:
    return lives(front, tmp_path, image="ova")


def exported(one: Life) -> Any:
    """Launch and capture, and destroy the machine, as a build does."""
    handle = one.driver.launch(one.source, one.claim("build"))
    return one.driver.capture(handle, "web", one.claim("image"))


def left(folder: Path) -> set[str]:
    """The files below a folder that hold something of a machine."""
    return {path.name for path in folder.rglob("*") if path.suffix in {".ova", ".vmdk", ".ovf"}}


def test_an_image_is_an_appliance_with_a_manifest(
    front: VCenterStandIn, life: Callable[..., Life], tmp_path: Path
) -> None:
    one = life(notes="Made for the tests.")
    image = exported(one)
    with tarfile.open(image.path) as archive:
        names = archive.getnames()
        contents = {name: archive.extractfile(name).read() for name in names}  # type: ignore[union-attr]  # all are files
    assert names == ["web.ovf", "web.mf", "web-disk1.vmdk"]
    manifest = dict(line.split("= ") for line in contents["web.mf"].decode().splitlines())
    assert manifest == {
        f"SHA256({name})": hashlib.sha256(contents[name]).hexdigest() for name in ("web.ovf", "web-disk1.vmdk")
    }
    (asked,) = front.listed("CreateDescriptor")
    assert (asked.value("name"), asked.value("description")) == ("web", "Made for the tests.")
    assert f'ovf:size="{len(contents["web-disk1.vmdk"])}"' in contents["web.ovf"].decode()
    disk = tmp_path / "disk.vmdk"
    disk.write_bytes(contents["web-disk1.vmdk"])
    words = ["qemu-img", "info", "--output=json", str(disk)]
    facts = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    assert (facts["format"], facts["virtual-size"]) == ("vmdk", SIZE)
    disk.unlink()
    assert (image.format, image.driver) == ("ova", "vsphere")
    assert image.sha256 == hashlib.sha256(image.path.read_bytes()).hexdigest()
    assert [one.state for one in front.exports.leases.values()] == ["done"]
    one.ledger.undo(one.driver)
    assert left(tmp_path) == set()


def test_the_disk_in_it_can_be_looked_into_and_the_file_written_over(life: Callable[..., Life]) -> None:
    one = life()
    image = exported(one)
    assert is_disk_image(image.path)
    assert foreign_formats.block_device(image.path, "ova")["file"]["size"] > 0
    one.ledger.undo(one.driver)


def test_no_key_of_ours_is_in_the_machine_when_it_is_exported(front: VCenterStandIn, life: Callable[..., Life]) -> None:
    one = life()
    seen: list[dict[str, str]] = []

    def look(call: SoapRequest) -> Reply | None:
        if call.method == "ExportVm":
            values = front.center.properties(front.center.machine(call.moid), "config.extraConfig") or {}
            seen.append({option.key: option.value for option in values["config.extraConfig"]})
        return None

    front.fault = look
    exported(one)
    assert {value for key, value in seen[0].items() if key.startswith("guestinfo.")} == {""}
    one.ledger.undo(one.driver)


def test_an_image_is_kept_under_its_name_found_whole_and_deleted(life: Callable[..., Life], tmp_path: Path) -> None:
    for number in range(3):
        one = life(OneLedger(), keep=Keep(newest=1))
        image = exported(one)
        kept = one.driver.keep(image, "web", one.claim("keep"))
        assert kept.path == tmp_path / "web.ova"
        one.ledger.undo(one.driver)
        os.utime(kept.path, (number * 1000, number * 1000))
    assert sorted(left(tmp_path)) == ["web.ova", "web@19700101T001640Z.ova"]
    kept = one.driver.keep(exported(one), "web", one.claim("keep"))
    one.ledger.undo(one.driver)
    assert one.driver.intact(kept)
    assert one.driver.image_format(one.source) == "ova"
    kept.path.write_bytes(b"changed")
    assert not one.driver.intact(kept)
    one.driver.delete(kept)
    assert not one.driver.intact(kept)


def test_what_was_exported_is_imported_to_be_tested_and_can_be_built_on(
    front: VCenterStandIn, life: Callable[..., Life]
) -> None:
    one = life(network="VM Network", cpus=2)
    image = exported(one)
    one.smoke(image)
    (asked,) = front.listed("CreateImportSpec")
    assert asked.value("entityName") == one.claim("smoke").name
    (sent,) = front.uploads
    with tarfile.open(image.path) as archive:
        disk = archive.extractfile("web-disk1.vmdk")
        assert disk is not None
        assert disk.read() == sent
    kept = one.keep(image)
    one.ledger.undo(one.driver)
    two = life(base=kept)
    assert exported(two).format == "ova"
    two.ledger.undo(two.driver)


def test_a_crash_at_any_line_of_a_life_leaves_nothing_or_the_kept_file(
    front: VCenterStandIn, life: Callable[..., Life], tmp_path: Path
) -> None:
    before = front.exists()
    for point in range(1, 100):
        one = life(OneLedger(point))
        crashed = False
        try:
            one.whole()
        except Stop:
            crashed = True
        finally:
            one.ledger.undo(VSphereDriver())
        assert front.exists() == before, f"leaked after a crash at point {point}"
        assert left(tmp_path) <= {"web.ova"}, f"a file is left after a crash at point {point}"
        if not crashed:
            break
    assert point > 8
    assert left(tmp_path) == {"web.ova"}


def test_further_files_go_along_and_media_do_not(front: VCenterStandIn, life: Callable[..., Life]) -> None:
    front.exports.more = {"web.nvram": b"variables", "tools.iso": b"a CD"}
    one = life()
    with tarfile.open(exported(one).path) as archive:
        assert archive.getnames() == ["web.ovf", "web.mf", "web-disk1.vmdk", "web-1.nvram"]
    assert front.exports.downloads == ["disk-0.vmdk", "web.nvram"]
    one.ledger.undo(one.driver)


def test_a_download_that_breaks_is_made_again(front: VCenterStandIn, life: Callable[..., Life]) -> None:
    front.exports.breaks = 2
    one = life()
    exported(one)
    assert front.exports.downloads == ["disk-0.vmdk"] * 3
    assert [said for said in one.notices if "is downloaded again" in said]
    one.ledger.undo(one.driver)


@pytest.mark.parametrize(
    ("what", "said"),
    [("damage", "is not what vSphere sent"), ("silent", "says nothing of the digest"), ("breaks", "did not send all")],
)
def test_a_disk_that_does_not_arrive_whole_is_no_image(
    front: VCenterStandIn, life: Callable[..., Life], tmp_path: Path, what: str, said: str
) -> None:
    setattr(front.exports, what, 9 if what == "breaks" else True)
    one = life()
    with pytest.raises(DriverError, match=said):
        exported(one)
    assert [lease.state for lease in front.exports.leases.values()] == ["aborted"]
    one.ledger.undo(VSphereDriver())
    assert left(tmp_path) == set()


@pytest.mark.parametrize("method", ["ExportVm", "HttpNfcLeaseGetManifest", "CreateDescriptor", "HttpNfcLeaseComplete"])
def test_a_refusal_says_why_and_leaves_nothing(
    front: VCenterStandIn, life: Callable[..., Life], tmp_path: Path, method: str
) -> None:
    front.fault = once(method, Reply(fault=vim_fault("NoPermission", privilegeId="VApp.Export")))
    one = life()
    with pytest.raises(DriverError, match=r"vSphere did not .*") as error:
        exported(one)
    assert "VApp.Export" in error.value.why
    one.ledger.undo(VSphereDriver())
    assert left(tmp_path) == set()


def test_a_lost_answer_of_the_export_leaves_nothing(front: VCenterStandIn, life: Callable[..., Life]) -> None:
    front.fault = once("ExportVm", Reply(lost=True))
    one = life()
    with pytest.raises(DriverError, match="no answer"):
        exported(one)
    one.ledger.undo(VSphereDriver())


def test_a_lease_is_kept_alive_while_its_files_are_downloaded(
    front: VCenterStandIn, life: Callable[..., Life], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "ALIVE", 0.01)
    front.exports.more = {f"{number}.nvram": bytes(1 << 20) for number in range(8)}
    one = life()
    exported(one)
    percents = front.exports.leases["export-1"].percents
    assert percents
    assert percents == sorted(percents)
    assert percents[-1] <= 99
    one.ledger.undo(one.driver)


def test_a_cancelled_build_gives_the_lease_up(front: VCenterStandIn, life: Callable[..., Life], tmp_path: Path) -> None:
    one = life()

    def cancel(call: SoapRequest) -> Reply | None:
        if call.method == "RetrievePropertiesEx" and ">export-1<" in call.body:
            one.cancel.set("the test says so")
        return None

    front.fault = cancel
    with pytest.raises(Interrupted, match="the test says so"):
        exported(one)
    assert [lease.state for lease in front.exports.leases.values()] == ["aborted"]
    one.ledger.undo(VSphereDriver())
    assert left(tmp_path) == set()


def test_pre_flight_says_which_privileges_an_export_needs(front: VCenterStandIn, life: Callable[..., Life]) -> None:
    one = life()
    assert [problem for problem in one.driver.check(one.source) if problem.fatal] == []
    asked = [call.body for call in front.listed("HasPrivilegeOnEntities")]
    assert any("<privId>VApp.Export</privId>" in body for body in asked)
    assert list(one.driver.name_conflicts(one.source, "DC0_H0_VM0")) == []
