"""Accounts, faults, sessions, tasks, the inventory and marks, without a server."""

from __future__ import annotations

import http.client
import socket
import ssl
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

import pytest
from pyVmomi import vim, vmodl

from bakery.drivers.vsphere.api import account, marks, tasks
from bakery.drivers.vsphere.api import center as center_module
from bakery.drivers.vsphere.api.account import VSphereAccount
from bakery.drivers.vsphere.api.errors import VSphereError, VSphereRetryableError, fault_of, refusal, translate_errors
from bakery.drivers.vsphere.api.inventory import Entity, Inventory
from bakery.errors import Interrupted, PreflightError
from bakery.redaction.secret import Secret
from bakery.state.claim import Claim

VIM: Any = vim
VMODL: Any = vmodl


# ---- accounts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "server", "username", "insecure"),
    [
        ({"VSPHERE_SERVER": "vc", "VSPHERE_USER": "u"}, "vc", "u", False),
        ({"GOVC_URL": "https://u%40d:p@vc:8443/sdk"}, "vc:8443", "u@d", False),
        ({"GOVC_URL": "vc", "GOVC_USERNAME": "u", "GOVC_INSECURE": "true"}, "vc", "u", True),
        ({"VSPHERE_SERVER": "a", "VSPHERE_USER": "b", "GOVC_URL": "c:d@e"}, "a", "b", False),
        ({"VSPHERE_SERVER": "a", "VSPHERE_USER": "b", "VSPHERE_ALLOW_UNVERIFIED_SSL": "1"}, "a", "b", True),
    ],
)
def test_the_environment_says_where_and_as_whom(
    environ: dict[str, str], server: str, username: str, insecure: bool
) -> None:
    known = VSphereAccount().resolved(environ)
    assert (known.server, known.username, known.insecure) == (server, username, insecure)


def test_what_an_imagefile_says_comes_first() -> None:
    environ = {"VSPHERE_SERVER": "a", "VSPHERE_USER": "b", "GOVC_TLS_CA_CERTS": "c.pem"}
    known = VSphereAccount(server="mine:444", username="me").resolved(environ)
    assert known == VSphereAccount(server="mine:444", username="me", ca="c.pem")
    assert known.address == ("mine", 444)
    assert VSphereAccount(server="[::1]:8989").address == ("::1", 8989)
    assert VSphereAccount(server="vc").address == ("vc", 443)


@pytest.mark.parametrize(("environ", "said"), [({}, "no vSphere is named"), ({"VSPHERE_SERVER": "a"}, "as whom")])
def test_nobody_and_nowhere_are_errors_that_name_the_variables(environ: dict[str, str], said: str) -> None:
    with pytest.raises(VSphereError, match=said) as error:
        VSphereAccount().resolved(environ)
    assert "VSPHERE_" in error.value.hint


def test_a_password_is_given_or_in_the_environment() -> None:
    assert account.password(Secret("given"), "vc", {"VSPHERE_PASSWORD": "other"}).reveal() == "given"
    assert account.password(None, "vc", {"GOVC_PASSWORD": "govc's"}).reveal() == "govc's"
    assert account.password(None, "vc", {"GOVC_URL": "u:p%40ss@vc"}).reveal() == "p@ss"
    with pytest.raises(VSphereError, match="there is no password for vc"):
        account.password(None, "vc", {})


def test_a_certificate_is_verified_unless_that_is_refused(tmp_path: Path) -> None:
    assert VSphereAccount().trust().verify_mode == ssl.CERT_REQUIRED
    assert VSphereAccount(insecure=True).trust().verify_mode == ssl.CERT_NONE
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(VSphereError, match="cannot be read"):
        VSphereAccount(ca=str(tmp_path / "ca.pem")).trust()
    with pytest.raises(VSphereError, match="cannot be read"):
        VSphereAccount(ca=str(tmp_path / "none.pem")).trust()


def test_an_account_is_read_from_the_words_of_a_command_line() -> None:
    data = {"server": "vc", "username": "u", "insecure": "true", "more": 1}
    assert VSphereAccount.from_json(data) == VSphereAccount(server="vc", username="u", insecure=True)
    assert not VSphereAccount.from_json({"insecure": "false"}).insecure


