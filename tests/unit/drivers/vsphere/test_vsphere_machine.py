"""Hardware, addresses, shutting down, user data and places, without a server."""

from __future__ import annotations

import base64
import gzip
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from email import message_from_string
from typing import Any

import pytest
import yaml
from pyVmomi import vim

from bakery.drivers.vsphere import destroy
from bakery.drivers.vsphere.api.errors import VSphereError
from bakery.drivers.vsphere.api.inventory import Entity
from bakery.drivers.vsphere.image import keep
from bakery.drivers.vsphere.machine import base_images, endpoint, hardware, launch, place, power, user_data
from bakery.drivers.vsphere.machine.base_images import CloneBase
from bakery.drivers.vsphere.machine.place import Place
from bakery.drivers.vsphere.options import ExtraDisk, VSphereMachine
from bakery.drivers.vsphere.source import VSphere
from bakery.errors import DriverError, ImagefileError, NotYet, PreflightError
from bakery.model import Handle, Resource
from bakery.state.claim import Claim
from bakery.state.ssh_keys import proof_of

VIM: Any = vim
DEVICE: Any = VIM.vm.device


# ---- hardware ---------------------------------------------------------------------------------------------------


def devices() -> list[Any]:
    """A base's: a controller, a disk of 8 GiB, and a card."""
    controller = DEVICE.ParaVirtualSCSIController(key=1000, busNumber=0, sharedBus="noSharing")
    backing = DEVICE.VirtualDisk.FlatVer2BackingInfo(fileName="[ds] base/base.vmdk", diskMode="persistent")
    disk = DEVICE.VirtualDisk(key=2000, controllerKey=1000, unitNumber=0, capacityInKB=8 << 20, backing=backing)
    card = DEVICE.VirtualE1000(key=4000, backing=DEVICE.VirtualEthernetCard.NetworkBackingInfo(deviceName="old"))
    return [controller, disk, card]


def source(**options: Any) -> VSphere:
    return VSphere(base="debian", **options)


def test_nothing_is_changed_that_nobody_asked_for() -> None:
    spec = hardware.config(source(), [], devices())
    assert list(spec.deviceChange) == []
    for name in ("numCPUs", "numCoresPerSocket", "memoryMB", "firmware", "guestId", "bootOptions", "cpuAllocation"):
        assert getattr(spec, name) is None


def test_simple_settings_are_handed_on() -> None:
    spec = hardware.config(
        source(cpus=4, cores_per_socket=2, memory="2G", firmware="efi", secure_boot=True, guest_id="debian12_64Guest"),
        [],
        devices(),
    )
    assert (spec.numCPUs, spec.numCoresPerSocket, spec.memoryMB) == (4, 2, 2048)
    assert (spec.firmware, spec.guestId, spec.bootOptions.efiSecureBootEnabled) == ("efi", "debian12_64Guest", True)
    assert hardware.config(source(memory_reservation="1G"), [], []).memoryAllocation.reservation == 1024
    assert hardware.config(source(memory_reservation="all"), [], []).memoryReservationLockedToMax


def test_the_first_disk_grows_and_never_shrinks() -> None:
    (change,) = hardware.config(source(disk="10G"), [], devices()).deviceChange
    assert (change.operation, change.device.key, change.device.capacityInKB) == ("edit", 2000, 10 << 20)
    assert list(hardware.config(source(disk="8G"), [], devices()).deviceChange) == []
    with pytest.raises(PreflightError, match="less than the base's disk has"):
        hardware.config(source(disk="4G"), [], devices())
    with pytest.raises(PreflightError, match="has no disk"):
        hardware.config(source(disk="4G"), [], [])


def test_more_disks_take_free_places_and_bring_their_controllers() -> None:
    wanted = (ExtraDisk(size="1G"), ExtraDisk(size="2G", controller="nvme", thin=False), ExtraDisk(size="3G"))
    changes = hardware.config(source(disks=wanted), [], devices()).deviceChange
    first, controller, second, third = changes
    assert (first.device.controllerKey, first.device.unitNumber, first.fileOperation) == (1000, 1, "create")
    assert isinstance(controller.device, DEVICE.VirtualNVMEController)
    assert (second.device.controllerKey, second.device.unitNumber) == (controller.device.key, 0)
    assert not second.device.backing.thinProvisioned
    assert (third.device.controllerKey, third.device.unitNumber) == (1000, 2)
    assert len({change.device.key for change in changes}) == 4


