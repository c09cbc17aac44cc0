"""Images that become items of a content library: what vCenter is asked for, what is kept, and what is left."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from pyVmomi import vim

from bakery.drivers.vsphere.api import center as centers
from bakery.drivers.vsphere.api import libraries
from bakery.drivers.vsphere.api.rest import RestSession
from bakery.drivers.vsphere.driver import VSphereDriver
from bakery.drivers.vsphere.options import Keep
from bakery.drivers.vsphere.source import VSphere
from bakery.errors import DriverError, ImagefileError
from bakery.model import Artifact, Resource, Where
from bakery.state.claim import Claim
from bakery.testing.contract import RecordingLedger
from tests.unit.drivers.vsphere.in_memory import InMemory
from tests.unit.drivers.vsphere.library_in_memory import OVFS, TEMPLATES, LibraryInMemory
from tests.unit.drivers.vsphere.rest_in_memory import refused

VIM: Any = vim
OVF, TEMPLATE = "library-ovf", "library-template"
KINDS = pytest.mark.parametrize("image", [OVF, TEMPLATE])


@pytest.fixture
def library(api: InMemory, monkeypatch: pytest.MonkeyPatch) -> LibraryInMemory:
    server = LibraryInMemory(api)
    monkeypatch.setattr(centers, "RestSession", partial(RestSession, transport=server.transport))
    monkeypatch.setattr(api, "machine", partial(placed, api, api.machine))
    return server


def placed(api: InMemory, make: Any, name: str, *words: Any, **values: Any) -> Any:
    """A machine that says where it is."""
    pool, store = VIM.ResourcePool("pool-1", api), VIM.Datastore("ds-1", api)
    return make(name, *words, **{"resourcePool": pool, "datastore": [store], **values})


def boot(image: str, **options: Any) -> VSphere:
    return VSphere(**{"base": "debian", "cluster": "C0", "image": image, "library": "images", **options})


def of_role(claim: Claim, role: str) -> Claim:
    return replace(claim, role=role, name=f"{claim.name}-{role}")


def captured(driver: VSphereDriver, claim: Claim, image: str, **options: Any) -> Artifact:
    handle = driver.launch(boot(image, **options), claim)
    return driver.capture(handle, "web", of_role(claim, "image"))


def whole(driver: VSphereDriver, claim: Claim, image: str, **options: Any) -> Artifact:
    artifact = captured(driver, claim, image, **options)
    assert artifact.settings["datastore"] == "DS0"
    smoke = driver.launch(artifact, of_role(claim, "smoke"))
    kept = driver.keep(artifact, "web", of_role(claim, "keep"))
    driver.destroy(smoke.resource)
    return kept


def left(claim: Claim, driver: VSphereDriver) -> list[Resource]:
    """Undo what a claim's ledger holds, and return what there was."""
    assert isinstance(claim.ledger, RecordingLedger)
    found = list(claim.ledger.resources.values())
    claim.ledger.undo(driver)
    return found


@KINDS
def test_an_item_is_made_kept_and_deleted(
    api: InMemory, library: LibraryInMemory, driver: VSphereDriver, claim: Claim, image: str
) -> None:
    kept = whole(driver, claim, image, notes="Text.")
    assert library.names() == {"web"}
    entry = library.items[kept.id]
    assert entry["description"].splitlines()[:2] == ["Text.", "bakery:image=web"]
    assert "bakery:expires" not in entry["description"]
    assert (kept.format, kept.size, kept.settings["item"]) == (image, 7, "web")
    assert driver.image_format(boot(image)) == image
    assert driver.intact(kept)
    library.items[kept.id]["content_version"] = "9"
    assert not driver.intact(kept), "somebody changed it"
    driver.delete(kept)
    driver.delete(kept)
    assert not driver.intact(kept)
    del api


def test_an_ovf_is_asked_for_with_its_settings_only_where_there_are_some(
    library: LibraryInMemory, driver: VSphereDriver, claim: Claim
) -> None:
    captured(driver, claim, OVF, extra_config={"disk.EnableUUID": "TRUE"})
    (asked,) = library.bodies(f"POST {OVFS}")
    assert asked["target"] == {"library_id": "l-1"}
    assert asked["create_spec"]["flags"] == ["EXTRA_CONFIG"]
    assert asked["source"]["type"] == "VirtualMachine"
    assert f"bakery:run={claim.run}" in asked["create_spec"]["description"]


