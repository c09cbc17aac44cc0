"""What is asked of Nova, Neutron and Cinder for each option of a source, and what is made of their answers."""

from __future__ import annotations

import base64
import email
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bakery.drivers.openstack.api.cloud import OpenStackCloud
from bakery.drivers.openstack.machine import launch, network, user_data, volumes
from bakery.drivers.openstack.machine.launch import Prerequisites, ServerJob, server_attributes
from bakery.drivers.openstack.options import Volume
from bakery.drivers.openstack.source import OpenStack
from bakery.errors import BakeryError, DriverError, ImagefileError, PreflightError, RetryableError
from bakery.model import Endpoint
from bakery.state.claim import Claim
from bakery.state.ssh_keys import proof_of
from tests.contract.openstack_stand_in import Answer, Request, StandIn

Sent = Callable[..., list[Request]]
Script = Callable[..., None]
PLAIN = OpenStack(base="tiny", flavor="tiny", network="private", ssh_from="10.0.0.0/8", poll=0.01)
READY = Prerequisites(keypair="key", ports=("port-1", "port-2"), address="10.97.0.5", group="")
LOST = Answer(0, lost=True)


def job(cloud: OpenStackCloud, source: OpenStack, claim: Claim) -> ServerJob:
    return ServerJob(cloud=cloud, source=source, claim=claim)


def server_request(sent: Sent) -> dict[str, Any]:
    body: dict[str, Any] = sent("POST compute /servers")[0].body
    return body


def launched(cloud: OpenStackCloud, source: OpenStack, claim: Claim, sent: Sent) -> dict[str, Any]:
    """Launch, and return the body of the request for the server."""
    launch.launch(job(cloud, source, claim))
    return server_request(sent)


# ---- the request for a server ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        ({}, "flavorRef", "ID"),
        ({}, "availability_zone", None),
        ({}, "config_drive", None),
        ({"zone": "nova"}, "availability_zone", "nova"),
        ({"zone": ("b", "a")}, "availability_zone", "b"),
        ({"config_drive": True}, "config_drive", True),
        ({"config_drive": False}, "config_drive", False),
        ({"server_options": {"description": "ours"}}, "description", "ours"),
        ({"server_options": {"key_name": "mine"}}, "key_name", "mine"),
        ({"server_options": {"OS-DCF:diskConfig": "MANUAL"}}, "OS-DCF:diskConfig", "MANUAL"),
        ({"server_options": {"disk_config": "AUTO"}}, "OS-DCF:diskConfig", "AUTO"),
        ({"server_options": {"tags": ["a"]}}, "tags", ["a"]),
        ({"server_options": {"min_count": 1}}, "min_count", 1),
        ({"server_options": {"trusted_image_certificates": ["c"]}}, "trusted_image_certificates", ["c"]),
        ({"server_options": {"networks": "auto"}}, "networks", "auto"),
        ({"server_options": {"imageRef": "other"}}, "imageRef", "other"),
        ({"server_options": {"accessIPv4": "192.0.2.1"}}, "accessIPv4", "192.0.2.1"),
        ({"server_options": {"availability_zone": "z"}, "zone": "nova"}, "availability_zone", "z"),
    ],
)
def test_an_option_is_in_the_request_for_the_server(
    cloud: OpenStackCloud, claim: Claim, sent: Sent, options: dict[str, Any], field: str, value: Any
) -> None:
    server = launched(cloud, replace(PLAIN, **options), claim, sent)["server"]
    if value == "ID":
        assert server[field] == launch.flavors(cloud, ("tiny",))[0].id
    else:
        assert server.get(field) == value


@pytest.mark.parametrize(
    ("options", "hints"),
    [
        ({}, None),
        ({"server_group": "g"}, {"group": "g"}),
        ({"hints": {"different_host": ["h"]}}, {"different_host": ["h"]}),
        ({"hints": {"same_host": "h"}, "server_group": "g"}, {"same_host": "h", "group": "g"}),
    ],
)
def test_hints_stand_beside_the_server_as_nova_wants_them(
    cloud: OpenStackCloud, claim: Claim, sent: Sent, options: dict[str, Any], hints: Any
) -> None:
    body = launched(cloud, replace(PLAIN, **options), claim, sent)
    assert body.get("OS-SCH-HNT:scheduler_hints") == hints
    assert not [name for name in body["server"] if "hint" in name]


