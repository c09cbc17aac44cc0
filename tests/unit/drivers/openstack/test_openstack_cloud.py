"""How the cloud is called: what is repeated, what is not, and which error comes of which answer."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from stevedore.extension import ExtensionManager

from bakery.drivers.openstack.api import errors, resources
from bakery.drivers.openstack.api.cloud import (
    ATTEMPTS,
    COMPUTE,
    OpenStackAccount,
    OpenStackCloud,
    OpenStackClouds,
    named,
)
from bakery.drivers.openstack.api.errors import OpenStackError, OpenStackRetryableError, status_of, translate_errors
from bakery.errors import DriverError, Interrupted, RetryableError
from bakery.state.claim import Claim
from bakery.util.waiting import Cancel
from tests.contract.openstack_stand_in import Answer, InMemory, Request, StandIn

Sent = Callable[..., list[Request]]
Script = Callable[..., None]
LOST = Answer(0, lost=True)


def show(cloud: OpenStackCloud, **options: Any) -> Any:
    return cloud.call("compute", "show the server s", lambda compute: compute.get_server("s"), **options)


# ---- which error comes of which answer ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer(500, {"computeFault": {"code": 500, "message": "The server has either erred"}}), "500: The server has"),
        (Answer(502, {"error": "Bad Gateway"}), "502: Bad Gateway"),
        (Answer(503, {"message": "The server is currently unavailable."}), "503: The server is currently unavailable."),
        (Answer(504, None), "504: no explanation"),
        (Answer(408, {"title": "Request Timeout", "message": "too slow"}), "408: too slow"),
        (Answer(429, {"overLimit": {"message": "Too many requests."}}), "429: Too many requests."),
        (Answer(413, {"overLimit": {"message": "over"}}, {"Retry-After": "0.01"}), "413: over"),
        (LOST, "no answer: "),
    ],
)
def test_a_refusal_for_now_may_be_tried_again(cloud: OpenStackCloud, script: Script, answer: Answer, why: str) -> None:
    script("GET compute /servers/s", *[answer] * ATTEMPTS)
    with pytest.raises(OpenStackRetryableError) as caught:
        show(cloud)
    assert caught.value.what == "OpenStack did not show the server s"
    assert caught.value.why.startswith(why)


@pytest.mark.parametrize(
    ("answer", "why", "hint"),
    [
        (Answer(400, {"badRequest": {"code": 400, "message": "Invalid image identifier"}}), "Invalid image", ""),
        (
            Answer(401, {"error": {"message": "The request you have made requires authentication."}}),
            "requires",
            "token",
        ),
        (Answer(403, {"forbidden": {"code": 403, "message": "Quota exceeded for cores"}}), "Quota exceeded", "a quota"),
        (Answer(404, {"itemNotFound": {"code": 404, "message": "Instance s could not be found."}}), "could not be", ""),
        (Answer(409, {"conflictingRequest": {"message": "Cannot 'stop' instance"}}), "Cannot 'stop'", ""),
        (Answer(409, {"NeutronError": {"type": "PortInUse", "message": "in use", "detail": ""}}), "in use", ""),
        (Answer(413, {"overLimit": {"message": "Quota exceeded for volumes"}}), "Quota exceeded", ""),
        (Answer(418, ["odd", {"message": "x"}]), '["odd"', ""),
    ],
)
def test_any_other_refusal_ends_it_at_once(
    cloud: OpenStackCloud, sent: Sent, script: Script, answer: Answer, why: str, hint: str
) -> None:
    script("GET compute /servers/s", *[answer] * 9)
    with pytest.raises(OpenStackError) as caught:
        show(cloud)
    assert not isinstance(caught.value, RetryableError)
    assert caught.value.status == status_of(caught.value) == answer.status
    assert caught.value.why.startswith(f"{answer.status}: ")
    assert why in caught.value.why
    assert hint in caught.value.hint
    # keystoneauth renews a token once after a 401, and we ask once more, as it does so for one thread of several.
    assert len(sent("GET compute /servers/s")) == (4 if answer.status == 401 else 1)


def test_openstacksdk_s_own_errors_name_the_configuration(
    monkeypatch: pytest.MonkeyPatch, cloud: OpenStackCloud
) -> None:
    from openstack import exceptions

    def fail(_: Any) -> None:
        raise exceptions.ConfigException("auth_url is missing")

    with pytest.raises(OpenStackError, match="could not log in") as caught:
        cloud.call("compute", "log in", fail)
    assert caught.value.why == "ConfigException: auth_url is missing"
    assert "clouds.yaml" in caught.value.hint
    assert status_of(caught.value) == 0


@pytest.mark.parametrize(
    ("number", "kind"), [(503, OpenStackRetryableError), (401, OpenStackError), (0, OpenStackError)]
)
def test_keystoneauth_s_refusals_keep_their_number(number: int, kind: type[OpenStackError]) -> None:
    from keystoneauth1.exceptions import HttpError

    with pytest.raises(OpenStackError) as caught, translate_errors("log in"):
        raise HttpError("no token", http_status=number)
    assert type(caught.value) is kind
    assert caught.value.status == number
    assert caught.value.why.startswith(f"{number}: no token")


def test_an_error_of_ours_passes_unchanged() -> None:
    error = DriverError("the image is damaged")
    with pytest.raises(DriverError) as caught, translate_errors("look"):
        raise error
    assert caught.value is error
    assert status_of(error) is None
    assert status_of(None) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7.0), ("0.5", 0.5), ("900", 60.0), ("-3", 0.0), ("Fri, 31 Dec 1999 23:59:59 GMT", 0.0), (None, 0.0)],
)
def test_a_cloud_is_waited_for_as_long_as_it_asks_but_no_longer_than_a_minute(text: str | None, seconds: float) -> None:
    response = requests.Response()
    response.status_code = 503
    response.headers.update({} if text is None else {"Retry-After": text})
    assert errors.refusal("look", response).after == seconds


# ---- what is repeated -----------------------------------------------------------------------------------------------


def test_what_changes_nothing_is_asked_again(cloud: OpenStackCloud, api: StandIn, sent: Sent, script: Script) -> None:
    api.things["servers"]["s"] = {"id": "s", "name": "n", "status": "ACTIVE"}
    script("GET compute /servers/s", LOST, Answer(503, None), Answer(429, None))
    assert show(cloud).status == "ACTIVE"
    assert len(sent("GET compute /servers/s")) == 4


@pytest.mark.parametrize("answer", [LOST, Answer(503, None), Answer(500, None)], ids=["lost", "503", "500"])
def test_what_must_not_be_done_twice_is_asked_once(
    cloud: OpenStackCloud, sent: Sent, script: Script, answer: Answer
) -> None:
    script("POST compute /os-keypairs", *[answer] * 9)
    with pytest.raises(OpenStackRetryableError):
        cloud.call("compute", "make it", lambda compute: compute.create_keypair(name="k", public_key="p"), repeat=False)
    assert len(sent("POST")) == 1


def test_retries_of_clouds_yaml_do_not_make_a_second_server(
    api: StandIn, sent: Sent, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`connect_retries` has keystoneauth repeat any request whose answer was lost."""
    auth = {name.removeprefix("OS_").lower(): value for name, value in api.environment.items()}
    region = auth.pop("region_name")
    lines = [f"      {name}: {value}" for name, value in auth.items()]
    retries = ["    connect_retries: 3", "    status_code_retries: 3"]
    cache = ["cache:", "  expiration_time: 600", "  expiration: {server: 600}"]
    entry = ["clouds:", "  mine:", *retries, f"    region_name: {region}", "    auth:", *lines]
    text = "\n".join([*entry, *cache])
    (tmp_path / "clouds.yaml").write_text(text)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    assert "mine" in named()
    cloud = OpenStackClouds().get(OpenStackAccount(cloud="mine"))
    cloud.connection.session.session.mount("http://", InMemory(api))
    script("POST compute /os-keypairs", LOST, LOST)
    with pytest.raises(OpenStackRetryableError):
        cloud.call("compute", "make it", lambda compute: compute.create_keypair(name="k", public_key="p"), repeat=False)
    assert len(sent("POST compute")) == 1
    api.things["servers"]["s"] = {"id": "s", "name": "n", "status": "BUILD"}
    assert show(cloud).status == "BUILD"
    api.things["servers"]["s"]["status"] = "ACTIVE"
    assert show(cloud).status == "ACTIVE", "its cache answered"


