"""What both clouds share: made once, marks, ages, retention, waiting, settings, connections, host keys."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bakery.drivers.ec2.options import NOUNS as EC2_NOUNS
from bakery.drivers.ec2.options import FastLaunch, Filter, Keep, Metadata, Newest, Role, Spot
from bakery.drivers.ec2.options import Volume as Ec2Volume
from bakery.drivers.ec2.source import Ec2
from bakery.drivers.openstack.options import NOUNS as OPENSTACK_NOUNS
from bakery.drivers.openstack.options import GlanceImage, Old, Volume
from bakery.drivers.openstack.source import OpenStack
from bakery.drivers.shared import marks, settings
from bakery.drivers.shared.clouds import CloudPool
from bakery.drivers.shared.console import host_key_from
from bakery.drivers.shared.create_once import ATTEMPTS, create_once
from bakery.drivers.shared.retention import surplus
from bakery.drivers.shared.waiting import patience, until_gone
from bakery.errors import DriverError, Interrupted, NotYet, RetryableError
from bakery.model import Endpoint, to_json
from bakery.state.claim import Claim
from bakery.state.ssh_keys import make_keys
from bakery.testing.contract import RecordingLedger
from bakery.util.waiting import Cancel

NOW = datetime.now(UTC)


@pytest.fixture
def claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Claim:
    monkeypatch.setattr(Cancel, "sleep", lambda self, _: self.check())
    return Claim(
        cache=tmp_path,
        run="r",
        build="web",
        role="build",
        name="bakery-r-1",
        folder=tmp_path,
        images=tmp_path,
        keys=make_keys("test"),
        tags={"bakery:run": "r", "bakery:expires": "2100-01-01T00:00:00Z"},
        ledger=RecordingLedger(),
        driver="ec2",
    )


# ---- made once ------------------------------------------------------------------------------------------------------


def failing(times: int, error: Exception, asked: list[str]) -> Callable[[], str]:
    """A request that fails so often."""

    def call() -> str:
        asked.append("call")
        if asked.count("call") <= times:
            raise error
        return "made"

    return call


@pytest.mark.parametrize(
    ("times", "existing", "result", "course"),
    [
        (0, [], "made", ["call"]),
        (1, [], "made", ["call", "look", "call"]),
        (1, ["there"], "there", ["call", "look"]),
        (1, ["there", "twin"], "there", ["call", "look"]),
        (2, [], "made", ["call", "look", "call", "look", "call"]),
    ],
)
def test_what_may_have_worked_unheard_is_looked_for_first(
    claim: Claim, times: int, existing: list[str], result: str, course: list[str]
) -> None:
    asked: list[str] = []

    def look_up() -> list[str]:
        asked.append("look")
        return existing

    assert create_once(failing(times, RetryableError("lost"), asked), look_up, claim) == result
    assert asked == course


def test_a_request_that_never_works_ends_with_its_last_error(claim: Claim) -> None:
    asked: list[str] = []
    with pytest.raises(RetryableError, match="lost"):
        create_once(failing(99, RetryableError("lost"), asked), list, claim)
    assert len(asked) == ATTEMPTS


@pytest.mark.parametrize(("error", "on"), [(DriverError("no"), RetryableError), (RetryableError("x"), TimeoutError)])
def test_another_error_ends_it_at_once(claim: Claim, error: Exception, on: Any) -> None:
    asked: list[str] = []
    with pytest.raises(type(error)):
        create_once(failing(9, error, asked), list, claim, on=on)
    assert asked == ["call"]


def test_a_look_that_fails_for_now_is_repeated_and_nothing_made_meanwhile(claim: Claim) -> None:
    asked: list[str] = []
    busy = iter([RetryableError("busy")])

    def look_up() -> list[str]:
        for error in busy:
            raise error
        return ["there"]

    assert create_once(failing(9, RetryableError("lost"), asked), look_up, claim) == "there"
    assert asked == ["call"]


def test_a_cancelled_build_makes_nothing_more(claim: Claim) -> None:
    cancel = Cancel()
    asked: list[str] = []

    def call() -> str:
        asked.append("call")
        cancel.set("stop")
        raise RetryableError("lost")

    with pytest.raises(Interrupted, match="stop"):
        create_once(call, list, replace(claim, cancel=cancel))
    assert asked == ["call"]


def test_each_repetition_says_why(claim: Claim) -> None:
    events: list[Any] = []
    create_once(failing(1, RetryableError("lost"), []), list, replace(claim, emit=events.append))
    assert [event.what for event in events] == ["lost, trying again"]


# ---- marks and ages -------------------------------------------------------------------------------------------------


def test_something_temporary_carries_the_claim_s_marks_our_key_and_the_time(claim: Claim) -> None:
    found = marks.of_claim(claim, "k")
    assert {name: found[name] for name in ("bakery:run", "bakery:expires", "bakery:key")} == {
        **claim.tags,
        "bakery:key": "k",
    }
    assert set(marks.TEMPORARY) == set(found)
    assert (marks.age(found["bakery:started"]) or 99) < 60


TWO_HOURS = timedelta(hours=2)


@pytest.mark.parametrize(
    "written",
    ["{:%Y-%m-%dT%H:%M:%SZ}", "{:%Y-%m-%dT%H:%M:%S}", "{:%Y-%m-%dT%H:%M:%S.000Z}", "{:%Y-%m-%dT%H:%M:%S+00:00}"],
    ids=["Glance", "Neutron and Cinder", "EC2", "iso"],
)
def test_an_age_is_read_from_all_the_ways_in_which_clouds_write_times(written: str) -> None:
    found = marks.age(written.format(datetime.now(UTC) - TWO_HOURS))
    assert found == pytest.approx(TWO_HOURS.total_seconds(), abs=60)


@pytest.mark.parametrize("text", ["", "yesterday"])
def test_what_is_no_time_has_no_age(text: str) -> None:
    assert marks.age(text) is None


@pytest.mark.parametrize(
    ("text", "seconds", "undated", "old"),
    [
        ("2026-01-01T00:00:00Z", 60.0, False, True),
        (NOW.isoformat(), 1e9, True, False),
        (NOW.isoformat(), None, False, True),
        ("", 60.0, True, True),
        ("", 60.0, False, False),
    ],
    ids=["old", "young", "any age", "undated counts", "undated does not"],
)
def test_old_enough(text: str, seconds: float | None, undated: bool, old: bool) -> None:
    assert marks.is_older(text, seconds, undated=undated) is old


def test_only_marks_that_say_something_are_read() -> None:
    assert marks.read({"bakery:run": "r", "bakery:image": "", "team": "web"}) == {"bakery:run": "r"}


# ---- retention ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("newest", "days", "gone"),
    [
        (0, 0, ["1", "2", "3"]),
        (1, 0, ["2", "3"]),
        (3, 0, []),
        (9, 0, []),
        (0, 1.5, ["2", "3"]),
        (1, 2.5, ["3"]),
        (0, 10, []),
    ],
)
def test_what_is_beyond_the_number_and_the_days_that_stay(newest: int, days: float, gone: list[str]) -> None:
    images = {str(age): f"{NOW - timedelta(days=age):%Y-%m-%dT%H:%M:%SZ}" for age in (2, 3, 1)}
    assert surplus(images, lambda name: images[name], newest, days) == gone


def test_an_image_whose_time_cannot_be_read_stays() -> None:
    assert surplus(["a"], lambda _: "some day", 0, 0) == []


# ---- waiting --------------------------------------------------------------------------------------------------------


def test_a_refusal_for_now_is_no_end_of_a_wait() -> None:
    noted: list[str] = []
    refusal = RetryableError("AWS did not look", why="RequestLimitExceeded: slow down")
    with pytest.raises(NotYet, match=r"AWS asks for patience \(RequestLimitExceeded\)"), patience("AWS", noted.append):
        raise refusal
    assert noted == ["AWS asks for patience"]


@pytest.mark.parametrize("error", [DriverError("no"), NotYet("busy"), KeyError("x")])
def test_any_other_error_passes_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, patience("AWS"):
        raise error
    assert caught.value is error


def test_clean_up_goes_on_until_it_is_gone_whatever_is_refused_for_now() -> None:
    course = iter([NotYet("deleting"), RetryableError("throttled"), NotYet("deleting"), None])

    def probe() -> None:
        error = next(course)
        if error:
            raise error

    until_gone("the port is gone", probe, every=(0.0, 0.0))
    assert list(course) == []


def test_clean_up_that_is_refused_for_good_ends() -> None:
    def probe() -> None:
        raise DriverError("you may not")

    with pytest.raises(DriverError, match="you may not"):
        until_gone("the port is gone", probe, every=(0.0, 0.0))


# ---- settings -------------------------------------------------------------------------------------------------------

BASTION = Endpoint(host="b", host_key="k", key="agent", gateway=Endpoint(host="c", host_key="l"))


@pytest.mark.parametrize(
    "source",
    [
        Ec2(
            base="ami-1",
            region="eu-west-1",
            roles=(Role(arn="arn:aws:iam::1:role/x", tags={"a": "b"}),),
            instance_type=("t3.small", "t3a.small"),
            spot=Spot(max_price=0.5),
            metadata=Metadata(hop_limit=2),
            subnet=Filter(filters={"tag:use": ("a", "b")}),
            volumes=(Ec2Volume(size=9),),
            keep=Keep(newest=2),
            copy_to={"us-east-1": "key"},
            fast_launch=FastLaunch(parallel=7),
            launch_options={"type": "Volume", "list": [1, 2]},
            bastion=BASTION,
        ),
        OpenStack(
            base="debian",
            flavor=("a", "b"),
            volume=Volume(size=3, volume_type="fast"),
            old=Old(newest=2, days=1.5),
            members=("p",),
            accept={"p": "theirs"},
            bastion=BASTION,
        ),
    ],
    ids=["ec2", "openstack"],
)
def test_a_source_comes_back_from_json_as_it_was(source: Any) -> None:
    written = json.loads(json.dumps(source.settings()))
    assert type(source).from_settings(written, base=source.base) == source
    assert type(source).from_settings({**written, "of_another_version": 1}, base=source.base) == source
    assert type(source).from_settings(written, base="other", user="me").user == "me"


def test_the_provider_s_own_json_is_left_as_it_is() -> None:
    source = Ec2(base="ami-1", launch_options={"type": "Volume", "Tags": [{"Key": "a"}]})
    read = Ec2.from_settings(json.loads(json.dumps(source.settings())), base="ami-1")
    assert read.launch_options == {"type": "Volume", "Tags": [{"Key": "a"}]}


@pytest.mark.parametrize(
    ("value", "nouns"),
    [
        (Newest(owner="self", filters={"architecture": ("arm64", "x86_64")}), EC2_NOUNS),
        (GlanceImage(name="d*", tags=("a",)), OPENSTACK_NOUNS),
        ((1, "a", (2,)), ()),
        ({"type": "Unknown", "x": (1,)}, EC2_NOUNS),
    ],
)
def test_nouns_come_back_from_json(value: Any, nouns: tuple[type, ...]) -> None:
    assert settings.read(json.loads(json.dumps(to_json(value))), nouns) == value


@pytest.mark.parametrize(
    ("value", "words"), [(None, ()), ("", ("",)), ("a", ("a",)), (("a", "b"), ("a", "b")), ((), ())]
)
def test_one_text_or_several(value: Any, words: tuple[str, ...]) -> None:
    assert settings.words(value) == words


# ---- connections ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cloud:
    """A cloud whose SDK found out the region."""

    account: str


def test_each_account_is_opened_once_for_all_threads() -> None:
    opened: list[str] = []
    gate = threading.Barrier(8, timeout=20)

    def connect(account: str) -> Cloud:
        opened.append(account)
        return Cloud(account)

    pool = CloudPool[str, Cloud](connect, lambda data: str(data["name"]))

    def ask(_: int) -> Cloud:
        gate.wait()
        return pool.get("a")

    with ThreadPoolExecutor(8) as threads:
        clouds = list(threads.map(ask, range(8)))
    assert opened == ["a"]
    assert all(cloud is clouds[0] for cloud in clouds)
    assert pool.of({"account": {"name": "a"}}) is clouds[0]


def test_two_spellings_of_one_account_share_a_cloud() -> None:
    pool = CloudPool[str, Cloud](lambda _: Cloud("eu-west-1"), str)
    assert pool.get("default") is pool.get("eu-west-1")


# ---- the console ----------------------------------------------------------------------------------------------------


def block(key: str) -> str:
    return f"noise\n-----BEGIN SSH HOST KEY KEYS-----\nssh-rsa AAAA\n{key} root@web\n-----END SSH HOST KEY KEYS-----\n"


OLD, NEW = (f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{letter * 43}" for letter in "on")


@pytest.mark.parametrize(("text", "key"), [(block(OLD), OLD), (block(OLD) + block(NEW) + "login: ", NEW)])
def test_the_host_key_that_was_printed_last_counts(text: str, key: str) -> None:
    assert host_key_from(text) == key


@pytest.mark.parametrize(
    "text", ["", "login: ", block("ssh-rsa AAAA"), block("ssh-ed25519 AAAA"), block(OLD)[:80], OLD]
)
def test_a_console_without_a_whole_key_is_looked_at_again(text: str) -> None:
    with pytest.raises(NotYet):
        host_key_from(text)