VERSIONS = (
    b"<namespaces><namespace><name>urn:vim25</name><version>8.0.3.0</version><priorVersions><version>6.5</version>"
    b"</priorVersions></namespace><namespace><name>urn:sms</name><version>9</version></namespace></namespaces>"
)


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        (
            VERSIONS,
            {"8.0.3.0", "6.5"},
        ),
        (b"<html>", set()),
        (b"<html></html>", set()),
    ],
)
def test_a_server_says_which_versions_it_has(text: bytes, offered: set[str]) -> None:
    assert center_module._offered(text) == offered


# ---- faults -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "retryable", "said"),
    [
        (VIM.fault.InvalidLogin(msg="Cannot complete login"), False, "InvalidLogin: Cannot complete login"),
        (
            VIM.fault.NoPermission(msg="Denied", privilegeId="VirtualMachine.Provisioning.Clone"),
            False,
            "Provisioning.Cl",
        ),
        (VIM.fault.TaskInProgress(msg="busy"), True, "busy"),
        (VMODL.fault.HostNotReachable(msg=""), True, "HostNotReachable"),
        (VMODL.fault.InvalidArgument(msg="wrong", invalidProperty="spec.location.pool"), False, "spec.location.pool"),
        (VIM.fault.NoDiskSpace(msg="full", datastore="ds"), False, "full"),
        (VMODL.MethodFault(), False, "no explanation"),
    ],
)
def test_a_fault_says_what_it_is_and_whether_asking_again_may_help(fault: Any, retryable: bool, said: str) -> None:
    error = refusal("clone it", fault)
    assert isinstance(error, VSphereRetryableError) is retryable
    assert error.what == "vSphere did not clone it"
    assert said in error.why
    assert fault_of(error) == type(fault).__name__.rpartition(".")[2]


def test_a_fault_says_what_lies_beneath_it() -> None:
    fault = VIM.fault.InvalidVmConfig(msg="Invalid configuration")
    fault.faultMessage = [VMODL.LocalizableMessage(key="k", message="Device 3 is missing.\nTwice.")]
    assert refusal("x", fault).why == "InvalidVmConfig: Invalid configuration; Device 3 is missing. Twice."


@pytest.mark.parametrize(
    ("raised", "kind", "said"),
    [
        (ssl.SSLCertVerificationError("self-signed certificate"), VSphereError, "cannot be trusted"),
        (ssl.SSLError("wrong version"), VSphereRetryableError, "TLS"),
        (socket.gaierror(-2, "Name or service not known"), VSphereRetryableError, "the name is not known"),
        (TimeoutError(), VSphereRetryableError, "it took too long"),
        (ConnectionRefusedError(111, "refused"), VSphereRetryableError, "ConnectionRefusedError"),
        (http.client.HTTPException("503 Service Unavailable"), VSphereRetryableError, "503"),
        (http.client.RemoteDisconnected(""), VSphereRetryableError, "RemoteDisconnected"),
        (ExpatError("syntax error"), VSphereRetryableError, "no XML"),
    ],
)
def test_a_failed_connection_says_why(raised: Exception, kind: type[VSphereError], said: str) -> None:
    with pytest.raises(VSphereError) as error, translate_errors("look"):
        raise raised
    assert type(error.value) is kind
    assert said in str(error.value)


def test_our_own_mistakes_stay_mistakes() -> None:
    with pytest.raises(TypeError), translate_errors("look"):
        raise TypeError


def test_a_session_that_has_ended_is_opened_once_more(center: Any) -> None:
    ended = VIM.fault.NotAuthenticated(msg="The session is not authenticated.")
    center.stub.answers["UnregisterVM"] = [ended, None]
    machine = center.machine("vm-1")
    center.call("take it out", machine.UnregisterVM)
    assert center.session.logins == 2
    center.stub.answers["UnregisterVM"] = ended
    with pytest.raises(VSphereError, match="did not take it out"):
        center.call("take it out", machine.UnregisterVM)
    assert len(center.stub.called("UnregisterVM")) == 4


def test_a_refusal_for_now_is_asked_again_only_where_nothing_happens_twice(center: Any) -> None:
    center.stub.answers["UnregisterVM"] = [VIM.fault.TaskInProgress(msg="busy"), None]
    center.call("take it out", center.machine("vm-1").UnregisterVM)
    center.stub.answers["UnregisterVM"] = VIM.fault.TaskInProgress(msg="busy")
    with pytest.raises(VSphereRetryableError):
        center.call("take it out", center.machine("vm-1").UnregisterVM, repeat=False)
    assert len(center.stub.called("UnregisterVM")) == 3


