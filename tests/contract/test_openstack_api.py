"""The OpenStack driver against our stand-in: whole lives, every crash, and a cloud that refuses, lies and forgets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bakery.drivers.openstack.api.cloud import OpenStackAccount
from bakery.drivers.openstack.driver import OpenStackDriver
from bakery.drivers.openstack.machine import volumes
from bakery.drivers.openstack.options import GlanceImage, GlanceUrl, Old, Volume
from bakery.drivers.openstack.source import OpenStack
from bakery.errors import DriverError
from bakery.model import Where
from bakery.testing.contract import Stop
from tests.contract.crashes import STEPS
from tests.contract.openstack_stand_in import Answer, Fault, Request, StandIn
from tests.contract.openstacklife import Life, OneLedger

PLAIN = OpenStack(
    base="tiny", flavor="tiny", network="private", floating_network="provider", poll=0.05, ssh_from="10.0.0.0/8"
)
VOLUME = OpenStack(
    base="tiny", flavor="tiny", network="private", volume=Volume(size=1), poll=0.05, ssh_from="10.0.0.0/8"
)


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    with StandIn() as here:
        monkeypatch.delenv("OS_CLOUD", raising=False)
        monkeypatch.delenv("OS_CLIENT_CONFIG_FILE", raising=False)
        for name, value in here.environment.items():
            monkeypatch.setenv(name, value)
        yield here


@pytest.fixture
def life(tmp_path: Path, cloud: StandIn) -> Callable[..., Life]:
    count = iter(range(1, 10000))
    return lambda source=PLAIN, **more: Life(source=source, folder=tmp_path, number=next(count), **more)


def nth(number: int, answer: Answer) -> Fault:
    return lambda request: answer if request.number == number else None


def on(words: str, *answers: Answer) -> Fault:
    """Answer the first questions of a kind in other ways."""
    coming = list(answers)

    def fault(request: Request) -> Answer | None:
        return coming.pop(0) if coming and str(request).startswith(words) else None

    return fault


BUSY = Answer(503, {"message": "The server is currently unavailable."})
THROTTLED = Answer(429, {"overLimit": {"message": "Too many requests."}}, {"Retry-After": "0.01"})
LOST = Answer(0, lost=True)
STRIDE = 9
"""Every so many questions: a life has some eighty, and three kinds of faults."""


@pytest.mark.parametrize("source", [PLAIN, VOLUME], ids=["server", "volume"])
def test_a_whole_life_leaves_the_kept_image_and_nothing_else(
    cloud: StandIn, life: Callable[..., Life], source: OpenStack
) -> None:
    before = cloud.left()
    one = life(source.on("tiny"))
    assert [problem for problem in one.driver.check(one.source) if problem.fatal] == []
    kept = one.whole()
    image = cloud.things["images"][kept.id]
    assert cloud.left() - before == {f"images {kept.id}"}
    assert image["name"] == "web"
    assert [name for name in ("bakery:run", "bakery:expires", "bakery:key") if name in image] == []
    assert one.driver.intact(kept)
    one.driver.delete(kept)
    assert cloud.left() == before
    assert not one.driver.intact(kept)


@STEPS
@pytest.mark.parametrize("source", [PLAIN, VOLUME], ids=["server", "volume"])
def test_a_crash_at_any_line_of_the_journal_leaves_nothing_that_the_journal_does_not_know(
    cloud: StandIn, life: Callable[..., Life], source: OpenStack, step: int
) -> None:
    before = cloud.left()
    stop_at = 1 - step
    while True:
        stop_at += step
        one = life(source, ledger=OneLedger(stop_at))
        try:
            kept = one.whole()
        except Stop:
            one.ledger.undo(OpenStackDriver())
            new = cloud.left() - before
            if one.ledger.committed:
                assert {cloud.things["images"][thing.split()[1]]["name"] for thing in new} == {"web"}
                for thing in new:
                    del cloud.things["images"][thing.split()[1]]
            assert cloud.left() == before, f"leaked after a crash at point {stop_at}"
        else:
            one.driver.delete(kept)
            assert stop_at > 20
            return


@pytest.mark.parametrize("fault", [BUSY, THROTTLED, LOST], ids=["busy", "throttled", "lost"])
def test_a_fault_at_any_question_ends_in_an_image_or_in_nothing(
    cloud: StandIn, life: Callable[..., Life], fault: Answer
) -> None:
    before = cloud.left()
    life().driver.delete(life().whole())
    questions = len(cloud.requests)
    for number in range(1, questions + 1, STRIDE):
        cloud.requests.clear()
        cloud.fault = nth(number, fault)
        kept, said = life().tried()
        cloud.fault = lambda _: None
        if kept:
            assert cloud.left() - before == {f"images {kept.id}"}, f"at {number}: {cloud.requests[number - 1]}"
            life().driver.delete(kept)
        assert cloud.left() == before, f"at {number}, {cloud.requests[number - 1]}: {said}"


@pytest.mark.parametrize(
    "words",
    [
        "POST compute /os-keypairs",
        "POST network /security-groups",
        "POST network /ports",
        "POST network /floatingips",
        "POST compute /servers",
        "GET compute /servers",
        "PATCH image",
        "DELETE compute",
        "DELETE network",
    ],
)
@pytest.mark.parametrize("fault", [BUSY, THROTTLED, LOST], ids=["busy", "throttled", "lost"])
def test_what_fails_once_is_done_once_all_the_same(
    cloud: StandIn, life: Callable[..., Life], words: str, fault: Answer
) -> None:
    before = cloud.left()
    cloud.fault = on(words, fault)
    kept, said = life().tried()
    assert said == "ok"
    assert kept is not None
    assert cloud.left() - before == {f"images {kept.id}"}


def test_a_token_that_expires_in_the_middle_is_renewed(cloud: StandIn, life: Callable[..., Life]) -> None:
    def forget(request: Request) -> None:
        if request.number % 10 == 0:
            cloud.tokens.clear()

    cloud.fault = forget
    kept, said = life().tried()
    assert (said, kept is not None) == ("ok", True)


@pytest.mark.parametrize("status", ["killed", "deactivated", "deleted", "error"])
def test_an_image_that_fails_ends_the_wait_with_its_state(
    cloud: StandIn, life: Callable[..., Life], status: str
) -> None:
    before = cloud.left()
    cloud.lies["images"] = ["queued", status]
    _, said = life().tried()
    assert status in said
    assert cloud.left() == before


def test_an_image_that_stays_queued_meets_the_deadline(cloud: StandIn, life: Callable[..., Life]) -> None:
    before = cloud.left()
    cloud.lies["images"] = ["queued", "queued"]
    source = OpenStack.from_settings(PLAIN.settings(), base="tiny", image_timeout=0.3)
    _, said = life(source).tried()
    assert "timed out" in said
    assert "queued" in said
    assert cloud.left() == before


def test_a_volume_in_error_is_said_and_goes(cloud: StandIn, life: Callable[..., Life]) -> None:
    before = cloud.left()
    cloud.lies["volumes"] = ["creating", "error"]
    _, said = life(VOLUME).tried()
    assert "Cinder says: error" in said
    assert cloud.left() == before


@pytest.mark.parametrize("runs", [False, True], ids=["gone", "there"])
def test_a_volume_is_taken_back_from_a_server_that_is_gone_and_from_no_other(
    cloud: StandIn, life: Callable[..., Life], runs: bool
) -> None:
    """Nova leaves it reserved when a server ends before it has a place: seen on the real one, from Cinder's answers."""
    one = life(VOLUME)
    one.driver.launch(VOLUME, one.claim("build"))
    (volume,), (server,) = cloud.things["volumes"], cloud.things["servers"]
    left = {"id": "f394bfea", "status": "reserved", "instance": server if runs else "03ebde21", "volume_id": volume}
    taken: list[str] = []

    def cinder(request: Request) -> Answer | None:
        match str(request).split():
            case ["GET", "block_storage", "/attachments"]:
                return Answer(200, {"attachments": [left]})
            case ["DELETE", "block_storage", "/attachments/f394bfea"]:
                taken.append(volume)
                return Answer(200, {"attachments": []})
            case ["DELETE", "block_storage", _] if not taken and not runs:
                why = "Invalid volume: Volume status must be available or error and must not be migrating, attached"
                return Answer(400, {"badRequest": {"message": why, "code": 400}})
            case _:
                return None

    cloud.fault = cinder
    volumes.release(one.driver.clouds.get(OpenStackAccount()), volume)
    assert taken == ([] if runs else [volume])
    taken.clear()
    one.ledger.undo(OpenStackDriver())
    assert taken == ([] if runs else [volume])
    assert not cloud.things["volumes"]


