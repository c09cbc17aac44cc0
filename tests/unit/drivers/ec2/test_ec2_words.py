"""Small parts of the EC2 driver: shared questions, refusals, names, sharing, console text."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from cryptography.hazmat.primitives.asymmetric import padding

from bakery.drivers.ec2.api.account import Ec2Account, Ec2Cloud, Ec2Clouds
from bakery.drivers.ec2.api.errors import Ec2Error, Ec2RetryableError, code_of, translate_errors
from bakery.drivers.ec2.api.host_poller import HostPoller
from bakery.drivers.ec2.api.poller import BATCH, BatchPoller
from bakery.drivers.ec2.image.images import Stall
from bakery.drivers.ec2.image.keep import final_name
from bakery.drivers.ec2.image.share import permission
from bakery.drivers.ec2.machine.endpoint import _mapped
from bakery.drivers.ec2.source import Ec2
from bakery.errors import DriverError, NotYet, RetryableError
from bakery.util.waiting import Cancel, until

NOW = datetime(2026, 11, 22, 15, 1, 2, tzinfo=UTC)


def refused(code: str, message: str = "no", status: int = 400) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "RunInstances")


@pytest.mark.parametrize("code", ["RequestLimitExceeded", "InsufficientInstanceCapacity", "Unavailable"])
def test_what_passes_may_be_tried_again(code: str) -> None:
    with pytest.raises(RetryableError) as caught, translate_errors("start an instance"):
        raise refused(code)
    assert code_of(caught.value) == code


def test_what_is_forbidden_may_not_and_says_what_to_do() -> None:
    with pytest.raises(Ec2Error) as caught, translate_errors("start an instance"):
        raise refused("UnauthorizedOperation")
    assert not isinstance(caught.value, RetryableError)
    assert "least policy" in caught.value.hint


def test_any_5xx_may_be_tried_again() -> None:
    with pytest.raises(Ec2RetryableError), translate_errors("start an instance"):
        raise refused("Strange", status=502)


def test_missing_credentials_are_said_to_be_missing() -> None:
    with pytest.raises(Ec2Error) as caught, translate_errors("say who we are"):
        raise NoCredentialsError
    assert "aws configure" in caught.value.hint


def test_no_answer_may_be_tried_again() -> None:
    with pytest.raises(Ec2RetryableError), translate_errors("start an instance"):
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")


def test_fifty_threads_that_ask_at_once_are_one_question() -> None:
    asked: list[list[str]] = []
    gate = threading.Barrier(50)

    def fetch(ids: list[str]) -> dict[str, dict[str, Any]]:
        asked.append(ids)
        return {name: {"name": name} for name in ids}

    watch = BatchPoller(fetch, 0.3)

    def ask(number: int) -> Any:
        gate.wait()
        return until(lambda: watch.get(f"i-{number}"), what="it is known", timeout=30, cancel=Cancel())

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(ask, range(50)))
    assert [answer["name"] for answer in answers] == [f"i-{number}" for number in range(50)]
    assert len(asked) < 10


def test_what_is_fresh_is_not_asked_for_again_and_what_was_changed_is() -> None:
    asked: list[list[str]] = []
    watch = BatchPoller(lambda ids: asked.append(ids) or {name: {} for name in ids}, 60.0)  # type: ignore[func-returns-value]  # append is None
    assert watch.get("i-1") == {}
    assert watch.get("i-1") == {}
    assert len(asked) == 1
    with pytest.raises(NotYet):
        watch.get("i-2")
    watch.forget("i-1")
    with pytest.raises(NotYet):
        watch.get("i-1")
    assert watch.now("i-1") == {}
    assert asked == [["i-1"], ["i-1"]]


def test_many_things_are_asked_about_in_batches_that_a_filter_can_hold() -> None:
    sizes: list[int] = []

    def fetch(ids: list[str]) -> dict[str, dict[str, Any]]:
        sizes.append(len(ids))
        return {}

    watch = BatchPoller(fetch, 0.0)
    for number in range(BATCH + 1):
        watch._asked[f"i-{number}"] = float("inf")
    assert watch.get("i-0") is None
    assert sizes == [BATCH, 1]


def test_a_wait_is_bounded_by_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("bakery.drivers.ec2.image.images.time.monotonic", lambda: now[0])
    stall = Stall("the image", 10.0)
    for percent in range(100):
        now[0] += 9.0
        stall.look(f"{percent}%")
    now[0] += 11.0
    with pytest.raises(DriverError, match="makes no progress"):
        stall.look("99%")


def test_names_of_images_carry_the_time_or_are_exact() -> None:
    assert final_name(Ec2(base="ami-1"), "web:1", NOW) == "web-1-20261122T150102Z"
    assert final_name(Ec2(base="ami-1", naming="exact"), "web", NOW) == "web"
    assert len(final_name(Ec2(base="ami-1"), "w" * 200, NOW)) == 125


@pytest.mark.parametrize(
    ("who", "says"),
    [
        ("all", {"Group": "all"}),
        ("111122223333", {"UserId": "111122223333"}),
        ("arn:aws:organizations::1:organization/o-1", {"OrganizationArn": "arn:aws:organizations::1:organization/o-1"}),
        ("arn:aws:organizations::1:ou/o-1/ou-2", {"OrganizationalUnitArn": "arn:aws:organizations::1:ou/o-1/ou-2"}),
    ],
)
def test_whom_an_image_is_shared_with(who: str, says: dict[str, str]) -> None:
    assert permission(who) == says


def test_addresses_can_be_mapped_for_port_forwards() -> None:
    assert _mapped("10.0.0.4", None) == ("10.0.0.4", 22)
    assert _mapped("10.0.0.4", {"10.0.0.4": "127.0.0.1:2222"}) == ("127.0.0.1", 2222)
    assert _mapped("10.0.0.4", lambda address: f"nat-{address}") == ("nat-10.0.0.4", 22)
    assert _mapped("2001:db8::1", None) == ("2001:db8::1", 22)


def test_a_windows_password_is_decrypted_with_the_machines_key() -> None:
    import base64

    from bakery.drivers.ec2.machine import windows

    key, public = windows.new_key()
    assert public.startswith("ssh-rsa ")
    sealed = base64.b64encode(key.public_key().encrypt(b"Passw0rd!", padding.PKCS1v15())).decode()

    class Answers:
        data = ""

        def call(self, *_: Any, **__: Any) -> dict[str, str]:
            return {"PasswordData": self.data}

    cloud: Any = Answers()
    with pytest.raises(NotYet):
        windows.password(cloud, "i-1", key)
    cloud.data = sealed
    assert windows.password(cloud, "i-1", key).reveal() == "Passw0rd!"
    with pytest.raises(DriverError, match="another key pair"):
        windows.password(cloud, "i-1", windows.new_key()[0])


@pytest.mark.parametrize(
    ("environ", "given", "ec2", "sts"),
    [
        ({"AWS_ENDPOINT_URL_EC2": "https://vpce"}, None, "https://vpce", "https://sts.eu-west-1.amazonaws.com"),
        ({"AWS_ENDPOINT_URL": "https://all"}, None, "https://all", "https://all"),
        (
            {"AWS_ENDPOINT_URL": "https://all", "AWS_ENDPOINT_URL_EC2": "https://vpce"},
            None,
            "https://vpce",
            "https://all",
        ),
        (
            {"AWS_ENDPOINT_URL": "https://all", "AWS_ENDPOINT_URL_STS": "https://own"},
            None,
            "https://all",
            "https://own",
        ),
        ({"AWS_ENDPOINT_URL_EC2": "https://vpce"}, "https://mine", "https://mine", "https://mine"),
    ],
)
def test_each_service_is_spoken_to_where_it_is_also_by_a_later_process(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], given: str | None, ec2: str, sts: str
) -> None:
    for name, value in {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", **environ}.items():
        monkeypatch.setenv(name, value)
    cloud = Ec2Cloud(Ec2Account(region="eu-west-1", endpoint_url=given))
    assert cloud.client("ec2").meta.endpoint_url == ec2
    assert cloud.client("sts").meta.endpoint_url == sts
    monkeypatch.delenv("AWS_ENDPOINT_URL_EC2", raising=False)
    later = Ec2Clouds().of(json.loads(json.dumps(cloud.record)))
    assert later.client("ec2").meta.endpoint_url == ec2


def test_processes_of_one_host_share_one_look(tmp_path: Path) -> None:
    asked: list[list[str]] = []
    launched = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)

    def fetch(ids: list[str]) -> dict[str, dict[str, Any]]:
        asked.append(ids)
        return {name: {"id": name, "LaunchTime": launched} for name in ids if name != "i-gone"}

    one, two = (HostPoller(fetch, 60.0, tmp_path / "polls/instances.json") for _ in range(2))
    with one._shared() as shared:  # another process asks for its own in time
        shared.asked |= dict.fromkeys(("i-2", "i-gone"), time.monotonic())
    assert one.get("i-1") == {"id": "i-1", "LaunchTime": launched}
    assert two.get("i-2") == {"id": "i-2", "LaunchTime": launched}
    assert two.get("i-gone") is None
    assert asked == [["i-1", "i-2", "i-gone"]]
    two.forget("i-1")
    with pytest.raises(NotYet):
        one.get("i-1")
    assert (tmp_path / "polls/instances.json").stat().st_mode & 0o077 == 0


def test_a_look_that_was_refused_does_not_count(tmp_path: Path) -> None:
    def refuse(ids: list[str]) -> dict[str, dict[str, Any]]:
        raise DriverError(f"no look at {ids}")

    with pytest.raises(DriverError):
        HostPoller(refuse, 60.0, tmp_path / "polls.json").get("i-1")
    found = HostPoller(lambda ids: {name: {} for name in ids}, 60.0, tmp_path / "polls.json")
    assert found.get("i-1") == {}


def test_what_an_earlier_run_of_the_kernel_knew_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "polls.json").write_text('{"boot": "another", "looked": 1e12, "asked": {}, "known": {"i-1": {}}}')
    found = HostPoller(lambda ids: {name: {"new": True} for name in ids}, 60.0, tmp_path / "polls.json")
    assert found.get("i-1") == {"new": True}