def test_a_server_carries_our_marks_beside_the_user_s_metadata(cloud: OpenStackCloud, claim: Claim, sent: Sent) -> None:
    server = launched(cloud, replace(PLAIN, metadata={"team": "web"}), claim, sent)["server"]
    assert server["metadata"]["team"] == "web"
    assert server["metadata"]["bakery:run"] == claim.run
    assert server["metadata"]["bakery:key"] == server["name"]
    assert server["name"].startswith(claim.name)


def test_a_server_boots_from_the_image_with_our_key_and_port(
    cloud: OpenStackCloud, claim: Claim, sent: Sent, api: StandIn
) -> None:
    server = launched(cloud, PLAIN, claim, sent)["server"]
    assert server["imageRef"] in api.things["images"]
    assert "block_device_mapping_v2" not in server
    assert [entry["port"] for entry in server["networks"]] == list(api.things["ports"])
    assert server["key_name"] in api.things["os-keypairs"]


def test_what_the_cloud_shall_choose_is_not_in_the_request(claim: Claim) -> None:
    asked = server_attributes(
        replace(PLAIN, host_key="console"),
        claim,
        "key",
        flavor="f",
        zone=None,
        prerequisites=READY,
        boot={"imageRef": "i"},
    )
    assert sorted(asked) == ["flavorRef", "imageRef", "key_name", "metadata", "name", "networks"]


@pytest.mark.parametrize(
    ("options", "unknown"),
    [
        ({}, []),
        ({"description": "x", "accessIPv4": "y", "block_device_mapping_v2": [], "user_data": "u"}, []),
        ({"keyname": "k"}, ["keyname"]),
        ({"Description": "x", "name": "n", "flavour": "f"}, ["Description", "flavour"]),
    ],
)
def test_a_raw_field_that_openstacksdk_would_drop_is_seen(options: dict[str, Any], unknown: list[str]) -> None:
    assert launch.unknown_options(options) == unknown


# ---- user data ------------------------------------------------------------------------------------------------------


def decoded(source: OpenStack, claim: Claim) -> str:
    """All parts of the user data, one after the other."""
    text = user_data.compose(source, claim)
    assert text is not None
    message = email.message_from_bytes(base64.b64decode(text))
    if not message.is_multipart():
        return base64.b64decode(text).decode()
    parts = [part.get_payload(decode=True) for part in message.walk() if not part.is_multipart()]
    return "\n".join(part.decode() for part in parts if isinstance(part, bytes))


def test_user_data_are_base64_once(cloud: OpenStackCloud, claim: Claim, sent: Sent) -> None:
    server = launched(cloud, PLAIN, claim, sent)["server"]
    assert base64.b64decode(server["user_data"]).startswith(b"#cloud-config")


@pytest.mark.parametrize(
    ("role", "mine", "keys"), [("build", True, True), ("smoke", False, True)], ids=["build", "smoke"]
)
def test_the_user_s_own_user_data_are_for_the_machine_that_is_built(
    claim: Claim, role: str, mine: bool, keys: bool
) -> None:
    text = decoded(replace(PLAIN, user_data="#cloud-config\npackages: [htop]\n"), replace(claim, role=role))
    assert ("htop" in text) is mine
    assert (claim.keys.user_public.split()[1] in text) is keys


def test_a_machine_that_is_only_tested_is_given_a_proof_and_no_host_key(claim: Claim) -> None:
    text = decoded(PLAIN, replace(claim, role="smoke"))
    assert proof_of(claim.keys.user_private) in text
    assert "ssh_keys" not in text
    assert proof_of(claim.keys.user_private) not in decoded(PLAIN, claim)


def test_without_cloud_init_the_user_data_are_the_user_s_alone(claim: Claim) -> None:
    source = replace(PLAIN, host_key="console", user_data="#!/bin/sh\ntrue\n")
    assert decoded(source, claim) == "#!/bin/sh\ntrue\n"
    assert user_data.compose(replace(source, user_data=""), claim) is None


