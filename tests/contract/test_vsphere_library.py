"""`base=LibraryItem(...)` on vcsim's REST API over TLS: an OVF and a template are deployed, built on, and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bakery.drivers.vsphere.api import tags
from bakery.drivers.vsphere.driver import VSphereDriver
from bakery.drivers.vsphere.options import LibraryItem, OvfOptions
from bakery.errors import DriverError
from bakery.util.context import WorkContext
from tests.appliances import ODD, package
from tests.contract.crashes import STEPS
from tests.contract.test_vsphere_life import names
from tests.contract.vcsim import Reply, SoapRequest, VCenterStandIn
from tests.contract.vcsimlibrary import LibraryHand
from tests.contract.vspherelife import Life, borrow, crash_everywhere, lives

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenterStandIn]:
    with VCenterStandIn(tmp_path_factory.mktemp("vcsim") / "front", flags=("-vm", "2")) as front:
        images = LibraryHand(front, "images")
        images.ovf("debian", package())
        images.ovf("odd", package(items=ODD.format(kind=99)))
        images.template("golden", "DC0_C0_RP0_VM1")
        yield front


@pytest.fixture
def front(shared: VCenterStandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[VCenterStandIn]:
    yield from borrow(shared, monkeypatch)


@pytest.fixture
def life(front: VCenterStandIn, tmp_path: Path) -> Callable[..., Life]:
    make = lives(front, tmp_path, network="VM Network", ovf=OvfOptions(networks={"nat": "VM Network"}))
    return lambda item, *ledger, **changes: make(*ledger, **{"base": LibraryItem("images", item), **changes})


@pytest.mark.parametrize("item", ["debian", "golden"])
def test_an_item_is_deployed_built_on_and_kept(front: VCenterStandIn, life: Callable[..., Life], item: str) -> None:
    before = front.exists()
    one = life(item, cpus=2, memory="256M", folder="/DC0/vm")
    assert list(one.driver.check(one.source)) == []
    key = one.driver.prepare(one.source, WorkContext(cache=one.folder))
    kept = one.whole()
    assert names(front, before) == {"template /DC0/vm/web"}
    values = front.center.properties(front.machine("web"), "config.hardware") or {}
    assert (values["config.hardware"].numCPU, values["config.hardware"].memoryMB) == (2, 256)
    assert one.driver.prepare(one.source, WorkContext(cache=one.folder)) == key is not None
    one.driver.delete(kept)


def test_what_vsphere_says_of_an_item_is_the_error(life: Callable[..., Life]) -> None:
    one = life("odd")
    with pytest.raises(DriverError, match="vSphere did not deploy odd") as error:
        one.driver.launch(one.source, one.claim("build"))
    assert "unsupported resource type: 99" in error.value.why
    one.ledger.undo(VSphereDriver())


@pytest.mark.parametrize(
    ("item", "said"),
    [("debain", "there is no item in the content library images 'debain'"), ("none", "there is no item")],
)
def test_an_item_that_is_not_there_is_said_with_what_is(life: Callable[..., Life], item: str, said: str) -> None:
    one = life(item)
    (problem,) = one.driver.check(one.source)
    assert problem.what.startswith(said)
    assert problem.why == "there are: debian, golden, odd"


@STEPS
@pytest.mark.parametrize("item", ["debian", "golden"])
def test_a_crash_at_any_line_leaves_nothing(
    front: VCenterStandIn, life: Callable[..., Life], item: str, step: int
) -> None:
    crash_everywhere(front, lambda ledger: life(item, ledger, folder="deployed"), more_than=8, step=step)


@pytest.mark.parametrize("item", ["debian", "golden"])
@pytest.mark.parametrize("reply", [Reply(lost=True), Reply(dropped=True), Reply(status=503), Reply(status=500)])
def test_an_answer_that_is_lost_leaves_nothing(
    front: VCenterStandIn, life: Callable[..., Life], item: str, reply: Reply
) -> None:
    def fault(call: SoapRequest) -> Reply | None:
        return reply if call.method.endswith("action=deploy") else None

    front.fault = fault
    one = life(item)
    with pytest.raises(DriverError, match=f"vSphere did not deploy {item}"):
        one.driver.launch(one.source, one.claim("build"))
    assert len([call for call in front.calls if call.method.endswith("action=deploy")]) == 1
    front.fault = lambda _: None
    one.ledger.undo(VSphereDriver())


def test_questions_are_asked_again_where_their_answer_is_lost(front: VCenterStandIn, life: Callable[..., Life]) -> None:
    lost: list[str] = []

    def fault(call: SoapRequest) -> Reply | None:
        if "/content/library" not in call.method or call.method in lost:
            return None
        lost.append(call.method)
        return Reply(lost=True)

    front.fault = fault
    one = life("debian")
    assert list(one.driver.check(one.source)) == []
    assert len(lost) == 3


def test_a_rest_session_that_ended_is_opened_again(front: VCenterStandIn, life: Callable[..., Life]) -> None:
    one = life("debian")
    assert list(one.driver.check(one.source)) == []
    center = one.driver.centers.of_source(one.source)
    center.rest("end the session", "DELETE", "/com/vmware/cis/session")
    assert list(one.driver.check(one.source)) == []
    logins = [call for call in front.calls if call.method == "POST /com/vmware/cis/session"]
    assert len(logins) == 2


def test_tags_are_made_and_are_on_the_image_that_is_kept(front: VCenterStandIn, life: Callable[..., Life]) -> None:
    one = life("golden", tags="environment:stage")
    (problem,) = one.driver.check(one.source)
    assert problem.what == "there is no tag 'environment:stage'"
    wanted = ("environment:stage", "team:web")
    one = life("golden", tags=wanted, make_tags=True)
    assert [problem.fatal for problem in one.driver.check(one.source)] == [False, False]
    kept = one.whole()
    center = one.driver.centers.of_source(one.source)
    thing = {"object_id": {"type": "VirtualMachine", "id": kept.id}}
    params = {"~action": "list-attached-tags"}
    attached = center.rest("list the tags", "POST", tags.ASSOCIATION, thing, params=params)
    known = {own: f"{name}:{tag}" for name in ("environment", "team") for tag, own in catalogue(center, name).items()}
    assert sorted(known[own] for own in attached) == sorted(wanted)
    again = life("golden", tags=wanted)
    assert list(again.driver.check(again.source)) == []
    one.driver.delete(kept)


def catalogue(center: Any, category: str) -> dict[str, str]:
    return tags.TagCatalogue(center).tags(category)
