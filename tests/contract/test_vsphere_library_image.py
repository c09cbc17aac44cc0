"""Images that become items of a content library, on vcsim's REST API over TLS; what is written is a stand-in's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import bakery.publish
from bakery.drivers.vsphere.driver import VSphereDriver
from bakery.drivers.vsphere.options import Keep
from bakery.errors import DriverError
from bakery.model import Artifact, Where
from bakery.testing.contract import Stop
from tests.contract.crashes import STEPS
from tests.contract.test_vsphere_life import names
from tests.contract.vcsim import Reply, VCenterStandIn
from tests.contract.vcsim_items import OVFS, TEMPLATES
from tests.contract.vcsimlibrary import LibraryHand
from tests.contract.vspherelife import Life, OneLedger, borrow, lives

pytestmark = pytest.mark.timeout(300)
WHERE = {"library": "images", "network": "VM Network", "datastore": "LocalDS_0", "settle": 0.0, "poll": 0.1}
KINDS = pytest.mark.parametrize("image", ["library-ovf", "library-template"])


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenterStandIn]:
    with VCenterStandIn(tmp_path_factory.mktemp("vcsim") / "front") as front:
        yield front


@pytest.fixture(scope="module")
def library(shared: VCenterStandIn) -> LibraryHand:
    return LibraryHand(shared, "images")


@pytest.fixture
def front(shared: VCenterStandIn, library: LibraryHand, monkeypatch: pytest.MonkeyPatch) -> Iterator[VCenterStandIn]:
    del library  # it is there before
    yield from borrow(shared, monkeypatch)


@pytest.fixture
def life(front: VCenterStandIn, tmp_path: Path) -> Callable[..., Life]:
    make = lives(front, tmp_path, library="images", network="VM Network")
    return lambda image, *ledger, **changes: make(*ledger, image=image, **changes)


def items(front: VCenterStandIn) -> list[str]:
    """The names of all items."""
    return sorted(one.split(" of ")[0].removeprefix("item ") for one in front.items.listed())


def tidy(front: VCenterStandIn) -> None:
    """Delete all items, as a user does."""
    for entry in front.items.listed():
        front.items.delete(entry.rpartition(" ")[2])


@KINDS
def test_an_image_is_an_item_kept_under_its_name_and_deleted(
    front: VCenterStandIn, life: Callable[..., Life], image: str
) -> None:
    before = front.exists()
    one = life(image, notes="Made for the tests.")
    assert [problem for problem in one.driver.check(one.source) if problem.fatal] == []
    kept = one.whole()
    assert items(front) == ["web"]
    new = {name for name in names(front, before) if not name.startswith("item")}
    assert len(new) == (image == "library-template"), "the template that vCenter keeps for the item"
    entry = front.items.item(kept.id)
    assert entry["description"].startswith("Made for the tests.\nbakery:image=web\nbakery:created=")
    assert (kept.format, entry["type"]) == (image, "ovf" if image == "library-ovf" else "vm-template")
    assert one.driver.intact(kept)
    assert list(one.driver.find(Where(older_than=0))) == [], "nothing of it is temporary"
    one.driver.delete(kept)
    assert not one.driver.intact(kept)
    one.driver.delete(kept)


def test_an_older_ovf_gets_a_new_version_and_keeps_its_id(front: VCenterStandIn, life: Callable[..., Life]) -> None:
    first = life("library-ovf").whole()
    again = life("library-ovf", notes="The second.")
    second = again.whole()
    assert second.id == first.id
    assert front.items.versions[first.id] == 2
    assert items(front) == ["web"]
    assert front.items.item(first.id)["description"].startswith("The second.")
    assert "the item web has a new version" in again.notices
    again.driver.delete(second)


@KINDS
def test_as_many_older_items_stay_as_were_asked_for(
    front: VCenterStandIn, life: Callable[..., Life], image: str
) -> None:
    for _ in range(3):
        life(image, keep=Keep(newest=1)).whole()
    assert [name.partition("@")[0] for name in items(front)] == ["web", "web"]
    last = life(image, keep=Keep(newest=0))
    last.whole()
    if image == "library-template":
        assert items(front) == ["web"]
        assert [said for said in last.notices if "is gone" in said]
    tidy(front)


@STEPS
@KINDS
def test_a_crash_at_any_line_of_a_life_leaves_nothing_or_the_kept_item(
    front: VCenterStandIn, life: Callable[..., Life], image: str, step: int
) -> None:
    """An older item of the name is there: it stays under its name until the new one stands."""
    life(image).whole()
    before = {one for one in front.exists() if not one.startswith("file ")}
    points = 1 - step
    while True:
        points += step
        one = life(image, OneLedger(points), keep=Keep(days=1) if image == "library-ovf" else Keep())
        crashed, committed = False, False
        try:
            one.whole()
        except Stop:
            crashed, committed = True, one.ledger.committed
        finally:
            one.ledger.undo(VSphereDriver())
        if not crashed or committed:
            break
        there = {thing for thing in front.exists() if not thing.startswith("file ")}
        assert there == before, f"leaked, or the old item suffered, after a crash at point {points}"
    assert points > 12
    tidy(front)


@STEPS
def test_a_crash_while_a_new_version_is_made_leaves_one_item(
    front: VCenterStandIn, life: Callable[..., Life], step: int
) -> None:
    first = life("library-ovf").whole()
    machines = {one for one in front.exists() if one.startswith(("machine", "template"))}
    for point in range(1, 100, step):
        one = life("library-ovf", OneLedger(point))
        crashed = False
        try:
            one.whole()
        except Stop:
            crashed = True
        finally:
            one.ledger.undo(VSphereDriver())
        assert items(front) == ["web"], f"after a crash at point {point}"
        assert {thing for thing in front.exists() if thing.startswith(("machine", "template"))} == machines
        if not crashed:
            break
    assert point > 12
    one.driver.delete(first)


@KINDS
def test_a_name_that_somebody_else_has_is_not_taken(
    front: VCenterStandIn, library: LibraryHand, life: Callable[..., Life], image: str
) -> None:
    library.ovf("web", {"web.ovf": b"<Envelope/>"})
    one = life(image)
    (problem,) = one.driver.name_conflicts(one.source, "web")
    assert problem.what == "the name web is taken in the content library by something that bakery did not make"
    kept, said = one.tried()
    assert kept is None
    assert "is taken in the content library" in said
    assert items(front) == ["web"]
    tidy(front)
    assert list(one.driver.name_conflicts(one.source, "web")) == []


def test_a_library_that_is_not_there_is_said_with_what_is(life: Callable[..., Life]) -> None:
    one = life("library-ovf", library="imagse")
    (problem,) = one.driver.check(one.source)
    assert (problem.what, problem.hint) == ("there is no content library 'imagse'", "did you mean 'images'?")
    assert list(one.driver.name_conflicts(one.source, "web")) == []


@pytest.mark.parametrize(("image", "path"), [("library-ovf", OVFS), ("library-template", TEMPLATES)])
def test_a_lost_answer_makes_nothing_twice(
    front: VCenterStandIn, life: Callable[..., Life], image: str, path: str
) -> None:
    lost: list[str] = []

    def fault(call: Any) -> Reply | None:
        if call.method != f"POST {path}" or lost:
            return None
        lost.append(call.method)
        return Reply(lost=True)

    front.fault = fault
    one = life(image)
    kept, said = one.tried()
    assert said == "ok"
    assert kept is not None
    assert len([call for call in front.calls if call.method == f"POST {path}"]) == 1
    one.driver.delete(kept)


@KINDS
def test_a_refusal_says_why_and_leaves_nothing(life: Callable[..., Life], front: VCenterStandIn, image: str) -> None:
    front.fault = lambda call: Reply(status=403) if call.method in {f"POST {OVFS}", f"POST {TEMPLATES}"} else None
    one = life(image)
    with pytest.raises(DriverError, match="content library") as error:
        one.image()
    assert "403" in error.value.why
    front.fault = lambda _: None
    one.ledger.undo(VSphereDriver())


@KINDS
def test_what_must_not_stay_is_found_by_its_marks(front: VCenterStandIn, life: Callable[..., Life], image: str) -> None:
    one = life(image)
    artifact = one.image()
    found = {resource.id for resource in one.driver.find(Where(run=one.run))}
    assert artifact.id in found
    assert list(one.driver.find(Where(run="20200101-000000-0000"))) == []
    for resource in one.driver.find(Where(older_than=0)):
        one.driver.destroy(resource)
    assert items(front) == []
    one.ledger.undo(one.driver)


@KINDS
def test_a_local_image_is_published_as_an_item(
    front: VCenterStandIn, life: Callable[..., Life], tmp_path: Path, image: str
) -> None:
    disk = tmp_path / "web.raw"
    disk.write_bytes(bytes(8 << 20))
    one = life(image)
    publisher = bakery.publish.VSphere(**{**front.options, "base": None, **WHERE, "image": image})
    assert [problem for problem in publisher.check() if problem.fatal] == []
    local = Artifact(driver="qemu", id=str(disk), name="web", format="raw", key="the key")
    artifact = publisher.publish(local, "web", one.claim("image"))
    assert (artifact.format, artifact.key) == (image, "the key")
    one.smoke(artifact)
    kept = one.keep(artifact)
    one.ledger.undo(one.driver)
    assert items(front) == ["web"]
    assert [entity for entity in front.exists() if entity.startswith("machine") and "bakery-" in entity] == []
    one.driver.delete(kept)