def test_a_full_controller_is_left_for_another_one_and_place_seven_is_its_own() -> None:
    changes = hardware.config(source(disks=(ExtraDisk(size="1G"),) * 15), [], devices()).deviceChange
    units = [change.device.unitNumber for change in changes if change.device.controllerKey == 1000]
    assert units == [1, 2, 3, 4, 5, 6, *range(8, 16)]
    added = [change.device for change in changes if isinstance(change.device, DEVICE.ParaVirtualSCSIController)]
    assert [one.busNumber for one in added] == [1]


def test_cards_are_joined_replaced_and_added() -> None:
    network = DEVICE.VirtualEthernetCard.NetworkBackingInfo(deviceName="new")
    (joined,) = hardware.config(source(network="new"), [network], devices()).deviceChange
    assert (joined.operation, joined.device.backing.deviceName) == ("edit", "new")
    removed, replaced = hardware.config(source(nic="vmxnet3"), [], devices()).deviceChange
    assert (removed.operation, removed.device.key) == ("remove", 4000)
    assert isinstance(replaced.device, DEVICE.VirtualVmxnet3)
    assert replaced.device.backing.deviceName == "old"
    _, added = hardware.config(source(network=("a", "b")), [network, network], devices()).deviceChange
    assert added.operation == "add"
    assert added.device.connectable.startConnected


def test_a_tpm_is_added_once() -> None:
    (change,) = hardware.config(source(tpm=True), [], devices()).deviceChange
    assert isinstance(change.device, DEVICE.VirtualTPM)
    assert list(hardware.config(source(tpm=True), [], [*devices(), change.device]).deviceChange) == []


def test_a_card_is_joined_to_each_kind_of_network(center: Any) -> None:
    center.known |= {
        "dvpg-1": {"config.distributedVirtualSwitch": VIM.DistributedVirtualSwitch("dvs-1"), "key": "dvpg-1"},
        "dvs-1": {"uuid": "50 2e"},
        "net-2": {"summary": VIM.OpaqueNetwork.Summary(opaqueNetworkId="seg", opaqueNetworkType="nsx.LogicalSwitch")},
    }
    group = Entity(VIM.dvs.DistributedVirtualPortgroup("dvpg-1"), "pg", "/DC0/network/pg")
    assert hardware.backing(center, group).port.switchUuid == "50 2e"
    opaque = Entity(VIM.OpaqueNetwork("net-2"), "seg", "/DC0/network/seg")
    assert hardware.backing(center, opaque).opaqueNetworkId == "seg"
    plain = Entity(VIM.Network("net-3"), "VM Network", "/DC0/network/VM Network")
    assert hardware.backing(center, plain).deviceName == "VM Network"
    with pytest.raises(PreflightError, match="no card can be joined to the network /DC0/network/x"):
        hardware.backing(center, Entity(VIM.dvs.DistributedVirtualPortgroup("dvpg-9"), "x", "/DC0/network/x"))


# ---- addresses --------------------------------------------------------------------------------------------------


def card(*addresses: str) -> Any:
    return VIM.vm.GuestInfo.NicInfo(ipAddress=list(addresses), connected=True, deviceConfigId=4000)


@pytest.fixture
def handle(claim: Claim) -> Callable[..., Handle]:
    def make(**options: Any) -> Handle:
        return Handle(
            driver="vsphere",
            id="vm-1",
            resource=Resource(driver="vsphere", kind="machine", key=claim.name, id="vm-1"),
            folder=claim.folder,
            settings={"source": source(**options).settings()},
            data={"machine": "vm-1", "host_public": "ssh-ed25519 AAAA"},
        )

    return make


RUNS = {"runtime.powerState": "poweredOn", "runtime.connectionState": "connected"}