def test_what_is_gone_is_none_and_no_error(center: Any) -> None:
    center.stub.answers["UnregisterVM"] = VMODL.fault.ManagedObjectNotFound(msg="gone", obj=center.machine("vm-1"))
    assert center.find("take it out", center.machine("vm-1").UnregisterVM) is None


# ---- tasks ------------------------------------------------------------------------------------------------------


def task_of(center: Any, *states: dict[str, Any]) -> Any:
    center.known["task-1"] = list(states)
    return VIM.Task("task-1", center.stub)


def test_a_task_is_waited_for_and_its_progress_is_said(center: Any, claim: Claim) -> None:
    said: list[str] = []
    watched = type(claim)(**{**vars(claim), "emit": lambda event: said.append(event.what)})
    task = task_of(
        center,
        {"info.state": "queued"},
        {"info.state": "running", "info.progress": 45},
        {"info.state": "success", "info.result": 7},
    )
    assert tasks.run(center, "clone it", lambda: task, watched, timeout=60) == 7
    assert said == ["vSphere is to clone it", "vSphere is to clone it (45 %)"]


def test_a_task_that_failed_says_why(center: Any, claim: Claim) -> None:
    fault = VIM.fault.NoDiskSpace(msg="There is not enough space", datastore="ds")
    task = task_of(center, {"info.state": "error", "info.error": fault})
    with pytest.raises(VSphereError, match="did not clone it") as error:
        tasks.run(center, "clone it", lambda: task, claim, timeout=60)
    assert "There is not enough space" in error.value.why
    assert "keep=Keep" in error.value.hint


def test_a_task_that_never_ends_is_cancelled(center: Any, claim: Claim) -> None:
    center.stub.answers["CancelTask"] = None
    task = task_of(center, {"info.state": "running"})
    with pytest.raises(VSphereError, match="timed out"):
        tasks.run(center, "clone it", lambda: task, claim, timeout=0)
    claim.cancel.set("enough")
    with pytest.raises(Interrupted, match="enough"):
        tasks.run(center, "clone it", lambda: task, claim, timeout=60)
    assert len(center.stub.called("CancelTask")) == 2


def test_a_task_that_was_forgotten_is_an_error(center: Any, claim: Claim) -> None:
    task = VIM.Task("task-9", center.stub)
    with pytest.raises(VSphereError, match="did not clone it"):
        tasks.run(center, "clone it", lambda: task, claim, timeout=60)


def test_what_was_made_by_a_call_whose_answer_was_lost_is_taken(center: Any, claim: Claim) -> None:
    machine = center.machine("vm-7")

    def start() -> Any:
        raise ConnectionResetError

    found: list[list[Any]] = [[], [machine]]
    assert tasks.run_once(center, "clone it", start, lambda: found.pop(0), claim, timeout=60) is machine


def test_a_name_that_our_lost_call_has_taken_is_no_error(center: Any, claim: Claim) -> None:
    machine = center.machine("vm-7")

    def start() -> Any:
        raise VIM.fault.DuplicateName(msg="taken", name="x", object=machine)

    assert tasks.run_once(center, "clone it", start, lambda: [machine], claim, timeout=60) is machine
    with pytest.raises(VSphereError, match="did not clone it"):
        tasks.run_once(center, "clone it", start, list, claim, timeout=60)


# ---- the inventory ----------------------------------------------------------------------------------------------


@pytest.fixture
def inventory() -> Inventory:
    machines = ["/DC0/vm/web", "/DC0/vm/bases/debian-12", "/DC1/vm/web", "/DC0/vm/bases/debian-11"]
    entities = [
        Entity(VIM.VirtualMachine(f"vm-{number}"), path.rpartition("/")[2], path)
        for number, path in enumerate(machines)
    ]
    entities += [Entity(VIM.Datacenter(f"dc-{name}"), name, f"/{name}") for name in ("DC0", "DC1")]
    entities.append(Entity(VIM.ClusterComputeResource("c-1"), "C0", "/DC0/host/C0"))
    entities.append(Entity(VIM.StoragePod("pod-1"), "POD0", "/DC0/datastore/POD0"))
    entities.append(Entity(VIM.Folder("group-1"), "vm", "/DC0/vm"))
    return Inventory(entities)


