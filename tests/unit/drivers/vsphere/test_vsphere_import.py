"""What an OVF asks is answered or refused before anything is made; then it is imported as the build's machine."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from bakery.drivers.shared.appliance import Appliance
from bakery.drivers.shared.ovf_package import open_package
from bakery.drivers.vsphere.api.inventory import Entity, Inventory
from bakery.drivers.vsphere.driver import VSphereDriver
from bakery.drivers.vsphere.machine.import_base import OvfQuestions, check_answers, mapped, questions
from bakery.drivers.vsphere.machine.place import Place
from bakery.drivers.vsphere.options import OvfOptions
from bakery.drivers.vsphere.source import VSphere
from bakery.errors import ImagefileError, PreflightError
from bakery.redaction.secret import Secret
from bakery.state.claim import Claim
from bakery.testing.contract import RecordingLedger
from bakery.util.context import WorkContext
from tests.appliances import DEPLOYMENTS, LICENCE, PRODUCT, descriptor, package, write_ova
from tests.unit.drivers.vsphere.in_memory import InMemory
from tests.unit.drivers.vsphere.test_vsphere_driver import importing

VIM: Any = vim


def asked(folder: Path, text: str) -> OvfQuestions:
    return questions(open_package(write_ova(folder / "web.ova", {"web.ovf": text.encode(), "disk1.vmdk": b"a disk"})))


def test_what_an_ovf_asks_is_read(tmp_path: Path) -> None:
    text = descriptor(6, networks=("nat", "lan"), sections=PRODUCT + LICENCE, deployments=DEPLOYMENTS)
    assert asked(tmp_path, text) == OvfQuestions(
        networks=("nat", "lan"), properties=("web.role.1",), deployments=("small", "large"), licences=True
    )
    assert asked(tmp_path, descriptor(6, networks=())) == OvfQuestions(
        networks=(), properties=(), deployments=(), licences=False
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("VirtualSystem ", "VirtualSystemCollection ", "is not of one machine"),
        ("VirtualHardwareSection", "Section", "has no machine"),
        ("vmdk.html#streamOptimized", "qcow2", "has a disk of another format"),
    ],
)
def test_what_vsphere_could_never_import_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = descriptor(6).replace(old, new)
    if "Collection" in new:
        text = text.replace("</VirtualSystem>", "</VirtualSystemCollection>")
    with pytest.raises(PreflightError, match=said):
        asked(tmp_path, text)


ASKS = OvfQuestions(networks=("nat",), properties=("web.role.1",), deployments=("small", "large"), licences=False)


@pytest.mark.parametrize(
    ("options", "said", "hint"),
    [
        (OvfOptions(networks={"natt": "x"}), "OvfOptions(networks=...): web.ova asks nothing about 'natt'", "nat?"),
        (OvfOptions(properties={"role": "x"}), "OvfOptions(properties=...)", ""),
        (OvfOptions(deployment="smal"), "OvfOptions(deployment=...)", "did you mean small?"),
    ],
)
def test_an_answer_that_nobody_asked_for_is_refused(options: OvfOptions, said: str, hint: str) -> None:
    with pytest.raises(PreflightError) as error:
        check_answers(options, ASKS, "web.ova")
    assert said in error.value.what
    assert hint in error.value.hint


def test_answers_that_were_asked_for_are_taken_and_so_are_those_that_cannot_be_known() -> None:
    options = OvfOptions(networks={"nat": "x"}, properties={"web.role.1": "y"}, deployment="large")
    check_answers(options, ASKS, "web.ova")
    check_answers(options, replace(ASKS, properties=None, deployments=None), "an item")


def test_licences_must_be_agreed_to() -> None:
    licensed = replace(ASKS, licences=True)
    with pytest.raises(PreflightError, match="holds licences to agree to"):
        check_answers(OvfOptions(), licensed, "web.ova")
    check_answers(OvfOptions(accept_eulas=True), licensed, "web.ova")


@pytest.mark.parametrize(
    "options",
    [{"disks": "fat"}, {"networks": "nat"}, {"accept_eulas": "yes"}, {"properties": {"a": Secret("a password", "pw")}}],
)
def test_a_wrong_option_of_an_ovf_is_an_error_of_the_imagefile(options: dict[str, Any]) -> None:
    with pytest.raises(ImagefileError):
        OvfOptions(**options)


def known(*names: str) -> Inventory:
    networks = [Entity(VIM.Network(f"net-{name}"), name, f"/DC0/network/{name}") for name in names]
    return Inventory([Entity(VIM.Datacenter("dc"), "DC0", "/DC0"), *networks])


def place(inventory: Inventory, *joined: str) -> Place:
    (center,) = inventory.of("datacenter")
    networks = tuple(inventory.find("network", name) for name in joined)
    return Place(
        datacenter=center, pool=None, host=None, machines=None, path=(), datastore=None, pod=None, networks=networks
    )


@pytest.mark.parametrize(
    ("there", "joined", "answers", "expected"),
    [
        (("lan", "build"), (), {"nat": "build"}, ["build", "lan"]),
        (("lan", "build"), ("build",), {}, ["build", "lan"]),
        (("only",), (), {}, ["only", "only"]),
    ],
)
def test_networks_are_the_answered_the_like_named_the_first_or_the_only_ones(
    there: tuple[str, ...], joined: tuple[str, ...], answers: dict[str, str], expected: list[str]
) -> None:
    inventory = known(*there)
    source = VSphere(base=Appliance("web.ova"), ovf=OvfOptions(networks=answers))
    found = mapped(source, ("nat", "lan"), inventory, place(inventory, *joined))
    assert [(name, entity.name) for name, entity in found] == list(zip(("nat", "lan"), expected, strict=True))


def test_a_network_that_could_be_several_is_asked_for() -> None:
    inventory = known("a", "b")
    with pytest.raises(PreflightError, match="which network 'nat' of the OVF shall be here is not said") as error:
        mapped(VSphere(base=Appliance("web.ova")), ("nat",), inventory, place(inventory))
    assert "/DC0/network/a, /DC0/network/b" in error.value.why
    source = VSphere(base=Appliance("web.ova"), ovf=OvfOptions(networks={"nat": "c"}))
    with pytest.raises(PreflightError, match="there is no network 'c'"):
        mapped(source, ("nat",), inventory, place(inventory))


# ---- in a vCenter in memory -------------------------------------------------------------------------------------


@pytest.fixture
def ova(tmp_path: Path) -> Path:
    return write_ova(tmp_path / "web.ova", {**package(sections=PRODUCT), "tools.iso": b"an iso"})


@pytest.fixture(autouse=True)
def only_the_disk(api: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The OVF of these tests has no CD image."""
    read = api._CreateImportSpec

    def answer(*words: Any) -> Any:
        result = read(*words)
        result.fileItem = result.fileItem[:1]
        return result

    monkeypatch.setattr(api, "_CreateImportSpec", answer)