def test_user_data_that_nova_would_refuse_are_refused_here(claim: Claim) -> None:
    import random

    noise = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=200_000))
    with pytest.raises(ImagefileError, match="characters in base64 when packed, Nova takes 65535"):
        user_data.compose(replace(PLAIN, user_data=f"#!/bin/sh\n: {noise}\n"), claim)


# ---- flavors, zones and room ----------------------------------------------------------------------------------------


def test_flavors_are_found_by_name_and_by_id_in_the_order_of_preference(cloud: OpenStackCloud) -> None:
    tiny, small = launch.flavors(cloud, ("tiny", "small"))
    assert (tiny.name, small.name) == ("tiny", "small")
    assert [flavor.name for flavor in launch.flavors(cloud, (small.id, "tiny"))] == ["small", "tiny"]
    with pytest.raises(PreflightError, match="no flavor 'huge'") as caught:
        launch.flavors(cloud, ("tiny", "huge"))
    assert "small" in caught.value.why


@pytest.mark.parametrize(
    "said", ["No valid host was found. ", "Exceeded maximum number of retries.", "Exhausted all hosts available"]
)
def test_each_zone_of_each_flavor_is_tried_while_there_is_no_room(
    cloud: OpenStackCloud, claim: Claim, sent: Sent, script: Script, said: str, api: StandIn
) -> None:
    full = {"id": "x", "name": "x", "status": "ERROR", "fault": {"message": said, "code": 500}}
    asked: list[tuple[str, str]] = []

    def fault(request: Request) -> Answer | None:
        if str(request) == "POST compute /servers":
            asked.append((request.body["server"]["flavorRef"], request.body["server"]["availability_zone"]))
        if request.method == "GET" and request.path.startswith("/servers/") and len(asked) < 4:
            gone = [one for one in sent("DELETE compute /servers") if one.path == request.path]
            return Answer(404, {}) if gone else Answer(200, {"server": full})
        return None

    api.fault = fault
    source = replace(PLAIN, flavor=("tiny", "small"), zone=("a", "b"))
    launch.launch(job(cloud, source, claim))
    tiny, small = (flavor.id for flavor in launch.flavors(cloud, source.flavors))
    assert asked == [(tiny, "a"), (tiny, "b"), (small, "a"), (small, "b")]
    assert len(sent("DELETE compute /servers")) == 3


def test_another_failure_of_a_server_is_no_reason_to_try_the_next(
    cloud: OpenStackCloud, claim: Claim, sent: Sent, api: StandIn
) -> None:
    broken = {"id": "x", "name": "x", "status": "ERROR", "fault": {"message": "Image is corrupt", "code": 500}}

    def fault(request: Request) -> Answer | None:
        if request.method == "GET" and request.path.startswith("/servers/") and "detail" not in request.path:
            return Answer(200, {"server": broken})
        return None

    api.fault = fault
    with pytest.raises(DriverError, match="is ERROR") as caught:
        launch.launch(job(cloud, replace(PLAIN, flavor=("tiny", "small")), claim))
    assert caught.value.why.startswith("Image is corrupt")
    assert "login:" in caught.value.why, "without the end of its console"
    assert len(sent("POST compute /servers/")) == 1  # the console
    assert not isinstance(caught.value, RetryableError)


# ---- ports, groups, addresses ---------------------------------------------------------------------------------------


def test_our_group_lets_in_ssh_from_and_nobody_else(cloud: OpenStackCloud, claim: Claim, sent: Sent) -> None:
    launch.prepare_launch(job(cloud, replace(PLAIN, ssh_from=("10.0.0.0/8", "2001:db8::/32")), claim))
    (group,) = sent("POST network /security-groups")
    assert group.body["security_group"]["description"].startswith(f"bakery:run={claim.run} bakery:expires=2100")
    rules = [request.body["security_group_rule"] for request in sent("POST network /security-group-rules")]
    assert [(rule["remote_ip_prefix"], rule["ethertype"]) for rule in rules] == [
        ("10.0.0.0/8", "IPv4"),
        ("2001:db8::/32", "IPv6"),
    ]
    for rule in rules:
        assert (rule["direction"], rule["protocol"]) == ("ingress", "tcp")
        assert (rule["port_range_min"], rule["port_range_max"]) == (22, 22)