def test_a_template_is_asked_for_where_its_machine_is(
    library: LibraryInMemory, driver: VSphereDriver, claim: Claim
) -> None:
    captured(driver, claim, TEMPLATE)
    (asked,) = library.bodies(f"POST {TEMPLATES}")
    assert asked["spec"]["placement"] == {"folder": "group-v1", "resource_pool": "pool-1"}
    assert asked["spec"]["disk_storage"] == {"datastore": "ds-1"}


def test_what_is_tested_lies_where_the_machine_that_was_built_did(
    api: InMemory, library: LibraryInMemory, driver: VSphereDriver, claim: Claim
) -> None:
    api.add(VIM.Datastore, "ds-2", name="DS1", parent=VIM.Folder("group-s1", api))
    whole(driver, claim, OVF)
    (deployed,) = [body for name, body in library.calls if name.endswith("action=deploy")]
    assert deployed["deployment_spec"]["default_datastore_id"] == "ds-1"


def test_an_older_ovf_gets_a_new_version_under_its_id(
    api: InMemory, library: LibraryInMemory, driver: VSphereDriver, claim: Claim
) -> None:
    first = whole(driver, claim, OVF)
    machines = api.names()
    second = whole(driver, replace(claim, name=f"{claim.name}x"), OVF)
    assert (second.id, second.data["version"], library.names()) == (first.id, "2", {"web"})
    assert api.names() == machines, "the machine that it was written from is gone"
    assert not driver.intact(first)
    assert driver.intact(second)


@KINDS
def test_older_items_step_aside_and_go(
    library: LibraryInMemory, driver: VSphereDriver, claim: Claim, image: str
) -> None:
    whole(driver, claim, image)
    whole(driver, replace(claim, name=f"{claim.name}x"), image, keep=Keep(newest=1))
    whole(driver, replace(claim, name=f"{claim.name}y"), image, keep=Keep(newest=1))
    assert sorted(name.partition("@")[0] for name in library.names()) == ["web", "web"]
    whole(driver, replace(claim, name=f"{claim.name}z"), image, keep=Keep(newest=None))
    assert len(library.names()) == 3


@KINDS
def test_a_name_of_somebody_elses_is_a_problem_and_no_prey(
    library: LibraryInMemory, driver: VSphereDriver, claim: Claim, image: str
) -> None:
    theirs = library.add("web")
    library.add("WEB")
    (problem,) = driver.name_conflicts(boot(image), "web")
    assert problem.why == f"item {theirs}"
    artifact = captured(driver, claim, image)
    with pytest.raises(DriverError, match="is taken in the content library"):
        driver.keep(artifact, "web", of_role(claim, "keep"))
    left(claim, driver)
    assert library.names() == {"web", "WEB"}


@KINDS
def test_what_was_not_kept_is_found_and_destroyed(
    library: LibraryInMemory, driver: VSphereDriver, claim: Claim, image: str
) -> None:
    artifact = captured(driver, claim, image)
    found = list(driver.find(Where(run=claim.run)))
    assert (found[0].kind, found[0].id) == ("library item", artifact.id)
    assert list(driver.find(Where(older_than=60))) == []
    driver.destroy(found[0])
    assert library.names() == set()
    driver.destroy(found[0])
    left(claim, driver)


def test_items_go_before_machines_and_old_names_come_back_after_both(driver: VSphereDriver) -> None:
    kinds = ["machine", "folder", "library aside", "library item", "image", "seed", "aside"]
    records = [Resource(driver="vsphere", kind=kind, key=kind) for kind in kinds]
    batches = [[one.kind for one in batch] for batch in driver.destroy_batches(records)]
    assert batches == [["library item"], ["image", "machine"], ["seed"], ["aside", "library aside"], ["folder"]]


def test_an_item_that_somebody_renamed_is_theirs(library: LibraryInMemory, driver: VSphereDriver, claim: Claim) -> None:
    artifact = captured(driver, claim, OVF)
    library.items[artifact.id]["name"] = "mine"
    left(claim, driver)
    assert library.names() == {"mine"}