@pytest.mark.parametrize(
    ("options", "values", "address"),
    [
        ({}, {"guest.ipAddress": "192.0.2.1"}, "192.0.2.1"),
        ({}, {"guest.ipAddress": "fe80::1", "guest.net": [card("fe80::1", "192.0.2.2")]}, "192.0.2.2"),
        ({}, {"guest.ipAddress": "169.254.1.1", "guest.net": [card("2001:db8::1")]}, "2001:db8::1"),
        (
            {"address_within": "10.0.0.0/8"},
            {"guest.ipAddress": "192.0.2.1", "guest.net": [card("10.1.2.3")]},
            "10.1.2.3",
        ),
        ({"address": "192.0.2.9"}, {"guest.ipAddress": "192.0.2.1"}, "192.0.2.9"),
        (
            {"address": "guestinfo.ip"},
            {"config.extraConfig": [VIM.option.OptionValue(key="guestinfo.ip", value="192.0.2.3")]},
            "192.0.2.3",
        ),
    ],
)
def test_the_address_is_the_one_that_was_meant(
    center: Any, handle: Callable[..., Handle], options: dict[str, Any], values: dict[str, Any], address: str
) -> None:
    center.known["vm-1"] = {**RUNS, **values}
    found = endpoint.AddressFinder().endpoint(center, handle(settle=0.0, user="builder", **options))
    assert (found.host, found.user, found.host_key) == (address, "builder", "ssh-ed25519 AAAA")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "VMware Tools do not run in the guest yet"),
        ({"guest.toolsRunningStatus": "guestToolsRunning"}, "report no address"),
        ({"guest.ipAddress": "169.254.0.1"}, "report no address"),
        ({"runtime.connectionState": "disconnected"}, "lost sight of the machine"),
    ],
)
def test_an_address_is_waited_for(
    center: Any, handle: Callable[..., Handle], values: dict[str, Any], said: str
) -> None:
    center.known["vm-1"] = {**RUNS, **values}
    with pytest.raises(NotYet, match=said):
        endpoint.AddressFinder().endpoint(center, handle())


def test_a_guest_that_writes_its_address_itself_is_waited_for(center: Any, handle: Callable[..., Handle]) -> None:
    center.known["vm-1"] = {**RUNS, "guest.ipAddress": "192.0.2.1"}
    with pytest.raises(NotYet, match=r"has not written guestinfo\.ip"):
        endpoint.AddressFinder().endpoint(center, handle(address="guestinfo.ip"))


def test_an_address_counts_when_it_answers_or_has_stayed(
    center: Any, handle: Callable[..., Handle], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    answers = [False, False, True]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(endpoint, "_answers", lambda _: answers.pop(0))
    reach = endpoint.AddressFinder()
    center.known["vm-1"] = {**RUNS, "guest.ipAddress": "192.0.2.1"}
    with pytest.raises(NotYet, match="may change still"):
        reach.endpoint(center, handle(settle=5.0))
    now[0] += 6
    assert reach.endpoint(center, handle(settle=5.0)).host == "192.0.2.1"
    now[0] += 3
    center.known["vm-1"] = {**RUNS, "guest.ipAddress": "192.0.2.2"}
    with pytest.raises(NotYet, match=r"192\.0\.2\.2"):
        reach.endpoint(center, handle(settle=5.0))
    assert reach.endpoint(center, handle(settle=5.0)).host == "192.0.2.2"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (None, "is gone"),
        ({"runtime.powerState": "poweredOff"}, "does not run any more"),
        ({"runtime.powerState": "suspended"}, "does not run any more"),
    ],
)
def test_a_machine_that_does_not_run_is_said_to_be_so(
    center: Any, handle: Callable[..., Handle], values: dict[str, Any] | None, said: str
) -> None:
    center.known["vm-1"] = values
    with pytest.raises(DriverError, match=said):
        endpoint.AddressFinder().endpoint(center, handle())


def test_a_machine_that_asks_a_question_is_said_to_do_so(center: Any, handle: Callable[..., Handle]) -> None:
    choices = VIM.option.ChoiceOption(
        choiceInfo=[
            VIM.ElementDescription(key="0", label="Cancel", summary=""),
            VIM.ElementDescription(key="1", label="I moved it", summary=""),
        ]
    )
    question = VIM.vm.QuestionInfo(id="1", text="Was it moved or copied?", choice=choices)
    center.known["vm-1"] = {**RUNS, "runtime.question": question}
    with pytest.raises(DriverError, match="waits for an answer") as error:
        endpoint.AddressFinder().endpoint(center, handle())
    assert error.value.why == "Was it moved or copied? (0: Cancel, 1: I moved it)"