def test_a_pause_that_the_cloud_asks_for_ends_when_the_build_is_cancelled(
    cloud: OpenStackCloud, script: Script, sent: Sent
) -> None:
    cancel = Cancel()
    cancel.set("stop")
    script("GET compute /servers/s", Answer(503, None, {"Retry-After": "30"}))
    with pytest.raises(Interrupted, match="stop"):
        show(cloud.within(cancel))
    assert len(sent("GET compute /servers/s")) == 1


def test_each_request_to_nova_names_our_microversion(cloud: OpenStackCloud, api: StandIn, sent: Sent) -> None:
    api.things["servers"]["s"] = {"id": "s", "name": "n", "status": "ACTIVE"}
    show(cloud)
    resources.list_all(cloud, "server")
    resources.list_all(cloud, "keypair")
    asked = [request.headers["OpenStack-API-Version"] for request in sent("GET compute")]
    assert asked == [f"compute {COMPUTE}"] * 3


def test_a_404_is_none_where_that_is_an_answer_and_an_error_where_it_is_not(cloud: OpenStackCloud) -> None:
    assert cloud.find("compute", "look", lambda compute: compute.get_server("none")) is None
    with pytest.raises(OpenStackError, match="did not look"):
        cloud.call("compute", "look", lambda compute: compute.get_server("none"))