@pytest.mark.parametrize("looks", [["ERROR"], ["BUILD", "BUILD", "BUILD", "ERROR"]], ids=["at once", "late"])
def test_no_room_for_one_flavor_is_tried_with_the_next(
    cloud: StandIn, life: Callable[..., Life], looks: list[str]
) -> None:
    """Late: a hypervisor was found for it, which failed, and no other one was left."""
    cloud.lies["servers"] = looks
    asked: list[str] = []

    def relent(request: Request) -> None:
        if str(request) == "POST compute /servers":
            asked.append(request.body["server"]["flavorRef"])
        if len(asked) == 2:
            cloud.lies.clear()

    cloud.fault = relent
    source = OpenStack.from_settings(PLAIN.settings(), base="tiny", flavor=("tiny", "small"))
    _, said = life(source).tried()
    assert said == "ok"
    assert len(set(asked[:2])) == 2


def test_no_room_at_all_says_what_each_flavor_said(cloud: StandIn, life: Callable[..., Life]) -> None:
    before = cloud.left()
    cloud.lies["servers"] = ["ERROR"]
    _, said = life().tried()
    assert said.startswith("RetryableError")
    assert "tiny in any zone: No valid host was found" in said
    assert cloud.left() == before


def test_a_quota_is_no_reason_to_ask_again(cloud: StandIn, life: Callable[..., Life]) -> None:
    before = cloud.left()
    refusal = Answer(403, {"forbidden": {"code": 403, "message": "Quota exceeded for instances: Requested 1"}})
    cloud.fault = on("POST compute /servers", *[refusal] * 9)
    _, said = life().tried()
    assert "Quota exceeded for instances" in said
    assert cloud.requests.count("POST compute /servers") == 1
    assert cloud.left() == before