# ---- shutting down ----------------------------------------------------------------------------------------------


OFF = {"runtime.powerState": "poweredOff"}
TOOLS = {**RUNS, "guest.toolsRunningStatus": "guestToolsRunning"}


def test_tools_shut_the_guest_down(center: Any, handle: Callable[..., Handle], claim: Claim) -> None:
    center.known["vm-1"] = [TOOLS, TOOLS, OFF]
    center.stub.answers["ShutdownGuest"] = None
    power.Shutdown(center, handle()).wait(source(), claim)
    assert [name for name, _, _ in center.stub.calls] == ["ShutdownGuest"], "once, and then it is waited for"


def test_without_tools_the_power_key_is_pressed(center: Any, handle: Callable[..., Handle], claim: Claim) -> None:
    center.known["vm-1"] = [RUNS, OFF]
    center.stub.answers["PutUsbScanCodes"] = 1
    power.Shutdown(center, handle()).wait(source(), claim)
    ((spec,),) = center.stub.called("PutUsbScanCodes")
    assert [event.usbHidCode for event in spec.keyEvents] == [0x660007]


def test_tools_that_say_they_run_and_do_not_are_no_end(
    center: Any, handle: Callable[..., Handle], claim: Claim
) -> None:
    center.known["vm-1"] = [TOOLS, OFF]
    center.stub.answers |= {"ShutdownGuest": VIM.fault.ToolsUnavailable(msg="not running"), "PutUsbScanCodes": 1}
    power.Shutdown(center, handle()).wait(source(), claim)
    assert [name for name, _, _ in center.stub.calls] == ["ShutdownGuest", "PutUsbScanCodes"]


def test_a_guest_that_cannot_be_asked_is_an_error_and_stays_on(
    center: Any, handle: Callable[..., Handle], claim: Claim
) -> None:
    center.known["vm-1"] = RUNS
    center.stub.answers["PutUsbScanCodes"] = VIM.fault.NoPermission(msg="denied")
    with pytest.raises(DriverError, match="cannot be asked to power off") as error:
        power.Shutdown(center, handle()).wait(source(), claim)
    assert "open-vm-tools" in error.value.hint


@pytest.mark.parametrize(("values", "said"), [(None, "is gone"), ({"runtime.powerState": "suspended"}, "is suspended")])
def test_what_cannot_be_imaged_is_said(
    center: Any, handle: Callable[..., Handle], claim: Claim, values: dict[str, Any] | None, said: str
) -> None:
    center.known["vm-1"] = values
    with pytest.raises(DriverError, match=said):
        power.Shutdown(center, handle()).wait(source(), claim)


# ---- user data --------------------------------------------------------------------------------------------------


def decoded(settings: dict[str, str], name: str) -> str:
    data = base64.b64decode(settings[f"guestinfo.{name}"])
    packed = settings[f"guestinfo.{name}.encoding"] == "gzip+base64"
    text = (gzip.decompress(data) if packed else data).decode()
    if not text.startswith("Content-Type"):
        return text
    parts = [part.get_payload(decode=True) for part in message_from_string(text).walk()]
    return "\n".join(part.decode() for part in parts if isinstance(part, bytes))


def test_the_guest_is_given_our_keys_and_a_new_instance_id(claim: Claim) -> None:
    settings = user_data.settings(source(), claim)
    config = yaml.safe_load(decoded(settings, "userdata"))
    assert config["ssh_keys"]["ed25519_public"] == claim.keys.host_public
    assert config["ssh_authorized_keys"] == [claim.keys.user_public]
    assert yaml.safe_load(decoded(settings, "metadata")) == {"instance-id": claim.name}
    assert set(user_data.none()) == set(settings)


def test_a_machine_that_is_only_tested_is_given_a_proof_and_no_host_key(claim: Claim) -> None:
    config = yaml.safe_load(decoded(user_data.settings(source(), replace(claim, role="smoke")), "userdata"))
    assert "ssh_keys" not in config
    assert proof_of(claim.keys.user_private) in config["bootcmd"][-1][-1]