def test_a_refusal_is_no_404(cloud: OpenStackCloud, script: Script) -> None:
    script("GET compute /servers/s", Answer(403, {"forbidden": {"message": "no"}}))
    with pytest.raises(OpenStackError, match="did not look"):
        cloud.find("compute", "look", lambda compute: compute.get_server("s"))


def test_all_pages_of_a_list_are_read(cloud: OpenStackCloud, script: Script, sent: Sent, api: StandIn) -> None:
    one, two = ({"id": name, "name": name, "status": "ACTIVE"} for name in ("a", "b"))
    link = f"{api.root}/compute/v2.1/servers/detail?marker=a"
    script(
        "GET compute /servers/detail",
        Answer(200, {"servers": [one], "servers_links": [{"rel": "next", "href": link}]}),
        Answer(200, {"servers": [two]}),
    )
    assert [server.id for server in resources.list_all(cloud, "server")] == ["a", "b"]
    assert [request.query.get("marker") for request in sent("GET compute /servers/detail")] == [None, "a"]


def test_a_list_whose_second_page_is_lost_is_read_again_from_its_start(
    cloud: OpenStackCloud, script: Script, api: StandIn
) -> None:
    first = Answer(
        200,
        {
            "servers": [{"id": "a", "name": "a"}],
            "servers_links": [{"rel": "next", "href": f"{api.root}/compute/v2.1/servers/detail?marker=a"}],
        },
    )
    second = Answer(200, {"servers": [{"id": "b", "name": "b"}]})
    script("GET compute /servers/detail", first, LOST, first, second)
    assert [server.id for server in resources.list_all(cloud, "server")] == ["a", "b"]


def test_glance_s_pages_are_followed_with_our_own_filters(cloud: OpenStackCloud, script: Script, sent: Sent) -> None:
    script(
        "GET image /images",
        Answer(200, {"images": [{"id": "a"}], "next": "/v2/images?marker=a&bakery%3Aimage=web"}),
        Answer(200, {"images": [{"id": "b"}]}),
    )
    assert [one.id for one in resources.list_all(cloud, "image", **{"bakery:image": "web"})] == ["a", "b"]
    assert [request.query.get("bakery:image") for request in sent("GET image /images")] == ["web", "web"]


# ---- one connection for each account --------------------------------------------------------------------------------


def test_an_account_comes_back_from_a_record(clouds: OpenStackClouds, cloud: OpenStackCloud) -> None:
    assert cloud.record["account"]["cloud"] is None
    assert clouds.of(cloud.record) is cloud
    assert clouds.of({"account": {"cloud": None, "region": None, "interface": None, "more": 1}}) is cloud


def test_the_same_cloud_under_another_cancellation_shares_its_connection(cloud: OpenStackCloud) -> None:
    other = cloud.within(Cancel())
    assert other is not cloud
    assert other.connection is cloud.connection
    assert other.cancel is not cloud.cancel


def test_a_cloud_that_is_not_configured_is_said_so(clouds: OpenStackClouds) -> None:
    with pytest.raises(OpenStackError, match="could not read the OpenStack configuration") as caught:
        clouds.get(OpenStackAccount(cloud="nowhere"))
    assert "nowhere" in caught.value.why


def test_services_are_known_from_the_catalogue(cloud: OpenStackCloud) -> None:
    assert cloud.has("block_storage")
    assert cloud.has("compute")
    assert not cloud.has("orchestration")
    assert len(cloud.project) == 32


