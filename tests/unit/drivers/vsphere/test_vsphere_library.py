"""Items of content libraries are found by their names, answered what they ask, and deployed as the build's machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from bakery.drivers import LibraryItem
from bakery.drivers.vsphere import destroy
from bakery.drivers.vsphere.driver import VSphereDriver
from bakery.drivers.vsphere.options import OvfOptions
from bakery.drivers.vsphere.source import VSphere
from bakery.errors import DriverError, ImagefileError, NotYet
from bakery.state.claim import Claim
from bakery.testing.contract import RecordingLedger
from bakery.util.context import WorkContext
from tests.unit.drivers.vsphere.in_memory import InMemory
from tests.unit.drivers.vsphere.rest_in_memory import RestInMemory, refused

VIM: Any = vim
FIND_LIBRARY, FIND_ITEM = (f"POST /com/vmware/content/library{item}?~action=find" for item in ("", "/item"))
ITEM = "/com/vmware/content/library/item"
OVF = "POST /com/vmware/vcenter/ovf/library-item/id:i-1?~action="
TEMPLATE = "POST /vcenter/vm-template/library-items/i-1?action=deploy"
DESCRIBED = {"id": "i-1", "name": "debian", "type": "ovf", "content_version": "3", "size": 7}


@pytest.fixture
def library(api: InMemory, rest: RestInMemory) -> RestInMemory:
    """A library `images` with an OVF `debian`."""

    def deploy(body: Any) -> Any:
        made = api.machine(body["deployment_spec"]["name"], body["target"]["folder_id"])
        return {"succeeded": True, "resource_id": {"type": "VirtualMachine", "id": made._GetMoId()}}

    rest.answers |= {
        FIND_LIBRARY: lambda body: ["l-1"] if body["spec"]["name"] == "images" else [],
        "GET /com/vmware/content/library": ["l-1"],
        "GET /com/vmware/content/library/id:l-1": {"name": "images"},
        FIND_ITEM: lambda body: ["i-1"] if body["spec"] == {"name": "debian", "library_id": "l-1"} else [],
        f"GET {ITEM}?library_id=l-1": ["i-1"],
        f"GET {ITEM}/id:i-1": DESCRIBED,
        f"{OVF}filter": {"name": "debian", "networks": ["nat"], "EULAs": []},
        f"{OVF}deploy": deploy,
    }
    return rest


def boot(**options: Any) -> VSphere:
    return VSphere(**{"base": LibraryItem("images", "debian"), "cluster": "C0", **options})


def whole(driver: VSphereDriver, claim: Claim, source: VSphere) -> Any:
    handle = driver.launch(source, claim)
    return driver.capture(handle, "web", replace(claim, role="image", name=f"{claim.name}-image"))


def test_an_ovf_is_deployed_and_becomes_the_image(
    api: InMemory, library: RestInMemory, driver: VSphereDriver, claim: Claim
) -> None:
    options = OvfOptions(properties={"role": "web"}, disks="thick", accept_eulas=True)
    source = boot(ovf=options, datastore="DS0", host="H0")
    assert list(driver.check(source)) == []
    assert library.bodies(f"{OVF}deploy") == []
    artifact = whole(driver, claim, source)
    (asked,) = library.bodies(f"{OVF}deploy")
    assert asked["target"] == {"resource_pool_id": "pool-1", "folder_id": "group-v1", "host_id": "h-1"}
    spec = asked["deployment_spec"]
    assert (spec["name"], spec["storage_provisioning"], spec["default_datastore_id"]) == (claim.name, "thick", "ds-1")
    assert spec["network_mappings"] == [{"key": "nat", "value": "net-1"}]
    assert spec["accept_all_EULA"] is True
    (properties,) = spec["additional_parameters"]
    assert properties["@class"] == "com.vmware.vcenter.ovf.property_params"
    assert properties["properties"] == [{"id": "role", "value": "web"}]
    assert f"bakery:run={claim.run}" in spec["annotation"]
    assert (artifact.format, api.called("CloneVM_Task")) == ("template", 0)
    assert driver.prepare(source, WorkContext(cache=Path())) == "i-1 3"
    assert isinstance(claim.ledger, RecordingLedger)
    claim.ledger.undo(VSphereDriver())
    assert claim.name not in api.names()


def test_a_template_is_deployed_without_questions(
    api: InMemory, library: RestInMemory, driver: VSphereDriver, claim: Claim
) -> None:
    library.answers[f"GET {ITEM}/id:i-1"] = {**DESCRIBED, "type": "vm-template"}
    library.answers[TEMPLATE] = lambda body: api.machine(body["spec"]["name"])._GetMoId()
    source = boot(datastore="DS0", host="H0")
    assert list(driver.check(source)) == []
    whole(driver, claim, source)
    (asked,) = library.bodies(TEMPLATE)
    assert asked["spec"] == {
        "name": claim.name,
        "placement": {"resource_pool": "pool-1", "folder": "group-v1", "host": "h-1"},
        "powered_on": False,
        "vm_home_storage": {"datastore": "ds-1"},
        "disk_storage": {"datastore": "ds-1"},
    }
    assert library.bodies(f"{OVF}filter") == []


@pytest.mark.parametrize(
    ("item", "what", "why", "hint"),
    [
        (LibraryItem("image", "debian"), "there is no content library 'image'", "there are: images", "'images'?"),
        (
            LibraryItem("images", "debain"),
            "there is no item in the content library images 'debain'",
            "there are: debian",
            "'debian'?",
        ),
    ],
)
def test_a_name_that_is_not_there_is_said_with_what_is(
    library: RestInMemory, driver: VSphereDriver, item: LibraryItem, what: str, why: str, hint: str
) -> None:
    del library
    (problem,) = driver.check(boot(base=item))
    assert (problem.what, problem.why) == (what, why)
    assert hint in problem.hint


def test_a_user_who_may_see_no_library_is_told_so(library: RestInMemory, driver: VSphereDriver) -> None:
    library.answers |= {FIND_LIBRARY: [], "GET /com/vmware/content/library": []}
    (problem,) = driver.check(boot())
    assert problem.why == "there is none at all that this user may see"


def test_two_libraries_of_a_name_are_told_apart_by_upper_case_or_refused(
    library: RestInMemory, driver: VSphereDriver
) -> None:
    library.answers |= {FIND_LIBRARY: ["l-1", "l-2"], "GET /com/vmware/content/library/id:l-2": {"name": "Images"}}
    assert list(driver.check(boot())) == []
    library.answers["GET /com/vmware/content/library/id:l-2"] = {"name": "images"}
    (problem,) = driver.check(boot())
    assert problem.what == "there are 2 of the name: content library 'images'"


def test_an_item_of_another_kind_is_no_machine(library: RestInMemory, driver: VSphereDriver) -> None:
    library.answers[f"GET {ITEM}/id:i-1"] = {**DESCRIBED, "type": "iso"}
    (problem,) = driver.check(boot())
    assert (problem.what, problem.why) == (
        "the item debian of the content library images is no machine",
        "it is of the type iso; an OVF or a template is one",
    )


@pytest.mark.parametrize(
    ("answer", "options", "said"),
    [
        ({"networks": ["nat"]}, OvfOptions(networks={"lan": "x"}), "asks nothing about 'lan'"),
        ({"EULAs": ["Do as you like."]}, OvfOptions(), "holds licences to agree to"),
        (
            {"additional_params": [{"type": "DeploymentOptionParams", "deployment_options": [{"key": "small"}]}]},
            OvfOptions(deployment="large"),
            "asks nothing about 'large'",
        ),
    ],
)
def test_what_an_item_asks_is_looked_at_in_pre_flight(
    library: RestInMemory, driver: VSphereDriver, answer: Any, options: OvfOptions, said: str
) -> None:
    library.answers[f"{OVF}filter"] = answer
    (problem,) = driver.check(boot(ovf=options))
    assert said in problem.what


def test_a_configuration_that_nobody_can_know_is_left_to_vcenter(
    library: RestInMemory, driver: VSphereDriver, claim: Claim
) -> None:
    library.answers[f"{OVF}filter"] = {"name": "debian"}
    source = boot(ovf=OvfOptions(deployment="large", networks={"nat": "VM Network"}))
    driver.launch(source, claim)
    (asked,) = library.bodies(f"{OVF}deploy")
    assert asked["deployment_spec"]["additional_parameters"] == [
        {
            "@class": "com.vmware.vcenter.ovf.deployment_option_params",
            "type": "DeploymentOptionParams",
            "selected_key": "large",
        }
    ]
    assert asked["deployment_spec"]["network_mappings"] == [{"key": "nat", "value": "net-1"}]


FAILED = {
    "succeeded": False,
    "error": {"errors": [{"category": "SERVER", "error": {"messages": [{"default_message": "no room"}]}}]},
}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (FAILED, "no room"),
        ({"succeeded": False}, "no explanation"),
        (refused("unauthorized", "not yours", status=403), "unauthorized: not yours"),
    ],
)
def test_a_deployment_that_fails_says_why_and_is_asked_for_once(
    library: RestInMemory, driver: VSphereDriver, claim: Claim, answer: Any, said: str
) -> None:
    library.answers[f"{OVF}deploy"] = answer
    with pytest.raises(DriverError, match="vSphere did not deploy debian") as error:
        driver.launch(boot(), claim)
    assert said in error.value.why
    assert len(library.bodies(f"{OVF}deploy")) == 1
    assert isinstance(claim.ledger, RecordingLedger)
    claim.ledger.undo(VSphereDriver())


def test_a_deployment_that_nobody_heard_of_is_waited_for(
    api: InMemory, library: RestInMemory, driver: VSphereDriver, claim: Claim
) -> None:
    """The machine that it makes would be left otherwise."""
    library.answers[f"{OVF}deploy"] = FAILED
    with pytest.raises(DriverError):
        driver.launch(boot(), claim)
    assert isinstance(claim.ledger, RecordingLedger)
    (record,) = claim.ledger.resources.values()
    center = driver.centers.of(record.data)
    task = api.add(
        VIM.Task, "task-x", **{"info.state": "running", "info.descriptionId": "com.vmware.ovfs.LibraryItem.deploy"}
    )
    api.objects["tasks"] = (VIM.TaskManager, {"recentTask": [task]})
    with pytest.raises(NotYet, match="is still being made"):
        destroy._end(center, record, WorkContext(cache=Path()))
    api.change(task, **{"info.descriptionId": "VirtualMachine.powerOn"})
    destroy._end(center, record, WorkContext(cache=Path()))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"datastore_cluster": "pod"}, "datastore_cluster=...) is for clones"),
        ({"clone": "linked"}, "what is imported has none"),
    ],
)
def test_what_is_for_clones_alone_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ImagefileError) as error:
        boot(**options)
    assert said in str(error.value)


@pytest.mark.parametrize("names", [("", "debian"), ("images", "")])
def test_an_item_has_two_names(names: tuple[str, str]) -> None:
    with pytest.raises(ImagefileError):
        LibraryItem(*names)