def test_the_users_own_stand_beside_ours_while_the_image_is_built(claim: Claim) -> None:
    mine = source(user_data="#cloud-config\npackage_update: true\n")
    assert "package_update" in decoded(user_data.settings(mine, claim), "userdata")
    assert "package_update" not in decoded(user_data.settings(mine, replace(claim, role="smoke")), "userdata")


def test_long_ones_are_packed_and_too_long_ones_refused(claim: Claim) -> None:
    long = source(user_data="#!/bin/sh\n" + "# padding\n" * 10_000)
    settings = user_data.settings(long, claim)
    assert settings["guestinfo.userdata.encoding"] == "gzip+base64"
    assert "padding" in decoded(settings, "userdata")
    noise = "".join(f"# {hash((number, 'x')):x}\n" for number in range(120_000))
    with pytest.raises(ImagefileError, match="characters when packed"):
        user_data.settings(source(user_data="#!/bin/sh\n" + noise), claim)


# ---- bases and places -------------------------------------------------------------------------------------------


def tree(name: str, moid: str, *children: Any) -> Any:
    return VIM.vm.SnapshotTree(
        snapshot=VIM.vm.Snapshot(moid), vm=VIM.VirtualMachine("vm-1"), name=name, childSnapshotList=list(children)
    )


def test_a_snapshot_is_found_by_its_name_the_newest_of_several() -> None:
    newest = tree("clean", "snap-3")
    values = {
        "name": "debian",
        "config.instanceUuid": "u-u",
        "snapshot": VIM.vm.SnapshotInfo(rootSnapshotList=[tree("clean", "snap-1", tree("other", "snap-2", newest))]),
    }
    base = CloneBase(ref=VIM.VirtualMachine("vm-1"), values=values)
    found = base_images._at_snapshot(base, VSphereMachine("debian", snapshot="clean"))
    assert found.snapshot._GetMoId() == "snap-3"
    assert found.key == "u-u snap-3"
    with pytest.raises(PreflightError, match="has no snapshot 'claen'") as error:
        base_images._at_snapshot(base, VSphereMachine("debian", snapshot="claen"))
    assert error.value.hint == "did you mean 'clean'?"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"runtime.powerState": "poweredOn"}, "is powered on"),
        ({"runtime.connectionState": "orphaned"}, "cannot be read now"),
    ],
)
def test_a_base_that_may_not_be_cloned_is_said_to_be_so(values: dict[str, Any], said: str) -> None:
    with pytest.raises(PreflightError, match=said):
        base_images._checked(CloneBase(ref=VIM.VirtualMachine("vm-1"), values={"name": "debian", **values}))


def test_only_what_cannot_change_unseen_has_a_key() -> None:
    known = {"config.instanceUuid": "u-u", "config.changeVersion": "7"}
    ref = VIM.VirtualMachine("vm-1")
    assert CloneBase(ref=ref, values={**known, "config.template": True}).key == "u-u 7"
    assert CloneBase(ref=ref, values={**known, "config.template": False}).key is None


def test_a_linked_clone_needs_a_snapshot() -> None:
    base = CloneBase(ref=VIM.VirtualMachine("vm-1"), values={"name": "debian"})
    with pytest.raises(PreflightError, match="needs a snapshot to stand on"):
        launch.linked(source(clone="linked"), base)
    snapped = replace(base, snapshot=VIM.vm.Snapshot("snap-1"))
    assert launch.linked(source(clone="linked"), snapped)
    assert launch.linked(source(image="snapshot"), snapped), "the tests' machine of an image with a snapshot"
    assert not launch.linked(source(), snapped)