def boot(path: Path, **options: Any) -> VSphere:
    return VSphere(base=Appliance(str(path)), cluster="C0", **options)


def test_an_appliance_becomes_the_machine_and_then_the_image(
    api: InMemory,
    driver: VSphereDriver,
    claim: Claim,
    ova: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = boot(ova, ovf=OvfOptions(properties={"web.role.1": "x"}, disks="eager"), folder="built")
    assert [problem.what for problem in driver.check(source) if problem.fatal] == []
    with importing(monkeypatch) as host:
        handle = driver.launch(source, claim)
    assert [content for _, _, content in host.taken] == [b"a disk"]
    assert api.called("CloneVM_Task") == 0
    (asked_for,) = api.asked[-1:]
    assert (asked_for.diskProvisioning, asked_for.propertyMapping[0].value) == ("eagerZeroedThick", "x")
    assert [(one.name, one.network._GetMoId()) for one in asked_for.networkMapping] == [("nat", "net-1")]
    artifact = driver.capture(handle, "web", replace(claim, role="image", name=f"{claim.name}-image"))
    assert artifact.format == "template"
    ledger = claim.ledger
    assert isinstance(ledger, RecordingLedger)
    ledger.undo(VSphereDriver())
    assert "built" not in api.names()


def test_a_packed_disk_is_sent_unpacked(
    driver: VSphereDriver,
    claim: Claim,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packed = gzip.compress(b"a disk")
    path = write_ova(tmp_path / "web.ova", package(packed, file=' ovf:compression="gzip"'))
    with importing(monkeypatch) as host:
        driver.launch(boot(path), claim)
    assert [content for _, _, content in host.taken] == [b"a disk"]


def test_nothing_is_made_of_a_damaged_appliance(
    api: InMemory,
    driver: VSphereDriver,
    claim: Claim,
    tmp_path: Path,
) -> None:
    path = write_ova(tmp_path / "web.ova", {**package(), "disk1.vmdk": b"a risk"})
    with pytest.raises(PreflightError, match="is damaged"):
        driver.launch(boot(path), claim)
    assert isinstance(claim.ledger, RecordingLedger)
    assert claim.ledger.resources == {}
    assert api.called("ImportVApp") == 0


def test_pre_flight_reads_the_ovf_and_says_what_vsphere_says_of_it(
    api: InMemory,
    driver: VSphereDriver,
    ova: Path,
    tmp_path: Path,
) -> None:
    api.warnings = [VIM.fault.OvfUnsupportedElement(msg="an odd thing", name="x")]
    (warned,) = driver.check(boot(ova))
    assert (warned.what, warned.fatal) == ("vSphere says of web.ova: an odd thing", False)
    api.warnings = []
    api.errors = [VIM.fault.OvfUnsupportedType(msg="no tapes", name="drive", instanceId="9", deviceType=99)]
    (problem,) = driver.check(boot(ova))
    assert problem.why == "OvfUnsupportedType: no tapes; name drive"
    api.errors, api.denied = [], frozenset({"VApp.Import"})
    (problem,) = driver.check(boot(ova))
    assert (problem.what, problem.why) == ("baker lacks privileges on the pool", "VApp.Import")
    api.denied = frozenset()
    (problem,) = driver.check(boot(tmp_path / "none.ova"))
    assert problem.what.startswith("there is no appliance")
    assert "ImportVApp" not in {name for name, _ in api.calls}


def test_what_is_downloaded_is_looked_at_when_it_is_there(api: InMemory, driver: VSphereDriver) -> None:
    source = VSphere(base=Appliance("https://example.com/web.ova", "0" * 64), cluster="C0")
    assert list(driver.check(source)) == []
    assert api.called("CreateImportSpec") == 0


def test_a_file_in_place_of_a_name_is_said_to_be_one(api: InMemory, driver: VSphereDriver) -> None:
    del api
    (problem,) = driver.check(VSphere(base="web.ova", cluster="C0"))
    assert (problem.what, problem.hint) == ("there is no machine 'web.ova'", "a file is base=Appliance('web.ova')")


def test_an_appliance_has_a_key_that_is_its_digest(driver: VSphereDriver, ova: Path, tmp_path: Path) -> None:
    first = driver.prepare(boot(ova), WorkContext(cache=tmp_path))
    assert first == driver.prepare(boot(ova), WorkContext(cache=tmp_path))
    write_ova(ova, package(b"another disk"))
    assert driver.prepare(boot(ova), WorkContext(cache=tmp_path)) != first


def test_a_datastore_must_be_named_where_there_are_several(
    api: InMemory,
    driver: VSphereDriver,
    ova: Path,
) -> None:
    stores = api.objects["ds-1"][1]["parent"]
    api.add(VIM.Datastore, "ds-2", name="DS1", parent=stores)
    (problem,) = driver.check(boot(ova))
    assert problem.what == "there are 2 datastores in /DC0, and none is named"