@pytest.mark.parametrize(
    "first", [LOST, Answer(409, {"NeutronError": {"message": "Security group rule already exists"}})]
)
def test_a_rule_that_is_there_already_is_as_good(
    cloud: OpenStackCloud, script: Script, sent: Sent, first: Answer
) -> None:
    again = Answer(409, {"NeutronError": {"message": "Security group rule already exists"}})
    script("POST network /security-group-rules", first, again)
    network.open_ssh(cloud, "g", ("10.0.0.0/8",))
    assert len(sent("POST network /security-group-rules")) == (2 if first.lost else 1)


def test_a_refused_rule_is_an_error(cloud: OpenStackCloud, script: Script) -> None:
    script("POST network /security-group-rules", Answer(400, {"NeutronError": {"message": "Invalid input"}}))
    with pytest.raises(DriverError, match="did not open port 22"):
        network.open_ssh(cloud, "g", ("10.0.0.0/8",))


@pytest.mark.parametrize(
    ("options", "secured", "expected"),
    [
        ({}, True, {"groups": True, "fixed": None}),
        ({"fixed_address": "10.97.0.9"}, True, {"groups": True, "fixed": [{"ip_address": "10.97.0.9"}]}),
        ({}, False, {"groups": False, "fixed": None}),
    ],
    ids=["plain", "address", "port security off"],
)
def test_a_port_is_asked_for_with_its_groups_and_address(
    cloud: OpenStackCloud, claim: Claim, sent: Sent, options: dict[str, Any], secured: bool, expected: dict[str, Any]
) -> None:
    place = network.network_named(cloud, "private")
    place.is_port_security_enabled = secured
    network.port(cloud, place, ["g"], claim, options.get("fixed_address"))
    (request,) = sent("POST network /ports")
    port = request.body["port"]
    assert port["network_id"] == place.id
    assert ("security_groups" in port) is expected["groups"]
    assert port.get("fixed_ips") == expected["fixed"]
    assert port["description"].startswith("bakery:run=")


def test_only_the_first_port_has_the_fixed_address(cloud: OpenStackCloud, claim: Claim, sent: Sent) -> None:
    source = replace(PLAIN, network=("private", "provider"), fixed_address="10.97.0.9")
    launch.prepare_launch(job(cloud, source, claim))
    ports = [request.body["port"] for request in sent("POST network /ports")]
    assert [port.get("fixed_ips") for port in ports] == [[{"ip_address": "10.97.0.9"}], None]


@pytest.mark.parametrize(
    ("port", "version", "address"),
    [
        ([{"ip_address": "10.0.0.1"}, {"ip_address": "fd00::1"}], 4, "10.0.0.1"),
        ([{"ip_address": "10.0.0.1"}, {"ip_address": "fd00::1"}], 6, "fd00::1"),
        ([{"ip_address": "10.0.0.1"}], 6, ""),
        ([], 4, ""),
    ],
)
def test_a_port_s_address_of_a_version(port: list[dict[str, str]], version: int, address: str) -> None:
    from openstack.network.v2.port import Port

    assert network.fixed(Port(fixed_ips=port), version) == address


@pytest.mark.parametrize(
    ("port", "said"),
    [
        (None, "there is no port p here"),
        ({"id": "p", "device_id": "server-1", "fixed_ips": [{"ip_address": "10.0.0.1"}]}, "the port p is in use"),
        ({"id": "p", "device_id": "", "fixed_ips": []}, "the port p has no IPv4 address"),
    ],
)
def test_a_port_of_the_user_s_must_be_free_and_have_an_address(
    cloud: OpenStackCloud, claim: Claim, api: StandIn, port: dict[str, Any] | None, said: str
) -> None:
    if port:
        api.things["ports"]["p"] = port
    with pytest.raises(BakeryError, match=said):
        launch.prepare_launch(job(cloud, replace(PLAIN, network=None, ports=("p",)), claim))


