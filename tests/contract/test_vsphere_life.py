"""Lives of machines and images on vcsim over TLS: whole, crashed at every line, and with refusals in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bakery.drivers.vsphere.driver import VSphereDriver
from bakery.drivers.vsphere.hardware_options import Hardware
from bakery.drivers.vsphere.options import ExtraDisk, Keep, LinuxPrep, VSphereMachine
from bakery.errors import DriverError, Interrupted
from bakery.model import Where
from bakery.testing.contract import Stop
from tests.contract.crashes import STEPS
from tests.contract.vcsim import Reply, SoapRequest, VCenterStandIn
from tests.contract.vcsim_tasks import ENDLESS
from tests.contract.vspherelife import Life, OneLedger, borrow, crash_everywhere, lives

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenterStandIn]:
    with VCenterStandIn(tmp_path_factory.mktemp("vcsim") / "front", flags=("-pod", "1")) as front:
        yield front


@pytest.fixture
def front(shared: VCenterStandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[VCenterStandIn]:
    yield from borrow(shared, monkeypatch)


@pytest.fixture
def life(front: VCenterStandIn, tmp_path: Path) -> Callable[..., Life]:
    return lives(front, tmp_path)


def names(front: VCenterStandIn, before: set[str]) -> set[str]:
    """What is new: kinds and names, without ids and files."""
    new = (one for one in front.exists() - before if not one.startswith("file "))
    return {one.rpartition(" ")[0] if one.startswith(("machine", "template")) else one for one in new}


def test_an_image_is_made_kept_and_deleted(front: VCenterStandIn, life: Callable[..., Life]) -> None:
    before = front.exists()
    one = life(folder="built/here", notes="Made for the tests.", attributes={"team": "web"}, cpus=2, memory="512M")
    kept = one.whole()
    assert names(front, before) == {
        "template /DC0/vm/built/here/web",
        "folder /DC0/vm/built",
        "folder /DC0/vm/built/here",
    }
    assert one.driver.intact(kept)
    values = front.center.properties(front.machine("web"), "config.annotation", "config.hardware") or {}
    assert values["config.annotation"] == "Made for the tests."
    assert (values["config.hardware"].numCPU, values["config.hardware"].memoryMB) == (2, 512)
    one.driver.delete(kept)
    assert not one.driver.intact(kept)
    for name in ("here", "built"):
        remove_folder(front, name)


def remove_folder(front: VCenterStandIn, name: str) -> None:
    from bakery.drivers.vsphere.api import inventory

    front.wait(inventory.read(front.center).find("folder", name).ref.Destroy_Task())


def test_no_key_of_ours_is_left_in_the_image(front: VCenterStandIn, life: Callable[..., Life]) -> None:
    one = life()
    kept = one.whole()
    values = front.center.properties(front.machine("web"), "config.extraConfig") or {}
    settings = {option.key: option.value for option in values["config.extraConfig"]}  # vcsim appends; the last counts
    assert {value for key, value in settings.items() if key.startswith("guestinfo.")} == {""}
    one.driver.delete(kept)


def test_a_machine_with_a_snapshot_is_an_image_too(front: VCenterStandIn, life: Callable[..., Life]) -> None:
    before = front.exists()
    one = life(image="snapshot")
    kept = one.whole()
    assert names(front, before) == {"machine /DC0/vm/web", "snapshot bakery of /DC0/vm/web"}
    assert "diskMoveType>createNewChildDiskBacking<" in front.listed("CloneVM_Task")[-1].body
    again = life(base=VSphereMachine("web", snapshot="bakery"), clone="linked")
    handle = again.driver.launch(again.source, again.claim("build"))
    assert handle.id
    again.ledger.undo(again.driver)
    one.driver.delete(kept)


def test_more_hardware(front: VCenterStandIn, life: Callable[..., Life]) -> None:
    one = life(
        disks=(ExtraDisk(size="1G"), ExtraDisk(size="2G", controller="sata", thin=False, eager=True)),
        network=("VM Network", "DC0_DVPG0"),
        nic="vmxnet3",
        firmware="efi",
        secure_boot=True,
        cores_per_socket=2,
        cpus=4,
        cpu_reservation=100,
        memory_reservation="all",
        guest_id="debian10_64Guest",
        extra_config={"disk.EnableUUID": "TRUE"},
        datastore="LocalDS_0",
        host="DC0_C0_H0",
        hardware=Hardware(
            version=14,
            cpu_limit=2000,
            cpu_hot_add=True,
            nested=True,
            video_memory="8M",
            usb="usb3",
            boot_order=("disk", "network"),
            macs="00:50:56:00:12:34",
            upgrade_tools=True,
        ),
    )
    assert [problem for problem in one.driver.check(one.source) if problem.fatal] == []
    one.driver.launch(one.source, one.claim("build"))
    values = front.center.properties(front.machine(one.claim("build").name), "config") or {}
    config = values["config"]
    devices = {type(device).__name__.rpartition(".")[2] for device in config.hardware.device}
    disks = [device.capacityInKB >> 20 for device in config.hardware.device if hasattr(device, "capacityInKB")]
    cards = [device for device in config.hardware.device if type(device).__name__.endswith("VirtualVmxnet3")]
    one.ledger.undo(one.driver)
    assert {"ParaVirtualSCSIController", "VirtualAHCIController"} <= devices
    assert {1, 2} <= set(disks)
    assert len(cards) == 2
    assert (config.firmware, config.bootOptions.efiSecureBootEnabled) == ("efi", True)
    assert (config.cpuAllocation.reservation, config.cpuAllocation.limit) == (100, 2000)
    assert config.memoryReservationLockedToMax
    assert (config.cpuHotAddEnabled, config.nestedHVEnabled) == (True, True)
    assert [getattr(one, "videoRamSizeInKB", None) for one in config.hardware.device].count(8 << 10) == 1
    assert "VirtualUSBXHCIController" in devices
    assert len(config.bootOptions.bootOrder) == 2
    assert "00:50:56:00:12:34" in [card.macAddress for card in cards]
    assert config.tools.toolsUpgradePolicy == "upgradeAtPowerCycle"
    (upgrade,) = front.listed("UpgradeVM_Task")  # vcsim has one version alone
    assert upgrade.value("version") == "vmx-14"
    assert config.guestId == "debian10_64Guest"


@STEPS
def test_a_crash_at_any_line_of_a_life_leaves_nothing_or_the_kept_image(
    front: VCenterStandIn, life: Callable[..., Life], step: int
) -> None:
    """An older image of the name is there: it stays under its name until the new one stands."""
    life().whole()
    before = front.exists()
    points = 1 - step
    while True:
        points += step
        one = life(OneLedger(points), folder="", keep=Keep(newest=0))
        crashed, committed = False, False
        try:
            one.whole()
        except Stop:
            crashed, committed = True, one.ledger.committed
        finally:
            one.ledger.undo(VSphereDriver())
        if not crashed or committed:
            break
        assert front.exists() == before, f"leaked, or the old image suffered, after a crash at point {points}"
    assert points > 12
    for machine in [entity for entity in listed(front) if entity.name.startswith("web")]:
        front.wait(machine.ref.Destroy_Task())


def listed(front: VCenterStandIn) -> list[Any]:
    from bakery.drivers.vsphere.api import inventory

    return inventory.read(front.center, machines=True).of("machine")


@STEPS
def test_a_crash_leaves_no_folder_that_was_made_for_the_build(
    front: VCenterStandIn, life: Callable[..., Life], step: int
) -> None:
    crash_everywhere(front, lambda ledger: life(ledger, folder="a/b"), more_than=12, step=step)


def test_the_folder_stays_while_somebody_else_has_something_in_it(
    front: VCenterStandIn, life: Callable[..., Life]
) -> None:
    one, two = life(folder="shared"), life(folder="shared")
    one.driver.launch(one.source, one.claim("build"))
    two.driver.launch(two.source, two.claim("build"))
    one.ledger.undo(one.driver)
    assert [entity.path for entity in listed(front) if "shared" in entity.path] == [
        f"/DC0/vm/shared/{two.claim('build').name}"
    ]
    two.ledger.undo(two.driver)
    remove_folder(front, "shared")


def test_the_old_image_goes_when_the_new_one_stands_and_as_many_stay_as_were_asked_for(
    front: VCenterStandIn, life: Callable[..., Life]
) -> None:
    for _ in range(3):
        life(keep=Keep(newest=1)).whole()
    assert len([one for one in listed(front) if one.name.startswith("web@")]) == 1
    last = life(keep=Keep(newest=0))
    kept = last.whole()
    assert [one.name for one in listed(front) if one.name.startswith("web")] == ["web"]
    assert any("is gone" in notice for notice in last.notices)
    last.driver.delete(kept)


def test_a_name_that_somebody_else_has_is_not_taken(front: VCenterStandIn, life: Callable[..., Life]) -> None:
    one = life()
    theirs = front.machine("DC0_H0_VM0")
    front.wait(theirs.Rename_Task("web"))
    try:
        assert [problem.what for problem in one.driver.name_conflicts(one.source, "web")] == [
            "the name web is taken in /DC0 by a machine that bakery did not make"
        ]
        kept, said = one.tried()
        assert kept is None
        assert "is taken by something that bakery did not make" in said
        assert one.driver.intact(replace_id(one, theirs))
    finally:
        front.wait(theirs.Rename_Task("DC0_H0_VM0"))


def replace_id(life: Life, machine: Any) -> Any:
    from bakery.model import Artifact, to_json

    center = life.driver.centers.of_source(life.source)
    return Artifact(driver="vsphere", id=machine._GetMoId(), name="web", settings={"account": to_json(center.account)})


def test_everything_is_found_by_its_marks_and_by_nothing_else(front: VCenterStandIn, life: Callable[..., Life]) -> None:
    one = life()
    artifact = one.image()
    handle = one.driver.launch(artifact, one.claim("smoke"))
    found = {resource.id for resource in one.driver.find(Where(run=one.run))}
    assert found == {artifact.id, handle.id}
    assert list(one.driver.find(Where(run="20200101-000000-0000"))) == []
    assert list(one.driver.find(Where(older_than=3600))) == []
    kept = one.driver.keep(artifact, "web", one.claim("keep"))
    for resource in one.driver.find(Where(older_than=0)):
        one.driver.destroy(resource)
    assert one.driver.intact(kept)
    one.driver.delete(kept)


def once(method: str, reply: Reply) -> Callable[[SoapRequest], Reply | None]:
    """Answer the first call of a method so."""
    seen: list[SoapRequest] = []

    def fault(call: SoapRequest) -> Reply | None:
        if call.method != method or seen:
            return None
        seen.append(call)
        return reply

    return fault


def vim_fault(name: str, **values: Any) -> Any:
    from pyVmomi import vim

    if name == "TaskInProgress":  # pyvmomi writes none without
        task: Any = vim.Task
        values = {"task": task("task-0"), **values}
    return getattr(vim.fault, name)(msg=f"{name} of a test", **values)


@pytest.mark.parametrize(
    "method",
    ["CloneVM_Task", "ReconfigVM_Task", "PowerOnVM_Task", "ShutdownGuest", "Rename_Task", "MarkAsTemplate", "SetField"],
)
def test_a_lost_answer_makes_nothing_twice(front: VCenterStandIn, life: Callable[..., Life], method: str) -> None:
    before = front.exists()
    front.fault = once(method, Reply(lost=True))
    one = life()
    kept, said = one.tried()
    if kept is None:
        assert "no answer" in said
        assert names(front, before) == set()
    else:
        assert names(front, before) == {"template /DC0/vm/web"}
        one.driver.delete(kept)


def test_a_session_that_ends_in_the_middle_is_opened_again(front: VCenterStandIn, life: Callable[..., Life]) -> None:
    front.fault = once("PowerOnVM_Task", Reply(expired=True))
    one = life()
    kept, said = one.tried()
    assert said == "ok"
    assert kept is not None
    assert len(front.listed("Login")) == 2
    one.driver.delete(kept)


@pytest.mark.parametrize(
    ("method", "name", "said"),
    [
        ("CloneVM_Task", "NoDiskSpace", "NoDiskSpace"),
        ("CloneVM_Task", "InvalidDatastore", "InvalidDatastore"),
        ("PowerOnVM_Task", "InsufficientResourcesFault", "InsufficientResourcesFault"),
        ("PowerOnVM_Task", "NoPermission", "NoPermission"),
        ("MarkAsTemplate", "InvalidDatastore", "InvalidDatastore"),
    ],
)
def test_a_refusal_says_why_and_leaves_nothing(
    front: VCenterStandIn, life: Callable[..., Life], method: str, name: str, said: str
) -> None:
    front.fault = once(method, Reply(fault=vim_fault(name)))
    kept, why = life().tried()
    assert kept is None
    assert said in why


@pytest.mark.parametrize(
    ("end", "said"),
    [("NoDiskSpace", "NoDiskSpace of a test"), (ENDLESS, "waited 1 s and still: vSphere is to clone tiny (30 %)")],
)
def test_a_task_that_fails_or_never_ends_says_why_and_leaves_nothing(
    front: VCenterStandIn, life: Callable[..., Life], end: str, said: str
) -> None:
    """A task is taken, and its end comes later, where it comes."""
    front.fault = once("CloneVM_Task", Reply(task=end if end == ENDLESS else vim_fault(end)))
    kept, why = life(launch_timeout=1.0).tried()
    assert kept is None
    assert said in why
    assert len(front.listed("CancelTask")) == (1 if end == ENDLESS else 0)


@pytest.mark.parametrize("name", ["TaskInProgress", "ConcurrentAccess", "FileLocked"])
def test_a_refusal_for_now_is_asked_again(front: VCenterStandIn, life: Callable[..., Life], name: str) -> None:
    front.fault = once("ReconfigVM_Task", Reply(fault=vim_fault(name)))
    one = life()
    kept, said = one.tried()
    assert said == "ok"
    assert kept is not None
    one.driver.delete(kept)


def test_a_server_that_starts_anew_is_waited_for(front: VCenterStandIn, life: Callable[..., Life]) -> None:
    front.fault = once("RetrievePropertiesEx", Reply(status=503))
    one = life()
    kept, said = one.tried()
    assert said == "ok"
    assert kept is not None
    one.driver.delete(kept)


def test_a_cancelled_build_stops_at_once(front: VCenterStandIn, life: Callable[..., Life]) -> None:
    one = life()

    def cancel(call: SoapRequest) -> Reply | None:
        if call.method == "CloneVM_Task":
            one.cancel.set("the test says so")
        return None

    front.fault = cancel
    with pytest.raises(Interrupted, match="the test says so"):
        one.driver.launch(one.source, one.claim("build"))
    one.ledger.undo(VSphereDriver())


def test_a_guest_without_tools_gets_its_power_button_pressed(front: VCenterStandIn, life: Callable[..., Life]) -> None:
    one = life()
    handle = one.driver.launch(one.source, one.claim("build"))
    front.configure(front.machine(one.claim("build").name), {"SET.guest.toolsRunningStatus": "guestToolsNotRunning"})
    artifact = one.driver.capture(handle, "web", one.claim("image"))
    assert artifact.format == "template"
    assert len(front.listed("PutUsbScanCodes")) == 1
    assert front.listed("ShutdownGuest") == []
    one.ledger.undo(one.driver)


def test_a_guest_that_does_not_obey_is_not_cut_off(front: VCenterStandIn, life: Callable[..., Life]) -> None:
    one = life(stop_timeout=0.5)
    handle = one.driver.launch(one.source, one.claim("build"))
    front.fault = lambda call: Reply(fault=vim_fault("TaskInProgress")) if call.method == "ShutdownGuest" else None
    with pytest.raises(DriverError, match="powers off: timed out"):
        one.driver.capture(handle, "web", one.claim("image"))
    assert front.listed("PowerOffVM_Task") == []
    front.fault = lambda _: None
    one.ledger.undo(one.driver)


def test_a_machine_that_somebody_powered_off_is_said_to_be_so(front: VCenterStandIn, life: Callable[..., Life]) -> None:
    one = life()
    handle = one.driver.launch(one.source, one.claim("build"))
    front.wait(front.machine(one.claim("build").name).PowerOffVM_Task())
    with pytest.raises(DriverError, match="does not run any more"):
        one.driver.endpoint(handle)
    one.ledger.undo(one.driver)


def test_a_second_process_needs_only_the_password(
    front: VCenterStandIn, life: Callable[..., Life], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = life()
    one.driver.launch(one.source, one.claim("build"))
    monkeypatch.delenv("VSPHERE_PASSWORD")
    resource = next(iter(one.ledger.resources.values()))
    with pytest.raises(DriverError, match="there is no password"):
        VSphereDriver().destroy(resource)
    monkeypatch.setenv("GOVC_PASSWORD", front.environment["VSPHERE_PASSWORD"])
    for name in ("VSPHERE_SERVER", "VSPHERE_USER", "GOVC_TLS_CA_CERTS"):
        monkeypatch.delenv(name)
    VSphereDriver().destroy(replace(resource))
    one.ledger.resources.clear()


def test_the_tests_machine_is_as_the_image_and_has_no_disk_twice(
    front: VCenterStandIn, life: Callable[..., Life]
) -> None:
    base = front.machine("DC0_H0_VM0")
    front.wait(base.CreateSnapshot_Task(name="clean", description="", memory=False, quiesce=False))
    try:
        one = life(base=VSphereMachine("DC0_H0_VM0", snapshot="clean"), clone="linked", disks=(ExtraDisk(size="1G"),))
        handle = one.driver.launch(one.source, one.claim("build"))
        artifact = one.driver.capture(handle, "web", one.claim("image"))
        one.driver.launch(artifact, one.claim("smoke"))
        counts = [disks(front, artifact.id), disks(front, one.ledger.resources["machine", one.claim("smoke").name].id)]
        one.ledger.undo(one.driver)
        assert counts[0] == counts[1]
    finally:
        front.wait(base.RemoveAllSnapshots_Task())


def disks(front: VCenterStandIn, moid: str | None) -> int:
    values = front.center.properties(front.center.machine(str(moid)), "config.hardware") or {}
    return len([device for device in values["config.hardware"].device if hasattr(device, "capacityInKB")])


def test_images_of_one_name_in_two_folders_leave_each_other_alone(
    front: VCenterStandIn, life: Callable[..., Life]
) -> None:
    one, two = life(folder="one"), life(folder="two")
    kept, other = one.whole(), two.whole()
    assert one.driver.intact(kept)
    for image in (kept, other):
        one.driver.delete(image)
    for name in ("one", "two"):
        remove_folder(front, name)


def test_a_guest_is_customized(front: VCenterStandIn, life: Callable[..., Life]) -> None:
    prep = LinuxPrep(hostname="web", domain="test", address="127.0.0.9/8")
    for wanted, hostname in ((prep, "web"), ("vcsim-linux", "")):
        one = life(customization=wanted)
        assert list(one.driver.check(one.source)) == []
        one.driver.launch(one.source, one.claim("build"))
        values = front.center.properties(front.machine(one.claim("build").name), "guest.hostName") or {}
        assert hostname in values.get("guest.hostName", "")
        one.ledger.undo(one.driver)
    assert len(front.listed("CustomizeVM_Task")) == 2
    (problem,) = one.driver.check(life(customization="vcsim-linx").source)
    assert problem.hint == "did you mean 'vcsim-linux'?"
