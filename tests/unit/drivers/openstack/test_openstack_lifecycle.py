"""Pre-flight, endpoints, destroying and finding on OpenStack: what is seen in which answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bakery.drivers.openstack import check, destroy, find
from bakery.drivers.openstack.api.cloud import OpenStackAccount, OpenStackCloud, OpenStackClouds
from bakery.drivers.openstack.api.errors import OpenStackError, OpenStackRetryableError
from bakery.drivers.openstack.driver import OpenStackDriver
from bakery.drivers.openstack.machine import endpoint, servers
from bakery.drivers.openstack.options import GlanceUrl, Volume
from bakery.drivers.openstack.source import OpenStack
from bakery.errors import DriverError, NotYet
from bakery.machine.transport.learned_key_file import proving
from bakery.model import Handle, Resource, Where
from bakery.state.claim import Claim
from bakery.util.context import WorkContext
from bakery.util.waiting import Cancel
from tests.contract.openstack_stand_in import TASK, Answer, Request, StandIn

Sent = Callable[..., list[Request]]
Script = Callable[..., None]
PLAIN = OpenStack(base="tiny", flavor="tiny", network="private", ssh_from="10.0.0.0/8", poll=0.01)
LOST = Answer(0, lost=True)
RUN = "20261122-160627-1d7e"


# ---- pre-flight -----------------------------------------------------------------------------------------------------


def problems(clouds: OpenStackClouds, source: OpenStack, *, fatal: bool = True) -> list[str]:
    return [problem.what for problem in check.check(clouds, source) if problem.fatal is fatal]


def test_a_source_that_can_be_built_has_no_problem_and_makes_nothing(clouds: OpenStackClouds, sent: Sent) -> None:
    assert list(check.check(clouds, PLAIN)) == []
    assert {request.method for request in sent()} == {"GET"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"flavor": "huge"}, "there is no flavor 'huge' here"),
        ({"base": "none"}, "no image here fits 'none'"),
        ({"network": "none"}, "there are 0 networks 'none' here"),
        ({"security_groups": ("none",)}, "there are 0 security groups 'none' here"),
        ({"floating_network": "private"}, "the network private gives no floating addresses: it is not external"),
        ({"zone": ("nova", "moon")}, "there is no availability zone 'moon'"),
        ({"server_options": {"keyname": "k"}}, "server_options: openstacksdk's server has no field 'keyname'"),
        ({"cloud": "nowhere"}, "could not read the OpenStack configuration"),
    ],
)
def test_what_would_stop_a_build_is_said_before_it(
    clouds: OpenStackClouds, script: Script, options: dict[str, Any], said: str
) -> None:
    zones = [
        {"zoneName": "nova", "zoneState": {"available": True}},
        {"zoneName": "moon", "zoneState": {"available": False}},
    ]
    script("GET compute /os-availability-zone", Answer(200, {"availabilityZoneInfo": zones}))
    assert problems(clouds, replace(PLAIN, **options)) == [said]


def test_all_problems_are_said_at_once(clouds: OpenStackClouds) -> None:
    wrong = replace(PLAIN, base="none", network="none", server_options={"flavour": 1})
    assert len(problems(clouds, wrong)) == 3


def test_an_open_door_is_said_and_stops_nothing(clouds: OpenStackClouds) -> None:
    source = replace(PLAIN, ssh_from="0.0.0.0/0")
    assert problems(clouds, source) == []
    assert problems(clouds, source, fatal=False) == ["ssh_from opens port 22 of the build machine to everybody"]


@pytest.mark.parametrize(
    ("image", "volume", "said"),
    [
        ({"min_ram": 4096}, None, "tiny has 128 MiB, the base image wants 4096"),
        ({"min_disk": 9}, None, "tiny has a disk of 1 GiB, the base image needs 9"),
        ({"min_disk": 9}, Volume(size=9), ""),
        ({"min_disk": 1, "min_ram": 128}, None, ""),
    ],
)
def test_the_flavor_must_hold_the_base(
    clouds: OpenStackClouds, api: StandIn, image: dict[str, Any], volume: Volume | None, said: str
) -> None:
    next(iter(api.things["images"].values())).update(image)
    assert problems(clouds, replace(PLAIN, volume=volume)) == ([said] if said else [])


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"maxTotalInstances": 2, "totalInstancesUsed": 2}, "the quota has no room for 1 more servers"),
        ({"maxTotalCores": 0, "totalCoresUsed": 0}, "the quota has no room for 1 more cores"),
        ({"maxTotalRAMSize": 100, "totalRAMUsed": 0}, "the quota has no room for 128 more MiB of memory"),
        ({"maxTotalInstances": -1, "totalInstancesUsed": 99}, ""),
        ({}, ""),
    ],
)
def test_the_quota_must_have_room_for_one_more_server(
    clouds: OpenStackClouds, script: Script, limits: dict[str, int], said: str
) -> None:
    script("GET compute /limits", Answer(200, {"limits": {"rate": [], "absolute": limits}}))
    assert problems(clouds, PLAIN) == ([said] if said else [])


FULL = {"limit": 1, "used": 1, "reserved": 0}


@pytest.mark.parametrize(
    ("quota", "options", "said"),
    [
        ({"port": FULL}, {}, ["the quota has no room for one more port"]),
        ({"security_group": FULL}, {}, ["the quota has no room for one more security_group"]),
        ({"floatingip": FULL}, {"floating_network": "provider"}, ["the quota has no room for one more floatingip"]),
        ({"floatingip": FULL}, {}, []),
        ({"port": {"limit": 2, "used": 1, "reserved": 1}}, {}, ["the quota has no room for one more port"]),
        ({"port": {"limit": -1, "used": 9, "reserved": 0}}, {}, []),
        ({"port": {"limit": 2, "used": 1, "reserved": 0}}, {}, []),
        (None, {}, []),
    ],
)
def test_the_network_s_quota_must_have_room_where_it_is_told(
    clouds: OpenStackClouds, script: Script, quota: Any, options: dict[str, Any], said: list[str]
) -> None:
    script("GET network /quotas", Answer(404, {}) if quota is None else Answer(200, {"quota": quota}))
    assert problems(clouds, replace(PLAIN, **options)) == said


def test_a_cloud_that_cannot_fetch_images_is_told_by_what_it_can(clouds: OpenStackClouds, script: Script) -> None:
    script("GET image /info/import", *[Answer(200, {"import-methods": {"value": ["glance-direct"]}})] * 2)
    source = replace(PLAIN, base=GlanceUrl(url="https://example.org/d"))
    (problem,) = check.check(clouds, source)
    assert (problem.what, problem.why) == ("this Glance does not fetch images by itself", "it can: glance-direct")


def test_credentials_that_are_refused_are_the_only_problem(
    clouds: OpenStackClouds, api: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = Answer(401, {"error": {"message": "The request you have made requires authentication.", "code": 401}})
    real = api.answer
    monkeypatch.setattr(
        api, "answer", lambda request, *rest: refusal if "auth/tokens" in request.path else real(request, *rest)
    )
    (problem,) = check.check(clouds, PLAIN)
    assert problem.what == "OpenStack did not log in"
    assert problem.why.startswith("401: The request you have made")
    assert "token issue" in problem.hint


@pytest.mark.parametrize(("member", "said"), [("another", 1), ("be3c5754bdc0485180bfd069949e0e59", 0)])
def test_the_credentials_that_accept_must_be_the_member_s(
    clouds: OpenStackClouds, member: str, said: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = clouds.get
    monkeypatch.setattr(clouds, "get", lambda account: real(replace(account, cloud=None)))
    source = replace(PLAIN, members=(member,), accept={member: "theirs"})
    assert len(problems(clouds, source)) == said


@pytest.mark.parametrize("offline", [True, False])
def test_doctor_says_where_it_logged_in(
    clouds: OpenStackClouds, offline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "named", lambda: ["mine"])
    (problem,) = check.doctor(clouds, offline=offline)
    assert not problem.fatal
    if offline:
        assert problem.what == "configured: mine"
    else:
        assert problem.what.startswith("logged in at http://cloud.test/identity/v3, project be3c57")
        assert problem.what.endswith(": identity, compute, image, network, block storage")


@pytest.mark.parametrize(
    ("names", "said"),
    [([], "no cloud is configured"), (["a", "b"], "configured: a, b; none is asked")],
)
def test_doctor_does_not_guess_which_cloud_is_meant(
    clouds: OpenStackClouds, monkeypatch: pytest.MonkeyPatch, names: list[str], said: str, sent: Sent
) -> None:
    monkeypatch.setattr(check, "named", lambda: names)
    assert [problem.what for problem in check.doctor(clouds, offline=False)] == [said]
    assert not sent()


# ---- the state of a server ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ({"status": "BUILD", TASK: "spawning"}, r"the server is BUILD \(spawning\)"),
        ({"status": "REBOOT"}, r"the server is REBOOT \(no task\)"),
        ({"status": "HARD_REBOOT"}, "the server is HARD_REBOOT"),
        (None, "Nova does not show the server yet"),
    ],
)
def test_a_server_that_does_not_run_yet(
    cloud: OpenStackCloud, api: StandIn, server: dict[str, Any] | None, said: str
) -> None:
    if server:
        api.things["servers"]["s"] = {"id": "s", "name": "s", **server}
    with pytest.raises(NotYet, match=said):
        servers.running(cloud, "s")


@pytest.mark.parametrize("status", ["ERROR", "SHUTOFF", "PAUSED", "DELETED", "UNKNOWN"])
def test_a_server_that_never_will_run_is_said_with_the_end_of_its_console(
    cloud: OpenStackCloud, api: StandIn, status: str
) -> None:
    fault = {"fault": {"message": "Build aborted"}} if status == "ERROR" else {}
    api.things["servers"]["s"] = {"id": "s", "name": "s", "status": status, **fault}
    with pytest.raises(DriverError, match=f"the server s is {status}") as caught:
        servers.running(cloud, "s")
    first, *rest = caught.value.why.splitlines()
    assert first == ("Build aborted" if fault else f"Nova says: {status}")
    assert rest[-1] == "login: "


def test_a_console_that_is_refused_does_not_hide_the_failure(
    cloud: OpenStackCloud, api: StandIn, script: Script
) -> None:
    api.things["servers"]["s"] = {"id": "s", "name": "s", "status": "ERROR"}
    script("POST compute /servers/s/action", Answer(409, {"conflictingRequest": {"message": "not ready"}}))
    with pytest.raises(DriverError, match="the server s is ERROR") as caught:
        servers.running(cloud, "s")
    assert caught.value.why == "Nova says: ERROR\n(no console text: 409: not ready)"


def test_a_nova_without_time_is_no_failure_of_the_server(cloud: OpenStackCloud, script: Script) -> None:
    script("GET compute /servers/s", *[Answer(503, None)] * 9)
    with pytest.raises(NotYet, match=r"OpenStack asks for patience \(503\)"):
        servers.running(cloud, "s")


def test_the_console_is_asked_for_its_last_lines(cloud: OpenStackCloud, api: StandIn, sent: Sent) -> None:
    api.things["servers"]["s"] = {"id": "s", "name": "s", "status": "ACTIVE"}
    assert servers.console(cloud, "s") == "Linux version 6.1\nlogin: "
    assert sent("POST compute /servers/s/action")[0].body == {"os-getConsoleOutput": {"length": servers.LINES}}


@pytest.mark.parametrize("output", [None, ""])
def test_a_console_without_text_is_empty(cloud: OpenStackCloud, script: Script, output: str | None) -> None:
    script("POST compute /servers/s/action", Answer(200, {"output": output}))
    assert servers.console(cloud, "s") == ""


@pytest.mark.parametrize(
    ("server", "asked"),
    [
        (None, []),
        ({"status": "ACTIVE"}, ["DELETE"]),
        ({"status": "ACTIVE", TASK: "deleting"}, []),
        ({"status": "SOFT_DELETED"}, ["forceDelete"]),
    ],
)
def test_how_a_server_ends(
    cloud: OpenStackCloud, api: StandIn, sent: Sent, script: Script, server: dict[str, Any] | None, asked: list[str]
) -> None:
    script("POST compute /servers/s/action", Answer(202))
    if server is None:
        servers.ended(cloud, "s")
    else:
        api.things["servers"]["s"] = {"id": "s", "name": "s", **server}
        with pytest.raises(NotYet, match=str(server["status"])):
            servers.ended(cloud, "s")
    said = ["DELETE" for _ in sent("DELETE compute /servers/s")]
    said += [name for request in sent("POST compute /servers/s/action") for name in request.body]
    assert said == asked


@pytest.mark.parametrize("status", [404, 409])
def test_a_server_that_ends_by_itself_meanwhile_is_well(
    cloud: OpenStackCloud, api: StandIn, script: Script, status: int
) -> None:
    api.things["servers"]["s"] = {"id": "s", "name": "s", "status": "SOFT_DELETED"}
    script("POST compute /servers/s/action", Answer(status, {"x": {"message": "gone or busy"}}))
    with pytest.raises(NotYet):
        servers.ended(cloud, "s")


def test_a_busy_server_is_asked_again_later_and_a_refusal_is_said(cloud: OpenStackCloud, script: Script) -> None:
    script(
        "DELETE compute /servers/s",
        Answer(409, {"conflictingRequest": {"message": "is locked"}}),
        Answer(403, {"forbidden": {"message": "policy"}}),
    )
    servers.end(cloud, "s")
    with pytest.raises(OpenStackError, match="did not delete the server s"):
        servers.end(cloud, "s")


# ---- endpoints ------------------------------------------------------------------------------------------------------

CONSOLE = (
    "-----BEGIN SSH HOST KEY KEYS-----\nssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "B" * 43 + " root@web\n"
    "-----END SSH HOST KEY KEYS-----\n"
)


def handle(cloud: OpenStackCloud, source: OpenStack) -> Handle:
    return Handle(
        driver="openstack",
        id="s",
        resource=None,  # type: ignore[arg-type]  # not looked at
        folder=Path(),
        settings={"source": source.settings(), **cloud.record},
        data={**cloud.record, "address": "10.0.0.5", "host_public": "ssh-ed25519 given"},
    )


def test_a_machine_is_where_its_port_is_and_shows_the_key_it_was_given(cloud: OpenStackCloud, api: StandIn) -> None:
    api.things["servers"]["s"] = {"id": "s", "name": "s", "status": "ACTIVE"}
    shown = endpoint.Reach().endpoint(cloud, handle(cloud, replace(PLAIN, user="debian")))
    assert (shown.host, shown.user, shown.host_key) == ("10.0.0.5", "debian", "ssh-ed25519 given")


def test_a_machine_that_is_only_tested_proves_that_its_key_is_its_own(
    cloud: OpenStackCloud, api: StandIn, tmp_path: Path
) -> None:
    api.things["servers"]["s"] = {"id": "s", "name": "s", "status": "ACTIVE"}
    one = handle(cloud, PLAIN)
    tested = replace(one, folder=tmp_path, data={**one.data, "host_public": ""})
    shown = endpoint.Reach().endpoint(cloud, tested)
    assert (shown.host_key, shown.data) == ("", proving(tmp_path / "host-key"))
    (tmp_path / "host-key").write_text("ssh-ed25519 BBBB\n", encoding="ascii")
    assert endpoint.Reach().endpoint(cloud, tested).host_key == "ssh-ed25519 BBBB"


def test_a_machine_that_runs_is_not_asked_about_again_at_once(cloud: OpenStackCloud, api: StandIn, sent: Sent) -> None:
    api.things["servers"]["s"] = {"id": "s", "name": "s", "status": "ACTIVE"}
    reach, one = endpoint.Reach(), handle(cloud, PLAIN)
    for _ in range(3):
        reach.endpoint(cloud, one)
    assert len(sent("GET compute /servers/s")) == 1


@pytest.mark.parametrize("answers", [True, False], ids=["listens", "does not"])
def test_a_host_key_is_read_from_the_console_once_the_machine_listens(
    cloud: OpenStackCloud, api: StandIn, sent: Sent, script: Script, monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    api.things["servers"]["s"] = {"id": "s", "name": "s", "status": "ACTIVE"}
    script("POST compute /servers/s/action", Answer(200, {"output": "booting\n"}), Answer(200, {"output": CONSOLE}))
    monkeypatch.setattr(endpoint, "_answers", lambda *_: answers)
    reach, one = endpoint.Reach(), handle(cloud, replace(PLAIN, host_key="console"))
    with pytest.raises(NotYet, match="not on the console yet" if answers else "does not listen yet"):
        reach.endpoint(cloud, one)
    if answers:
        assert reach.endpoint(cloud, one).host_key.startswith("ssh-ed25519 AAAAC3")
        reach.endpoint(cloud, one)
    assert len(sent("POST compute /servers/s/action")) == (2 if answers else 0)


def test_a_console_that_nova_has_no_time_for_is_asked_for_later(
    cloud: OpenStackCloud, api: StandIn, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.things["servers"]["s"] = {"id": "s", "name": "s", "status": "ACTIVE"}
    script("POST compute /servers/s/action", Answer(503, None))
    monkeypatch.setattr(endpoint, "_answers", lambda *_: True)
    with pytest.raises(NotYet, match="patience"):
        endpoint.Reach().endpoint(cloud, handle(cloud, replace(PLAIN, host_key="console")))


# ---- destroying -----------------------------------------------------------------------------------------------------


def record(cloud: OpenStackCloud, kind: str, key: str, id_: str | None = None, **data: Any) -> Resource:
    return Resource(driver="openstack", kind=kind, key=key, id=id_, run=RUN, build="web", data={**cloud.record, **data})


def test_what_uses_others_goes_before_what_it_used(cloud: OpenStackCloud) -> None:
    kinds = ["keypair", "security-group", "port", "floating-address", "volume", "server", "image", "unknown"]
    batches = destroy.destroy_batches([record(cloud, kind, kind) for kind in kinds])
    assert [[one.kind for one in batch] for batch in batches] == [
        ["image", "server", "floating-address", "keypair"],
        ["volume", "port"],
        ["unknown", "security-group"],
    ]


KIND_LISTS = {
    "keypair": "os-keypairs",
    "security-group": "security-groups",
    "port": "ports",
    "floating-address": "floatingips",
    "volume": "volumes",
    "snapshot": "snapshots",
    "image": "images",
    "server": "servers",
}


@pytest.mark.parametrize("known", [True, False], ids=["by id", "by key alone"])
@pytest.mark.parametrize("kind", sorted(KIND_LISTS))
def test_a_record_is_enough_to_destroy_and_a_second_one_goes_too(
    cloud: OpenStackCloud, api: StandIn, kind: str, known: bool
) -> None:
    """The second is what a lost answer made."""
    things = api.things[KIND_LISTS[kind]]
    others = set(things)
    for name in ("a", "b") if kind != "keypair" else ("key",):
        things[name] = {"id": name, "name": "key", "description": "key bakery:run=r", "status": "ACTIVE"}
    things["else"] = {"id": "else", "name": "key-2", "description": "another", "status": "ACTIVE"}
    destroy.destroy(cloud, record(cloud, kind, "key", "a" if known and kind != "keypair" else None))
    assert set(things) == {*others, "else"}
    destroy.destroy(cloud, record(cloud, kind, "key"))  # what is not there is well


def test_a_kind_of_another_version_is_said(cloud: OpenStackCloud) -> None:
    with pytest.raises(DriverError, match="of a kind that this version does not know"):
        destroy.destroy(cloud, record(cloud, "router", "key"))


def test_what_is_in_use_for_a_while_goes_when_it_is_free(cloud: OpenStackCloud, api: StandIn, script: Script) -> None:
    api.things["security-groups"]["g"] = {"id": "g", "name": "key"}
    busy = Answer(409, {"NeutronError": {"message": "Security Group g in use.", "type": "SecurityGroupInUse"}})
    script("DELETE network /security-groups/g", busy, busy)
    destroy.destroy(cloud, record(cloud, "security-group", "key", "g"))
    assert not api.things["security-groups"]


def test_what_may_not_be_destroyed_is_said_at_once(cloud: OpenStackCloud, api: StandIn, script: Script) -> None:
    api.things["ports"]["p"] = {"id": "p", "name": "key"}
    script("DELETE network /ports/p", Answer(403, {"NeutronError": {"message": "policy"}}))
    with pytest.raises(OpenStackError, match="did not delete the port p"):
        destroy.destroy(cloud, record(cloud, "port", "key", "p"))


def test_what_stays_is_an_error_that_may_be_tried_again(
    cloud: OpenStackCloud, api: StandIn, monkeypatch: pytest.MonkeyPatch, script: Script
) -> None:
    from bakery.drivers.shared import waiting

    monkeypatch.setattr(waiting, "TIMEOUT", 0.0)
    api.things["ports"]["p"] = {"id": "p", "name": "key"}
    script("DELETE network /ports/p", *[Answer(409, {"NeutronError": {"message": "in use"}})] * 9)
    with pytest.raises(OpenStackRetryableError, match="the port p is gone"):
        destroy.destroy(cloud, record(cloud, "port", "key", "p"))


@pytest.mark.parametrize(
    ("status", "message"), [(400, "Volume status must be available or error"), (409, "volume is in use")]
)
def test_a_volume_in_use_is_taken_back_from_servers_that_are_gone(
    cloud: OpenStackCloud, api: StandIn, script: Script, sent: Sent, status: int, message: str
) -> None:
    api.things["volumes"]["v"] = {"id": "v", "name": "key", "status": "reserved"}
    left = {"id": "a", "status": "reserved", "instance": "gone", "volume_id": "v"}
    script("DELETE block_storage /volumes/v", Answer(status, {"badRequest": {"message": message}}))
    script("GET block_storage /attachments", Answer(200, {"attachments": [left]}))
    script("DELETE block_storage /attachments/a", Answer(200, {"attachments": []}))
    destroy.destroy(cloud, record(cloud, "volume", "key", "v"))
    assert len(sent("DELETE block_storage /attachments/a")) == 1
    assert not api.things["volumes"]


def test_an_image_takes_the_snapshot_with_it_that_never_got_into_it(cloud: OpenStackCloud, api: StandIn) -> None:
    """Nova names it after the image, and writes it into the image when it is done."""
    api.things["snapshots"]["s"] = {"id": "s", "name": "snapshot for key", "status": "available"}
    api.things["snapshots"]["t"] = {"id": "t", "name": "snapshot for another", "status": "available"}
    destroy.destroy(cloud, record(cloud, "image", "key"))
    assert set(api.things["snapshots"]) == {"t"}


@pytest.mark.parametrize(("port", "led"), [("ours", True), ("theirs", False), (None, False)])
def test_the_user_s_floating_address_stays_and_leads_nowhere_if_it_led_to_us(
    cloud: OpenStackCloud, api: StandIn, sent: Sent, port: str | None, led: bool
) -> None:
    if port:
        api.things["floatingips"]["f"] = {"id": "f", "port_id": port}
    destroy.destroy(cloud, record(cloud, "association", "f", "f", port="ours"))
    assert [request.body for request in sent("PUT")] == ([{"floatingip": {"port_id": None}}] if led else [])
    assert ("f" in api.things["floatingips"]) is bool(port)


# ---- finding --------------------------------------------------------------------------------------------------------


def marks(hours: float, **more: str) -> dict[str, str]:
    started = datetime.now(UTC) - timedelta(hours=hours)
    return {
        "bakery:run": RUN,
        "bakery:expires": "2100-01-01T00:00:00Z",
        "bakery:key": "the-key",
        "bakery:started": started.isoformat(timespec="seconds"),
        "bakery:build": "web@cloud",
        **more,
    }


def place(api: StandIn, cloud: OpenStackCloud, hours: float, **more: str) -> None:
    """Put one of each kind into the cloud, as old as that."""
    created = f"{datetime.now(UTC) - timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}"
    ours = marks(hours, **more)
    line = " ".join(f"{name}={ours[name]}" for name in ("bakery:run", "bakery:expires", "bakery:build"))
    name = f"bakery-{ours['bakery:run']}-web-1a2b3c4d"
    api.things["os-keypairs"][name] = {"name": name, "created_at": created}
    for kind in ("security-groups", "ports", "floatingips"):
        api.things[kind]["x"] = {"id": "x", "name": "n", "description": f"k {line}", "created_at": created}
    for kind in ("volumes", "snapshots", "servers"):
        api.things[kind]["x"] = {"id": "x", "name": "n", "status": "ACTIVE", "metadata": ours}
    for id_, hidden in (("x", False), ("h", True)):
        api.things["images"][id_] = {
            "id": id_,
            "name": "n",
            "status": "active",
            "owner": cloud.project,
            "os_hidden": hidden,
            **ours,
        }


@pytest.mark.parametrize(
    ("where", "found"),
    [
        (Where(), True),
        (Where(run=RUN), True),
        (Where(run="20261122-160627-ffff"), False),
        (Where(older_than=3600.0), True),
        (Where(older_than=3 * 3600.0), False),
        (Where(run=RUN, older_than=3600.0), True),
    ],
)
def test_what_a_run_left_is_found_by_its_marks(cloud: OpenStackCloud, api: StandIn, where: Where, found: bool) -> None:
    place(api, cloud, hours=2)
    records = list(find.find(cloud, where))
    kinds = [one.kind for one in records]
    expected = [*KIND_LISTS, "image"] if found else []
    assert sorted(kinds) == sorted(expected)
    for one in records:
        assert one.run == RUN
        assert one.data == cloud.record
    if found:
        server = next(one for one in records if one.kind == "server")
        assert (server.key, server.id, server.build) == ("the-key", "x", "web@cloud")


def test_what_is_kept_or_another_s_is_not_found(cloud: OpenStackCloud, api: StandIn) -> None:
    kept = {"bakery:build": "web@cloud", "bakery:image": "web"}
    owner = {"owner": cloud.project, "os_hidden": False}
    api.things["images"]["kept"] = {"id": "kept", "name": "web", "status": "active", **owner, **kept}
    api.things["servers"]["theirs"] = {"id": "theirs", "name": "bakery", "metadata": {"team": "web"}}
    api.things["os-keypairs"]["bakery-shop"] = {"name": "bakery-shop"}
    assert list(find.find(cloud, Where())) == []


def test_a_resource_without_a_date_is_not_old(cloud: OpenStackCloud, api: StandIn) -> None:
    api.things["ports"]["p"] = {
        "id": "p",
        "name": "n",
        "description": f"bakery:run={RUN} bakery:expires=2100-01-01T00:00:00Z",
    }
    assert len(list(find.find(cloud, Where()))) == 1
    assert list(find.find(cloud, Where(older_than=1.0))) == []


def test_a_cloud_without_volumes_is_searched_for_the_rest(
    cloud: OpenStackCloud, api: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(api, cloud, hours=2)
    monkeypatch.setattr(OpenStackCloud, "has", lambda _, service: service != "block_storage")
    assert not {"volume", "snapshot"} & {one.kind for one in find.find(cloud, Where())}


# ---- the driver's own words -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "overlaps"),
    [
        ({}, True),
        ({"fixed_address": "10.0.0.9"}, False),
        ({"floating_address": "192.0.2.1"}, False),
        ({"network": None, "ports": ("p",)}, False),
    ],
)
def test_machines_overlap_where_each_has_an_address_of_its_own(options: dict[str, Any], overlaps: bool) -> None:
    assert OpenStackDriver().overlaps(replace(PLAIN, **options)) is overlaps


def test_the_base_s_id_stands_for_its_content(clouds: OpenStackClouds, api: StandIn, claim: Claim) -> None:
    driver = OpenStackDriver()
    assert driver.prepare(PLAIN, claim) == next(iter(api.things["images"]))
    assert driver.prepare(replace(PLAIN, base=GlanceUrl(url="u", sha512="ab")), claim) == "ab"
    assert driver.prepare(replace(PLAIN, base=GlanceUrl(url="u")), claim) is None


def test_checkpoints_are_made_where_they_are_asked_for(
    cloud: OpenStackCloud, clouds: OpenStackClouds, claim: Claim
) -> None:
    driver = OpenStackDriver()
    assert driver.checkpoint(handle(cloud, PLAIN), "k", Path(), claim) is None
    asked = handle(cloud, replace(PLAIN, checkpoints=True))
    with_volume = replace(asked, data={**asked.data, "volume": "v"})
    assert driver.checkpoint(with_volume, "k", Path(), claim) is None
    assert list(driver.list_checkpoints(PLAIN, "web@cloud")) == []


def test_a_console_that_cannot_be_had_says_why(cloud: OpenStackCloud, clouds: OpenStackClouds) -> None:
    text = OpenStackDriver().console(handle(cloud, PLAIN))
    assert text.startswith("(no console text: OpenStack did not read the console: 404")


def test_a_finding_may_name_an_account(clouds: OpenStackClouds, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[OpenStackAccount] = []
    real = OpenStackClouds.get

    def get(self: OpenStackClouds, account: OpenStackAccount) -> OpenStackCloud:
        asked.append(account)
        return real(self, replace(account, region=None))

    monkeypatch.setattr(OpenStackClouds, "get", get)
    list(OpenStackDriver().find(Where(settings={"region": "two"})))
    list(OpenStackDriver().find(Where(settings={"account": {"region": "three"}})))
    assert [account.region for account in asked] == ["two", "three"]


def test_doctor_asks_nobody_when_offline(clouds: OpenStackClouds, sent: Sent, tmp_path: Path) -> None:
    work = WorkContext(cache=tmp_path, build="", offline=True, cancel=Cancel())
    assert all(not problem.fatal for problem in OpenStackDriver().doctor(work))
    assert not sent()