def test_ports_of_the_user_s_are_used_as_they_are(
    cloud: OpenStackCloud, claim: Claim, api: StandIn, sent: Sent
) -> None:
    api.things["ports"]["p"] = {"id": "p", "device_id": "", "fixed_ips": [{"ip_address": "10.0.0.7"}]}
    ready, address = launch.prepare_launch(job(cloud, replace(PLAIN, network=None, ports=("p",)), claim))
    assert (ready.ports, ready.group, address) == (("p",), "", "10.0.0.7")
    assert [str(request) for request in sent("POST network")] == []


def test_the_user_s_groups_stand_in_place_of_ours(
    cloud: OpenStackCloud, claim: Claim, sent: Sent, api: StandIn
) -> None:
    theirs = {"id": "g-1", "name": "web"}

    def fault(request: Request) -> Answer | None:
        if str(request) == "GET network /security-groups":
            return Answer(200, {"security_groups": [theirs] if request.query.get("name") in {"web", None} else []})
        return None

    api.fault = fault
    launch.prepare_launch(job(cloud, replace(PLAIN, security_groups=("web",)), claim))
    (port,) = sent("POST network /ports")
    assert port.body["port"]["security_groups"] == ["g-1"]
    assert not sent("POST network /security-group")
    with pytest.raises(PreflightError, match="there are 0 security groups 'db' here") as caught:
        network.group_ids(cloud, replace(PLAIN, security_groups=("db",)))
    assert caught.value.why == "there are: web"


@pytest.mark.parametrize(
    ("connect", "address"),
    [(None, "floating"), ("floating", "floating"), ("fixed", "fixed")],
)
def test_a_floating_address_leads_to_the_first_port(
    cloud: OpenStackCloud, claim: Claim, sent: Sent, connect: Any, address: str
) -> None:
    source = replace(PLAIN, floating_network="provider", connect=connect)
    ready, reached = launch.prepare_launch(job(cloud, source, claim))
    (request,) = sent("POST network /floatingips")
    asked = request.body["floatingip"]
    assert asked["port_id"] == ready.ports[0]
    assert asked["floating_network_id"] == network.network_named(cloud, "provider").id
    assert f"bakery:run={claim.run}" in asked["description"]
    assert (reached == ready.address) is (address == "fixed")


@pytest.mark.parametrize(
    ("existing", "said"),
    [([], "has no floating address 192.0.2.9"), ([{"port_id": "other"}], "192.0.2.9 is in use")],
)
def test_a_floating_address_of_the_user_s_must_be_theirs_and_free(
    cloud: OpenStackCloud, claim: Claim, script: Script, existing: list[dict[str, Any]], said: str
) -> None:
    listed = [{"id": "f", "floating_ip_address": "192.0.2.9", **one} for one in existing]
    script("GET network /floatingips", Answer(200, {"floatingips": listed}))
    with pytest.raises(DriverError, match=said):
        network.floating(cloud, replace(PLAIN, floating_address="192.0.2.9"), "p", claim)


def test_a_floating_address_of_the_user_s_is_led_there_and_back(
    cloud: OpenStackCloud, claim: Claim, script: Script, sent: Sent
) -> None:
    free = {"id": "f", "floating_ip_address": "192.0.2.9", "port_id": None}
    script("GET network /floatingips", Answer(200, {"floatingips": [free]}))
    script("PUT network /floatingips/f", Answer(200, {"floatingip": free}), Answer(200, {"floatingip": free}))
    assert network.floating(cloud, replace(PLAIN, floating_address="192.0.2.9"), "p", claim) == "192.0.2.9"
    network.lead(cloud, "f", None)
    assert [request.body for request in sent("PUT network")] == [
        {"floatingip": {"port_id": "p"}},
        {"floatingip": {"port_id": None}},
    ]
    assert sent("GET network /floatingips")[0].query == {"floating_ip_address": "192.0.2.9"}


def test_an_address_that_is_gone_is_led_nowhere(cloud: OpenStackCloud) -> None:
    network.lead(cloud, "gone", None)