def test_a_datastore_of_a_cluster_is_the_servers_choice(center: Any) -> None:
    store = VIM.Datastore("ds-2")
    where = Place(
        datacenter=Entity(VIM.Datacenter("dc-1"), "DC0", "/DC0"),
        pool=VIM.ResourcePool("pool-1"),
        host=None,
        machines=VIM.Folder("group-v1"),
        path=(),
        datastore=None,
        pod=Entity(VIM.StoragePod("pod-1"), "POD0", "/DC0/datastore/POD0"),
        networks=(),
    )
    action = VIM.storageDrs.StoragePlacementAction(type="StoragePlacementV1", destination=store)
    action.relocateSpec = VIM.vm.RelocateSpec()
    result = VIM.storageDrs.StoragePlacementResult(
        recommendations=[
            VIM.cluster.Recommendation(
                key="1", type="V1", rating=1, reason="storagePlacement", reasonText="", action=[action]
            )
        ]
    )
    manager = VIM.StorageResourceManager("srm", center.stub)
    center.session.content = type("Content", (), {"storageResourceManager": manager})()
    center.stub.answers["RecommendDatastores"] = [result, VIM.storageDrs.StoragePlacementResult()]
    base = CloneBase(ref=VIM.VirtualMachine("vm-1"), values={"name": "debian"})
    assert place.datastore(center, where, base, "web", where.machines)._GetMoId() == "ds-2"
    ((spec,), *_) = center.stub.called("RecommendDatastores")
    assert (spec.cloneName, spec.podSelectionSpec.storagePod._GetMoId()) == ("web", "pod-1")
    with pytest.raises(PreflightError, match="no datastore of POD0 has room"):
        place.datastore(center, where, base, "web", where.machines)


@pytest.mark.parametrize(
    ("folder", "path"),
    [
        (None, ()),
        ("built", ("built",)),
        ("a/b/", ("a", "b")),
        ("/DC0/vm/a/b", ("a", "b")),
        ("/DC0/vm", ()),
        ("DC0/vmware", ("DC0", "vmware")),
    ],
)
def test_a_folder_is_named_from_the_datacenters_own_or_by_its_whole_path(folder: str, path: tuple[str, ...]) -> None:
    assert place._folder_path(source(folder=folder), "/DC0") == path


# ---- images and their end ---------------------------------------------------------------------------------------


def test_an_older_image_is_called_by_its_time() -> None:
    assert keep.aside_name("web", "2026-11-28T23:40:00+01:00") == "web@20261128T224000Z"
    assert len(keep.aside_name("w" * 80, "2026-11-28T23:40:00+01:00")) == 80
    assert keep.aside_name("web", "").startswith("web@2")


def chained(*files: str) -> Any:
    backing = None
    for file in reversed(files):
        backing = DEVICE.VirtualDisk.FlatVer2BackingInfo(fileName=file, diskMode="persistent", parent=backing)
    disk = DEVICE.VirtualDisk(key=2000, backing=backing, capacityInKB=1)
    return {"config.hardware": VIM.vm.VirtualHardware(numCPU=1, memoryMB=64, device=[disk])}