def test_an_old_item_gets_its_name_back_where_nobody_has_it(
    library: LibraryInMemory, driver: VSphereDriver, claim: Claim
) -> None:
    old = library.add("web@20261128T224000Z")
    center = driver.centers.of_source(boot(OVF))
    data = {"name": "web", "aside": "web@20261128T224000Z", "library": "l-1", **center.record}
    record = Resource(driver="vsphere", kind="library aside", key=old, data=data)
    taken = library.add("web")
    driver.destroy(record)
    assert library.items[old]["name"] == "web@20261128T224000Z"
    library.items.pop(taken)
    driver.destroy(record)
    driver.destroy(record)
    assert library.items[old]["name"] == "web"
    library.items.pop(old)
    driver.destroy(record)
    assert claim.name not in library.names()


def test_two_items_of_one_second_step_aside_under_two_names(
    library: LibraryInMemory, driver: VSphereDriver, claim: Claim
) -> None:
    made = "bakery:image=web\nbakery:created=2026-11-28T22:40:00+00:00"
    library.add("web", description=made)
    library.add("web@20261128T224000Z", description=made)
    whole(driver, claim, TEMPLATE, keep=Keep(newest=None))
    assert len([name for name in library.names() if name.startswith("web@20261128T224000Z")]) == 2


def test_a_template_that_cannot_be_marked_is_not_kept(
    api: InMemory, library: LibraryInMemory, driver: VSphereDriver, claim: Claim
) -> None:
    artifact = captured(driver, claim, TEMPLATE)
    api.faults["SetField"] = VIM.fault.NoPermission(msg="no", privilegeId="Global.SetCustomField")
    with pytest.raises(DriverError, match="cannot be marked as an image") as error:
        driver.keep(artifact, "web", of_role(claim, "keep"))
    assert "library-ovf" in error.value.hint
    del library


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"succeeded": False, "error": {"errors": [{"message": {"default_message": "no room"}}]}}, "no room"),
        ({}, "no explanation"),
        (refused("unauthorized", "not you", status=403), "unauthorized: not you"),
    ],
)
def test_what_vsphere_says_is_the_error(
    library: LibraryInMemory, driver: VSphereDriver, claim: Claim, answer: Any, why: str
) -> None:
    library.answers[f"POST {OVFS}"] = answer
    with pytest.raises(DriverError, match="did not write the machine into the content library") as error:
        captured(driver, claim, OVF)
    assert error.value.why == why
    left(claim, driver)
    assert library.names() == set()


def test_pre_flight_looks_at_the_library_and_the_privileges(
    api: InMemory, library: LibraryInMemory, driver: VSphereDriver
) -> None:
    assert list(driver.check(boot(OVF))) == []
    (problem,) = driver.check(boot(OVF, library="imagse"))
    assert (problem.what, problem.hint) == ("there is no content library 'imagse'", "did you mean 'images'?")
    assert list(driver.name_conflicts(boot(OVF, library="imagse"), "web")) == []
    library.kind = "SUBSCRIBED"
    (problem,) = driver.check(boot(OVF))
    assert problem.what == "the content library images is subscribed to another one"
    library.kind = "LOCAL"
    api.denied = frozenset({"ContentLibrary.AddLibraryItem"})
    (problem,) = driver.check(boot(OVF))
    assert problem.why == "ContentLibrary.AddLibraryItem"


@pytest.mark.parametrize(("image", "library"), [("template", "images"), (OVF, None)])
def test_a_library_goes_with_an_item_and_with_nothing_else(image: str, library: str | None) -> None:
    with pytest.raises(ImagefileError, match="names the content library of"):
        VSphere(base="debian", image=image, library=library)  # type: ignore[arg-type]  # as a user may write it


def test_another_refusal_than_that_it_is_gone_is_an_error(
    library: LibraryInMemory, driver: VSphereDriver, claim: Claim
) -> None:
    center = driver.centers.of_source(boot(OVF))
    path = "/com/vmware/content/library/item/id:i-9"
    for method in ("GET", "DELETE"):
        library.answers[f"{method} {path}"] = refused("unauthorized", status=403)
    for ask in (libraries.entry, libraries.delete):
        with pytest.raises(DriverError, match="unauthorized"):
            ask(center, "i-9")
    del claim
