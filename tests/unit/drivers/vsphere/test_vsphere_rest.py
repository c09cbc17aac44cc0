"""The REST session: logged in when it is needed, anew where it has ended; refusals are told by their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from bakery.drivers.vsphere.api.account import VSphereAccount
from bakery.drivers.vsphere.api.errors import VSphereError, VSphereRetryableError
from bakery.drivers.vsphere.api.rest import RestSession, identified, messages
from bakery.drivers.vsphere.driver import VSphereDriver
from bakery.drivers.vsphere.source import VSphere
from bakery.redaction.secret import Secret
from tests.unit.drivers.vsphere.in_memory import InMemory
from tests.unit.drivers.vsphere.rest_in_memory import RestInMemory, refused

ACCOUNT = VSphereAccount(server="vc.test", username="baker@vsphere.local")
THING = "GET /thing"


@pytest.fixture
def server() -> RestInMemory:
    server = RestInMemory()
    server.answers[THING] = {"name": "web"}
    return server


@pytest.fixture
def session(server: RestInMemory) -> RestSession:
    return RestSession(ACCOUNT, Secret("a password", "pw"), transport=server.transport)


def test_it_logs_in_once_and_anew_where_the_session_has_ended(server: RestInMemory, session: RestSession) -> None:
    assert server.logins == 0
    for _ in range(2):
        assert session.call("look", "GET", "/thing") == {"name": "web"}
    assert server.logins == 1
    server.expired.add("token-1")
    assert session.call("look", "GET", "/thing") == {"name": "web"}
    assert server.logins == 2


@pytest.mark.parametrize(
    ("answer", "kind", "fault", "why"),
    [
        (refused("not_found", "no such thing", status=404), VSphereError, "not_found", "not_found: no such thing"),
        (refused("unauthorized", "not yours", status=403), VSphereError, "unauthorized", "unauthorized: not yours"),
        (httpx.Response(404, text="404 page not found"), VSphereError, "not_found", "not_found"),
        (httpx.Response(500, text="<html>"), VSphereError, "", "500 Internal Server Error"),
        (httpx.Response(503), VSphereRetryableError, "", "503 Service Unavailable"),
        (httpx.Response(400, json=["odd"]), VSphereError, "", "400 Bad Request"),
        (httpx.Response(200, text="<html>"), VSphereRetryableError, "", "its answer is no JSON"),
    ],
)
def test_a_refusal_is_told_by_its_name(
    server: RestInMemory,
    session: RestSession,
    answer: httpx.Response,
    kind: type[VSphereError],
    fault: str,
    why: str,
) -> None:
    server.answers[THING] = answer
    with pytest.raises(kind, match="vSphere did not look") as error:
        session.call("look", "GET", "/thing")
    assert (type(error.value), error.value.fault) == (kind, fault)
    assert why in error.value.why


def test_an_answer_without_a_text_is_none(server: RestInMemory, session: RestSession) -> None:
    server.answers[THING] = httpx.Response(204)
    assert session.call("look", "GET", "/thing") is None
    server.answers[THING] = httpx.Response(200, json=["a"])
    assert session.call("look", "GET", "/thing") == ["a"]


def raising(error: Exception) -> Callable[[Any], httpx.Response]:
    def answer(_: Any) -> httpx.Response:
        raise error

    return answer


@pytest.mark.parametrize(
    ("error", "said"),
    [(httpx.ReadTimeout("x"), "it took too long"), (httpx.ConnectError("refused"), "ConnectError: refused")],
)
def test_no_answer_is_told_as_that(server: RestInMemory, session: RestSession, error: Exception, said: str) -> None:
    server.answers[THING] = raising(error)
    with pytest.raises(VSphereRetryableError) as caught:
        session.call("look", "GET", "/thing")
    assert caught.value.why == f"no answer: {said}"


def test_whoever_is_not_let_in_is_told_so() -> None:
    transport = httpx.MockTransport(lambda _: refused("unauthenticated", "who are you", status=401))
    session = RestSession(ACCOUNT, Secret("a password", "pw"), transport=transport)
    with pytest.raises(VSphereError, match=r"did not let baker@vsphere.local in"):
        session.call("look", "GET", "/thing")


def test_a_single_host_has_no_such_api(api: InMemory, driver: VSphereDriver) -> None:
    del api
    center = driver.centers.of_source(VSphere(base="debian"))
    center.content.about.apiType = "HostAgent"
    with pytest.raises(VSphereError) as error:
        center.rest("look", "GET", "/thing")
    assert "single ESXi host" in error.value.why


def test_ids_and_texts_are_found_where_they_are() -> None:
    assert identified("/tag", "urn:vmomi:x y/z") == "/tag/id:urn:vmomi:x%20y%2Fz"
    assert messages({"errors": [{"error": {"messages": [{"default_message": "a"}]}}, {"issues": ["b"]}]}) == ["a"]