def test_the_older_image_of_the_name_is_hidden_or_deleted_only_when_the_new_one_stands(
    cloud: StandIn, life: Callable[..., Life]
) -> None:
    first = life().whole()
    second = life().whole()
    assert cloud.things["images"][first.id]["os_hidden"] is True
    third = life(OpenStack.from_settings(PLAIN.settings(), base="tiny", old=Old(newest=0))).whole()
    names = {image["id"] for image in cloud.things["images"].values() if image["name"] == "web"}
    assert names == {third.id}, second.id


def test_an_old_image_that_servers_run_from_stays(cloud: StandIn, life: Callable[..., Life]) -> None:
    first = life().whole()
    server = {"id": "s", "name": "theirs", "image": {"id": first.id}, "status": "ACTIVE"}
    cloud.things["servers"]["s"] = server
    newest = life(OpenStack.from_settings(PLAIN.settings(), base="tiny", old=Old(newest=0)))
    newest.whole()
    assert first.id in cloud.things["images"]
    assert any("in use by server theirs" in notice for notice in newest.notices)
    with pytest.raises(DriverError, match="in use"):
        newest.driver.delete(first)


def test_what_a_dead_run_left_is_found_without_a_journal(cloud: StandIn, life: Callable[..., Life]) -> None:
    before = cloud.left()
    one = life()
    one.image()
    run = one.claim("build").run
    assert list(one.driver.find(Where(run="another"))) == []
    assert list(one.driver.find(Where(older_than=3600.0))) == []
    found = list(one.driver.find(Where(run=run)))
    kinds = {"keypair", "security-group", "port", "floating-address", "server", "image"}
    assert {resource.kind for resource in found} == kinds
    for resource in reversed(found):
        OpenStackDriver().destroy(resource)
    assert cloud.left() == before


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"flavor": "huge"}, "there is no flavor 'huge'"),
        ({"base": "none"}, "no image here fits 'none'"),
        ({"base": GlanceImage(name="t*", owner="nobody")}, "no image here fits"),
        ({"network": "none"}, "there are 0 networks 'none'"),
        ({"security_groups": ("none",)}, "there are 0 security groups 'none'"),
        ({"floating_network": "private"}, "it is not external"),
        ({"cloud": "nowhere"}, "could not read the OpenStack configuration"),
    ],
)
def test_pre_flight_says_what_is_wrong_and_makes_nothing(
    cloud: StandIn, life: Callable[..., Life], wrong: dict[str, object], said: str
) -> None:
    before = cloud.left()
    source = OpenStack(**{"base": "tiny", "flavor": "tiny", "network": "private", **wrong})  # type: ignore[arg-type]  # one of them wrong
    problems = list(OpenStackDriver().check(source))
    assert any(said in problem.what for problem in problems), problems
    assert cloud.left() == before
    assert not [request for request in cloud.requests if not request.startswith("GET")]


def test_the_base_s_id_stands_for_its_content(cloud: StandIn, life: Callable[..., Life]) -> None:
    one = life()
    key = one.driver.prepare(one.source, one.claim("build"))
    assert key in cloud.things["images"]
    fetched = OpenStack(base=GlanceUrl(url="http://example.org/x"), flavor="tiny")
    assert one.driver.prepare(fetched, one.claim("build")) is None