# ---- which network --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"network": "private"}, ["private"]),
        ({"network": ("provider", "private")}, ["provider", "private"]),
        ({"network": None}, ["private"]),
        ({"network": None, "network_cidr": "10.97.0.0/16"}, ["private"]),
        ({"network": None, "ports": ("p",)}, []),
    ],
)
def test_the_networks_of_a_machine(
    cloud: OpenStackCloud, script: Script, options: dict[str, Any], names: list[str]
) -> None:
    subnets = [("10.98.0.0/24", "provider"), ("fd00::/64", "private"), ("10.97.0.0/24", "private")]
    listed = [{"cidr": cidr, "network_id": network.network_named(cloud, name).id} for cidr, name in subnets]
    script("GET network /subnets", Answer(200, {"subnets": listed}))
    assert [one.name for one in network.networks(cloud, replace(PLAIN, **options))] == names


def test_a_network_is_found_by_its_id_too(cloud: OpenStackCloud) -> None:
    private = network.network_named(cloud, "private")
    assert network.network_named(cloud, private.id).name == "private"


@pytest.mark.parametrize(
    ("networks", "said"),
    [
        ([], "the project sees no network"),
        ([{"id": "1", "name": "a"}, {"id": "2", "name": "b"}], "it is not clear which network"),
        ([{"id": "1", "name": "a", "router:external": True}], "the project sees no network"),
    ],
)
def test_without_a_name_there_must_be_one_network(
    cloud: OpenStackCloud, script: Script, networks: list[dict[str, Any]], said: str
) -> None:
    script("GET network /networks", Answer(200, {"networks": networks}))
    with pytest.raises(PreflightError, match=said):
        network.networks(cloud, replace(PLAIN, network=None))


def test_two_networks_of_one_name_are_an_error_that_lists_what_there_is(cloud: OpenStackCloud, script: Script) -> None:
    twins = [{"id": "1", "name": "web"}, {"id": "2", "name": "web"}]
    script("GET network /networks", Answer(200, {"networks": twins}), Answer(200, {"networks": twins}))
    with pytest.raises(PreflightError, match="there are 2 networks 'web' here") as caught:
        network.network_named(cloud, "web")
    assert caught.value.why == "there are: web"


def test_no_subnet_inside_is_an_error(cloud: OpenStackCloud, script: Script) -> None:
    script("GET network /subnets", Answer(200, {"subnets": [{"cidr": "10.97.0.0/24", "network_id": "n"}]}))
    with pytest.raises(PreflightError, match=r"no network here has a subnet inside 172\.16\.0\.0/12"):
        network.networks(cloud, replace(PLAIN, network=None, network_cidr="172.16.0.0/12"))


def test_a_bastion_is_who_comes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostbyname", lambda _: "198.51.100.4")
    bastion = Endpoint(host="jump.test", host_key="ssh-ed25519 A", key="agent")
    assert network.allowed(replace(PLAIN, ssh_from="auto", bastion=bastion), "10.0.0.5") == ("198.51.100.4/32",)


@pytest.mark.parametrize(
    ("own", "address", "expected"),
    [
        ("10.0.0.2", "10.0.0.5", ("10.0.0.2/32",)),
        ("8.8.8.8", "9.9.9.9", ("8.8.8.8/32",)),
        ("2001:4860::1", "2001:4860::2", ("2001:4860::1/128",)),
        ("10.0.0.2", "9.9.9.9", "it cannot be seen from here which address 9.9.9.9 sees this host at"),
    ],
)
def test_auto_is_this_host_as_the_machine_sees_it(
    monkeypatch: pytest.MonkeyPatch, own: str, address: str, expected: Any
) -> None:
    monkeypatch.setattr(network, "_towards", lambda _: own)
    source = replace(PLAIN, ssh_from="auto")
    if isinstance(expected, tuple):
        assert network.allowed(source, address) == expected
    else:
        with pytest.raises(PreflightError, match=expected):
            network.allowed(source, address)