# ---- made once ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [LOST, Answer(503, None)], ids=["lost", "refused"])
@pytest.mark.parametrize(
    ("kind", "words", "attributes"),
    [
        ("keypair", "POST compute /os-keypairs", {"name": "KEY", "public_key": "ssh-ed25519 A"}),
        ("security-group", "POST network /security-groups", {"name": "KEY"}),
        ("port", "POST network /ports", {"name": "KEY", "network_id": "n"}),
        ("floating-address", "POST network /floatingips", {"description": "KEY x", "floating_network_id": "n"}),
        ("volume", "POST block_storage /volumes", {"name": "KEY", "size": 1}),
        ("server", "POST compute /servers", {"name": "KEY", "flavorRef": "f", "networks": []}),
    ],
)
def test_a_lost_answer_makes_no_second_resource(
    cloud: OpenStackCloud,
    api: StandIn,
    claim: Claim,
    script: Script,
    sent: Sent,
    kind: str,
    words: str,
    attributes: dict[str, Any],
    answer: Answer,
) -> None:
    calls: dict[str, Callable[[Any], Any]] = {
        "keypair": lambda proxy: proxy.create_keypair(**attributes),
        "security-group": lambda proxy: proxy.create_security_group(**attributes),
        "port": lambda proxy: proxy.create_port(**attributes),
        "floating-address": lambda proxy: proxy.create_ip(**attributes),
        "volume": lambda proxy: proxy.create_volume(**attributes),
        "server": lambda proxy: proxy.create_server(**attributes),
    }
    before = api.left()
    script(words, answer)
    created = resources.create(cloud, kind, "KEY", claim, calls[kind])
    made = api.left() - before
    assert {name.split()[1] for name in made} == {created.id}
    assert len(sent(words)) == (1 if answer.lost else 2)


def test_a_refusal_for_good_is_not_asked_again(cloud: OpenStackCloud, claim: Claim, script: Script, sent: Sent) -> None:
    script("POST network /ports", Answer(409, {"NeutronError": {"message": "Quota exceeded for resources: ['port']"}}))
    with pytest.raises(OpenStackError, match="did not make the port"):
        resources.create(cloud, "port", "KEY", claim, lambda proxy: proxy.create_port(name="KEY", network_id="n"))
    assert len(sent("POST")) == 1


@pytest.mark.parametrize("kind", list(resources.KINDS))
def test_what_is_not_there_is_none_and_may_be_deleted(cloud: OpenStackCloud, kind: str) -> None:
    assert resources.get(cloud, kind, "gone") is None
    resources.delete(cloud, kind, "gone")
    assert resources.by_key(cloud, kind, "gone") == []


def test_a_name_that_only_begins_like_ours_is_not_ours(cloud: OpenStackCloud, api: StandIn) -> None:
    for name in ("key", "key-2"):
        api.things["servers"][name] = {"id": name, "name": name, "status": "ACTIVE"}
        api.things["ports"][name] = {"id": name, "name": name}
    assert [server.id for server in resources.by_key(cloud, "server", "key")] == ["key"]
    assert [port.id for port in resources.by_key(cloud, "port", "key")] == ["key"]


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ({"status": "active", "owner": "p", "visibility": None}, {"status": "active", "owner": "p"}),
        ({"bakery:image": "web", "is_hidden": True}, {"bakery:image": "web", "os_hidden": "True"}),
        ({"os_distro": "debian", "hw_cpu_cores": "2"}, {"os_distro": "debian", "hw_cpu_cores": "2"}),
        ({"tag": ["a"], "name": "n"}, {"tag": "a", "name": "n"}),
    ],
)
def test_every_filter_of_images_reaches_glance(
    cloud: OpenStackCloud, script: Script, sent: Sent, query: dict[str, Any], asked: dict[str, str]
) -> None:
    script("GET image /images", Answer(200, {"images": []}))
    resources.list_all(cloud, "image", **query)
    assert sent("GET image /images")[0].query == asked


def test_a_folder_whose_name_openstacksdk_cannot_encode_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(ExtensionManager, "ENTRY_POINT_CACHE", {})
    for name in (name for name in os.environ if name.startswith("OS_")):
        monkeypatch.delenv(name)
    for name, value in {
        "AUTH_URL": "http://127.0.0.1:9",
        "USERNAME": "u",
        "PASSWORD": "p",
        "PROJECT_NAME": "p",
    }.items():
        monkeypatch.setenv(f"OS_{name}", value)
    with pytest.raises(OpenStackError, match="does not work in this project's folder") as caught:
        OpenStackClouds().of({"account": {}})
    assert r"caf\udce9" in caught.value.why
    assert caught.value.hint == "give the folder another name"