@pytest.mark.parametrize(
    ("kind", "wanted", "below", "path"),
    [
        ("machine", "debian-12", "", "/DC0/vm/bases/debian-12"),
        ("machine", "bases/debian-12", "", "/DC0/vm/bases/debian-12"),
        ("machine", "/DC1/vm/web", "", "/DC1/vm/web"),
        ("machine", "web", "/DC0", "/DC0/vm/web"),
        ("cluster", "C0", "", "/DC0/host/C0"),
        ("datastore cluster", "POD0", "", "/DC0/datastore/POD0"),
        ("folder", "/DC0/vm/", "", "/DC0/vm"),
    ],
)
def test_things_are_found_by_name_and_by_path(
    inventory: Inventory, kind: str, wanted: str, below: str, path: str
) -> None:
    assert inventory.find(kind, wanted, below).path == path


def test_a_name_that_is_not_there_is_said_with_those_that_are(inventory: Inventory) -> None:
    with pytest.raises(PreflightError) as error:
        inventory.find("machine", "debain-12", "/DC0", shown="base=")
    assert error.value.what == "there is no machine 'debain-12' in /DC0"
    assert "/DC0/vm/bases/debian-12" in error.value.why
    assert error.value.hint == "did you mean 'debian-12'?"
    with pytest.raises(PreflightError, match="there is no datastore") as error:
        inventory.find("datastore", "x")
    assert "at all" in error.value.why


def test_a_name_that_is_there_twice_is_said_with_both_paths(inventory: Inventory) -> None:
    with pytest.raises(PreflightError, match="there are 2 machines 'web'") as error:
        inventory.find("machine", "web")
    assert error.value.why == "/DC0/vm/web, /DC1/vm/web"


def test_the_only_one_there_is_need_not_be_named(inventory: Inventory) -> None:
    assert inventory.only("cluster", "cluster=").name == "C0"
    with pytest.raises(PreflightError, match="there are 2 datacenters, and none is named") as error:
        inventory.only("datacenter", "datacenter=")
    assert error.value.hint == "VSphere(datacenter='DC0')"
    with pytest.raises(PreflightError, match="there is no host"):
        inventory.only("host", "host=")


def test_a_folder_of_a_datastore_cluster_is_no_folder(inventory: Inventory) -> None:
    assert [one.name for one in inventory.of("folder")] == ["vm"]


# ---- marks ------------------------------------------------------------------------------------------------------


def test_notes_keep_what_the_user_wrote_and_lose_older_marks() -> None:
    first = marks.notes("Made by us.\nTwice.", {"bakery:run": "r", "bakery:build": ""})
    assert first == "Made by us.\nTwice.\nbakery:run=r"
    assert marks.notes(first, {}) == "Made by us.\nTwice."
    assert marks.notes("", {"bakery:run": "r"}) == "bakery:run=r"


def test_marks_are_read_from_attributes_and_from_notes(center: Any) -> None:
    value = VIM.CustomFieldsManager.StringValue
    definition = VIM.CustomFieldsManager.FieldDef
    center.known["fields"] = {
        "field": [
            definition(key=number, name=name, type=str)
            for number, name in enumerate(["bakery:run", "team", "bakery:expires"])
        ]
    }
    content = type("Content", (), {"customFieldsManager": VIM.CustomFieldsManager("fields", center.stub)})()
    center.session.content = content
    read = marks.Reader(center)
    values = {
        "customValue": [value(key=0, value="new"), value(key=1, value="web"), value(key=2, value="")],
        "config.annotation": "Text.\nbakery:run=old\nbakery:build=b\nbakery:expires=soon",
    }
    assert read.of(values) == {"bakery:run": "new", "bakery:build": "b"}


def test_a_server_without_attributes_or_a_user_without_the_right_has_notes_alone(center: Any) -> None:
    center.session.content = type("Content", (), {"customFieldsManager": None})()
    assert marks.set_attributes(center, center.machine("vm-1"), {"a": "b"}) is False
    manager = VIM.CustomFieldsManager("fields", center.stub)
    center.session.content = type("Content", (), {"customFieldsManager": manager})()
    center.known["fields"] = {}
    center.stub.answers["AddCustomFieldDef"] = VIM.fault.NoPermission(msg="no")
    assert marks.set_attributes(center, center.machine("vm-1"), {"a": "b"}) is False
    assert marks.set_attributes(center, center.machine("vm-1"), {"gone": ""}) is True


def test_a_name_of_ours_tells_its_run(claim: Claim) -> None:
    assert marks.run_of(marks.new_name(claim)) == claim.run
    assert marks.run_of("web") == ""
    assert len(marks.new_name(type(claim)(**{**vars(claim), "name": "b" * 200}))) == 80
