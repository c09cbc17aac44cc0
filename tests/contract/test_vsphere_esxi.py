"""A single ESXi host: vcsim's, over TLS. Machines are copied or imported, and images are machines that are off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bakery.drivers.shared.appliance import Appliance
from bakery.drivers.vsphere.driver import VSphereDriver
from bakery.drivers.vsphere.options import Keep, LibraryItem, LinuxPrep, VSphereMachine
from bakery.errors import DriverError
from bakery.model import Where
from tests.appliances import package, write_ova
from tests.contract.crashes import STEPS
from tests.contract.test_vsphere_life import names, once, vim_fault
from tests.contract.vcsim import HostStandIn, Reply
from tests.contract.vspherelife import Life, borrow, crash_everywhere, lives

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostStandIn]:
    with HostStandIn(tmp_path_factory.mktemp("vcsim") / "front") as front:
        yield front


@pytest.fixture
def front(shared: HostStandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[HostStandIn]:
    yield from borrow(shared, monkeypatch)


@pytest.fixture
def life(front: HostStandIn, tmp_path: Path) -> Callable[..., Life]:
    return lives(front, tmp_path)


def test_a_machine_is_copied_built_on_and_kept(front: HostStandIn, life: Callable[..., Life]) -> None:
    before = front.exists()
    one = life(cpus=2, memory="256M", notes="Copied.")
    assert list(one.driver.check(one.source)) == []
    kept = one.whole()
    assert names(front, before) == {"machine /ha-datacenter/vm/web"}
    assert (kept.format, one.driver.intact(kept)) == ("machine", True)
    config = (front.center.properties(front.machine("web"), "config") or {})["config"]
    assert (config.hardware.numCPU, config.hardware.memoryMB) == (2, 256)
    assert config.annotation.startswith("Copied.\nbakery:")
    files = [device.backing.fileName for device in config.hardware.device if hasattr(device, "capacityInKB")]
    assert files == [f"[LocalDS_0] {one.claim('build').name}/disk-0.vmdk"]
    assert len(front.listed("CopyVirtualDisk_Task")) == 2, "one for the build, one for the test"
    assert front.listed("CloneVM_Task") == []
    one.driver.delete(kept)


def test_an_appliance_is_imported(front: HostStandIn, life: Callable[..., Life], tmp_path: Path) -> None:
    before = front.exists()
    front.uploads.clear()
    one = life(base=Appliance(str(write_ova(tmp_path / "web.ova", package()))), network="VM Network")
    assert list(one.driver.check(one.source)) == []
    kept = one.whole()
    assert names(front, before) == {"machine /ha-datacenter/vm/web"}
    assert front.uploads == [b"a disk"]
    one.driver.delete(kept)


def test_an_image_is_exported_and_imported_again(front: HostStandIn, life: Callable[..., Life]) -> None:
    before = front.exists()
    one = life(image="ova")
    assert list(one.driver.check(one.source)) == []
    kept = one.whole()
    assert (kept.path.name, one.driver.intact(kept)) == ("web.ova", True)
    assert [lease.state for lease in front.exports.leases.values()] == ["done"]
    assert front.exists() == before
    one.driver.delete(kept)


def test_older_images_go_and_seeds_too(front: HostStandIn, life: Callable[..., Life]) -> None:
    before = front.exists()
    life(keep=Keep(newest=1)).whole()
    last = life(keep=Keep(newest=0), datasource="nocloud")
    kept = last.whole()
    assert names(front, before) == {"machine /ha-datacenter/vm/web"}
    last.driver.delete(kept)


@STEPS
def test_a_crash_at_any_line_leaves_nothing(front: HostStandIn, life: Callable[..., Life], step: int) -> None:
    crash_everywhere(front, life, more_than=8, step=step)


@pytest.mark.parametrize("method", ["MakeDirectory", "CopyVirtualDisk_Task", "CreateVM_Task", "ReconfigVM_Task"])
@pytest.mark.parametrize("reply", [Reply(lost=True), Reply(fault=vim_fault("NoPermission"))])
def test_a_refusal_or_a_lost_answer_leaves_nothing_twice(
    front: HostStandIn, life: Callable[..., Life], method: str, reply: Reply
) -> None:
    before = front.exists()
    front.fault = once(method, reply)
    one = life()
    try:
        one.driver.launch(one.source, one.claim("build"))
    except DriverError as error:
        assert "vSphere did not" in error.what  # noqa: PT017  a lost answer may be none the worse
    else:
        assert reply.lost
        assert len(names(front, before)) == 1
    one.ledger.undo(VSphereDriver())


def test_everything_is_found_by_its_notes(front: HostStandIn, life: Callable[..., Life]) -> None:
    one = life()
    handle = one.driver.launch(one.source, one.claim("build"))
    assert [resource.id for resource in one.driver.find(Where(run=one.run))] == [handle.id]
    one.ledger.undo(VSphereDriver())
    assert front.listed("AddCustomFieldDef") == []


def test_what_takes_a_vcenter_is_said_all_at_once(life: Callable[..., Life]) -> None:
    one = life(
        base=LibraryItem("images", "debian"),
        image="template",
        folder="images",
        tags="a:b",
        attributes={"team": "web"},
        customization=LinuxPrep(hostname="web", domain="test"),
        tpm=True,
    )
    said = [problem.what.partition("=")[0] for problem in one.driver.check(one.source)]
    assert said == [
        "vSphere 6.5 has no virtual TPM",
        "image",
        "base",
        "folder",
        "tags",
        "attributes",
        "customization",
        "tpm",
    ]
    one = life(base=VSphereMachine("tiny", snapshot="x"), clone="linked")
    said = [problem.what.partition("=")[0] for problem in one.driver.check(one.source)]
    assert said == ["clone", "base"]
