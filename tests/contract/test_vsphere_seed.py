"""`datasource="nocloud"` on vcsim over TLS: the seed is uploaded to a datastore, put into a drive, and deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bakery.drivers.vsphere.api import inventory
from bakery.drivers.vsphere.api.datastore_files import DatastorePath
from bakery.drivers.vsphere.driver import VSphereDriver
from bakery.drivers.vsphere.machine import seed_iso
from bakery.errors import DriverError
from tests.contract.crashes import STEPS
from tests.contract.test_vsphere_life import names, once, vim_fault
from tests.contract.vcsim import Reply, VCenterStandIn
from tests.contract.vspherelife import Life, borrow, crash_everywhere, lives

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
    return lives(front, tmp_path, datasource="nocloud")


def seeds(front: VCenterStandIn) -> list[Path]:
    return [path for store in front._stores() for path in store.rglob(seed_iso.FILE)]


def test_the_seed_is_there_while_the_machine_runs_and_not_in_the_image(
    front: VCenterStandIn, life: Callable[..., Life]
) -> None:
    before = front.exists()
    one = life()
    assert list(one.driver.check(one.source)) == []
    handle = one.driver.launch(one.source, one.claim("build"))
    (seed,) = seeds(front)
    assert seed.parent.name == one.claim("build").name
    assert b"cidata" in seed.read_bytes()
    assert one.claim("build").keys.host_private.encode() in seed.read_bytes()
    artifact = one.driver.capture(handle, "web", one.claim("image"))
    assert seeds(front) == []
    one.up(one.driver.launch(artifact, one.claim("smoke")))
    assert len(seeds(front)) == 1
    kept = one.driver.keep(artifact, "web", one.claim("keep"))
    one.ledger.undo(one.driver)
    assert seeds(front) == []
    assert names(front, before) == {"template /DC0/vm/web"}
    one.driver.delete(kept)


@STEPS
def test_a_crash_at_any_line_leaves_no_seed(front: VCenterStandIn, life: Callable[..., Life], step: int) -> None:
    crash_everywhere(front, life, more_than=10, step=step)


@pytest.mark.parametrize("method", ["ReconfigVM_Task", "PowerOnVM_Task"])
def test_a_refusal_leaves_no_seed(front: VCenterStandIn, life: Callable[..., Life], method: str) -> None:
    front.fault = once(method, Reply(fault=vim_fault("InvalidDatastore")))
    one = life()
    with pytest.raises(DriverError, match="vSphere did not"):
        one.driver.launch(one.source, one.claim("build"))
    one.ledger.undo(VSphereDriver())


def test_an_upload_that_is_refused_is_the_error(life: Callable[..., Life]) -> None:
    one = life()
    center = one.driver.centers.of_source(one.source)
    file = one.folder / "file"
    file.write_bytes(b"data")
    datacenter = inventory.read(center).find("datacenter", "DC0")
    with pytest.raises(DriverError, match="vSphere did not take the file") as error:
        seed_iso.upload(center, file, DatastorePath("none", "x.iso"), datacenter)
    assert "404" in error.value.why