def test_linked_clones_are_found_by_the_files_that_their_disks_stand_on(
    center: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = chained("[ds] web/web-000001.vmdk", "[ds] web/web.vmdk")
    others = [
        (center.machine("vm-2"), {"name": "linked", **chained("[ds] two/two.vmdk", "[ds] web/web.vmdk")}),
        (center.machine("vm-3"), {"name": "whole", **chained("[ds] three/three.vmdk")}),
        (center.machine("vm-1"), {"name": "web", **image}),
        (center.machine("vm-4"), {"name": "without"}),
    ]
    center.known["vm-1"] = image
    monkeypatch.setattr(type(center), "all", lambda *_: others)
    assert keep.users(center, center.machine("vm-1")) == ["linked"]


def record(kind: str, key: str, **more: Any) -> Resource:
    return Resource(driver="vsphere", kind=kind, key=key, **more)


def test_machines_go_first_then_names_come_back_then_inner_folders_before_outer_ones() -> None:
    records = [
        record("folder", "a"),
        record("folder", "a/b"),
        record("machine", "m"),
        record("image", "i"),
        record("aside", "vm-1"),
    ]
    assert [[one.key for one in batch] for batch in destroy.destroy_batches(records)] == [
        ["i", "m"],
        ["vm-1"],
        ["a/b"],
        ["a"],
    ]


@pytest.mark.parametrize(
    ("resource", "name", "meant"),
    [
        (record("machine", "bakery-1", id="vm-1"), "bakery-1", ["vm-1"]),
        (record("machine", "bakery-1", id="vm-1"), "bakery-image", []),
        (record("image", "bakery-image", id="vm-1", data={"final": "web"}), "web", ["vm-1"]),
        (record("image", "bakery-image", id="vm-1", data={"final": "web"}), "mine", []),
        (record("machine", "web", id="vm-1"), "web", ["vm-1"]),
    ],
)
def test_a_record_means_the_machine_of_its_id_as_long_as_that_has_its_name(
    center: Any, monkeypatch: pytest.MonkeyPatch, resource: Resource, name: str, meant: list[str]
) -> None:
    center.known["vm-1"] = {"name": name, **RUNS}
    theirs = (center.machine("vm-9"), {"name": "web"})
    monkeypatch.setattr(type(center), "all", lambda *_: [theirs])
    assert [one._GetMoId() for one in destroy._meant(center, resource)] == meant, "and never another one of the name"


def test_a_machine_whose_files_are_lost_is_taken_out_of_the_inventory(
    center: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: Iterator[Any] = iter([{"name": "/vmfs/volumes/x", "runtime.connectionState": "inaccessible"}] * 2)
    center.known["vm-1"] = [*states]
    center.stub.answers["UnregisterVM"] = None
    monkeypatch.setattr(type(center), "all", lambda *_: [])
    destroy.destroy(center, record("machine", "bakery-1", id="vm-1"))
    assert [name for name, _, _ in center.stub.calls] == ["UnregisterVM"]


def test_a_clone_that_is_still_being_made_is_waited_for(center: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    center.known["vm-8"] = {"recentTask": [VIM.Task("task-1", center.stub)]}
    center.known["task-1"] = [
        {"info.state": "running", "info.descriptionId": "VirtualMachine.clone"},
        {"info.state": "success", "info.descriptionId": "VirtualMachine.clone"},
    ]
    asked: list[int] = []

    def nothing(*_: Any) -> list[Any]:
        asked.append(1)
        return []

    monkeypatch.setattr(type(center), "all", nothing)
    destroy.destroy(center, record("machine", "bakery-1", data={"source": "vm-8"}))
    assert len(asked) == 2


def test_a_folder_with_something_in_it_stays_and_keeps_its_name(center: Any) -> None:
    center.known["group-1"] = {"childEntity": [center.machine("vm-1")]}
    folder = record("folder", "group-v/built", id="group-1", data={"name": "built", "parent": "group-v"})
    destroy.destroy(center, folder)
    assert center.stub.calls == []
    center.known["group-1"] = [{"childEntity": []}, {"childEntity": [center.machine("vm-1")]}]
    center.known["task-1"] = {"info.state": "success"}
    center.stub.answers["Rename_Task"] = VIM.Task("task-1", center.stub)
    destroy.destroy(center, folder)
    first, second = (args[0] for args in center.stub.called("Rename_Task"))
    assert first.startswith("bakery-empty-")
    assert second == "built"


def test_a_record_of_a_later_version_is_an_error(center: Any) -> None:
    with pytest.raises(DriverError, match="does not know"):
        destroy.destroy(center, record("moon", "x"))


def test_an_old_image_gets_its_name_back_only_where_that_is_free(center: Any) -> None:
    aside = record("aside", "vm-1", data={"name": "web", "aside": "web@1"})
    center.known |= {
        "vm-1": {"name": "web@1", "parent": VIM.Folder("group-v", center.stub)},
        "group-v": {"childEntity": [center.machine("vm-2")]},
        "vm-2": {"name": "web"},
        "task-1": {"info.state": "success"},
    }
    center.stub.answers["Rename_Task"] = VIM.Task("task-1", center.stub)
    destroy.destroy(center, aside)
    assert center.stub.calls == []
    center.known["vm-2"] = {"name": "another"}
    destroy.destroy(center, aside)
    assert center.stub.called("Rename_Task") == [["web"]]
    center.known["vm-1"] = {"name": "web"}
    destroy.destroy(center, aside)
    assert len(center.stub.called("Rename_Task")) == 1


def test_a_rename_whose_answer_was_lost_is_no_failure(center: Any, claim: Claim) -> None:
    from bakery.drivers.vsphere.machine import machines

    center.known["vm-1"] = {"name": "web"}
    center.stub.answers["Rename_Task"] = VIM.fault.DuplicateName(msg="taken", name="web", object=center.machine("vm-1"))
    machines.rename(center, center.machine("vm-1"), "web", claim)
    center.known["vm-1"] = {"name": "other"}
    with pytest.raises(VSphereError):
        machines.rename(center, center.machine("vm-1"), "web", claim)