# ---- volumes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        (3, {"size": 3}),
        (
            Volume(size=5, volume_type="fast", zone="nova"),
            {"size": 5, "volume_type": "fast", "availability_zone": "nova"},
        ),
        (Volume(), {"size": 1}),
    ],
)
def test_a_boot_volume_is_asked_of_cinder(
    cloud: OpenStackCloud, claim: Claim, sent: Sent, volume: Any, expected: dict[str, Any]
) -> None:
    server = launched(cloud, replace(PLAIN, volume=volume), claim, sent)["server"]
    (request,) = sent("POST block_storage /volumes")
    asked = request.body["volume"]
    assert {name: asked.get(name) for name in ("size", "volume_type", "availability_zone")} == {
        "size": None,
        "volume_type": None,
        "availability_zone": None,
        **expected,
    }
    assert asked["imageRef"]
    assert asked["metadata"]["bakery:key"] == asked["name"]
    (device,) = server["block_device_mapping_v2"]
    assert (device["source_type"], device["destination_type"], device["boot_index"]) == ("volume", "volume", 0)
    assert device["delete_on_termination"] is False
    assert "imageRef" not in server


def test_an_image_whose_data_are_in_cinder_needs_no_volume_of_ours(
    cloud: OpenStackCloud, claim: Claim, api: StandIn, sent: Sent
) -> None:
    (image,) = api.things["images"].values()
    image["block_device_mapping"] = '[{"snapshot_id": "s"}]'
    handle = launch.launch(job(cloud, replace(PLAIN, volume=3), claim))
    assert handle.data["volume"] == "nova"
    assert not sent("POST block_storage")


@pytest.mark.parametrize(
    ("image", "disk", "size"),
    [
        ({"virtual_size": (5 << 30) + 1, "min_disk": 2}, 4, 6),
        ({"size": 10}, 0, 1),
        ({"size": 3 << 30, "virtual_size": None}, 0, 3),
        ({"min_disk": 9}, 4, 9),
        ({"min_disk": 1}, 20, 20),
    ],
)
def test_a_boot_volume_is_as_large_as_the_largest_wish(image: dict[str, Any], disk: int, size: int) -> None:
    from openstack.compute.v2.flavor import Flavor
    from openstack.image.v2.image import Image

    assert volumes.least(Image(**image), Flavor(disk=disk)) == size


@pytest.mark.parametrize("status", ["error", "error_deleting", "error_extending", "deleting", "gone"])
def test_a_volume_that_fails_ends_the_wait_with_its_state(
    cloud: OpenStackCloud, claim: Claim, script: Script, status: str
) -> None:
    answer = Answer(404, {}) if status == "gone" else Answer(200, {"volume": {"id": "v", "status": status}})
    script("GET block_storage /volumes/v", Answer(200, {"volume": {"id": "v", "status": "creating"}}), answer)
    with pytest.raises(DriverError, match="the volume v failed") as caught:
        volumes.wait(cloud, "v", "available", claim, 5)
    assert caught.value.why == f"Cinder says: {status}"


def test_a_volume_is_waited_for_while_cinder_has_no_time(cloud: OpenStackCloud, claim: Claim, script: Script) -> None:
    ready = Answer(200, {"volume": {"id": "v", "status": "available"}})
    script("GET block_storage /volumes/v", *[Answer(503, None)] * 7, ready)
    volumes.wait(cloud, "v", "available", claim, 5)


@pytest.mark.parametrize(
    ("attached", "taken"),
    [
        ([], []),
        ([{"id": "a", "volume_id": "v", "instance": "gone"}], ["a"]),
        ([{"id": "a", "volume_id": "v", "instance": "runs"}], []),
        ([{"id": "a", "volume_id": "other", "instance": "gone"}], []),
    ],
)
def test_a_volume_is_taken_back_from_servers_that_are_gone_and_from_no_other(
    cloud: OpenStackCloud, api: StandIn, script: Script, sent: Sent, attached: list[dict[str, str]], taken: list[str]
) -> None:
    api.things["servers"]["runs"] = {"id": "runs", "name": "runs", "status": "ACTIVE"}
    script("GET block_storage /attachments", Answer(200, {"attachments": attached}))
    script("DELETE block_storage /attachments", *[Answer(200, {"attachments": []})] * 3)
    volumes.release(cloud, "v")
    assert [request.path.rpartition("/")[2] for request in sent("DELETE block_storage /attachments")] == taken
    assert sent("GET block_storage /attachments")[0].query == {"volume_id": "v"}
