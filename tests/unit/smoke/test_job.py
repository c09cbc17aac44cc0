from __future__ import annotations

import dataclasses
import json
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from bakery.errors import ImagefileError, UsageError
from bakery.model import Endpoint, from_json
from bakery.redaction.secret import Secret
from bakery.smoke import BUILTIN, Identity, SmokeJob, SmokeReport, TestRef, TestResult, compare, wire
from bakery.smoke.builtin import TESTS
from bakery.smoke.identity import fingerprint, key_blob
from bakery.smoke.job import BeforeReboot, builtin
from bakery.state.ssh_keys import Keys

KEYS = Keys(
    user_private="up", user_public="ssh-ed25519 AAAAuser", host_private="hp", host_public="ssh-ed25519 AAAAhost"
)


class Colour(Enum):
    RED = "red"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vars:
    name: str
    colour: Colour
    folder: Path
    ports: tuple[int, ...]
    table: dict[str, Any]
    password: Secret
    nothing: str | None = None


def job(**changes: Any) -> SmokeJob:
    values: dict[str, Any] = {
        "imagefile": Path("/p/imagefile.py"),
        "tests": (TestRef(image="web", index=1, name="t", file=Path("/p/helper.py"), line=7),),
        "endpoint": Endpoint(port=22022, host_key="ssh-ed25519 AAAA", gateway=Endpoint(host="bastion")),
        "keys": KEYS,
        "builder": Identity(machine_id="abc", host_keys=frozenset({"SHA256:x"})),
        "junit": Path("/run/junit.xml"),
    }
    return SmokeJob(**{**values, **changes})


def test_a_job_survives_the_way_through_the_pipe() -> None:
    assert wire.load(wire.dump(job())) == job()
    before = BeforeReboot(identity=Identity(machine_id="abc"), token="t", sentinels=("/srv/.bakery-sentinel",))
    assert wire.load(wire.dump(job(before=before))).before == before


def test_passwords_of_a_way_go_along_and_nothing_that_the_tests_print_may_have_them() -> None:
    way = Endpoint(transport="package.way:open", credentials={"guest": "of the guest"})
    sent = wire.load(wire.dump(job(endpoint=way)))
    assert sent.endpoint == way
    assert sent.secrets == {"guest password": "of the guest"}


def test_variables_come_back_with_their_types() -> None:
    there = Vars(
        name="x",
        colour=Colour.RED,
        folder=Path("/etc"),
        ports=(80, 443),
        table={"a": [1, {"b": 2}]},
        password=Secret("hunter22", "password"),
    )
    back = wire.rebuild(Vars, wire.load(wire.dump(job(variables=there))).variables)
    assert back == there
    assert back.password.reveal() == "hunter22"


def test_secrets_among_the_variables_are_known_with_all_that_was_derived_from_them() -> None:
    password = Secret("hunter22", "password")
    password.map(lambda text: f"root:{text}")
    there = Vars(name="x", colour=Colour.RED, folder=Path(), ports=(), table={}, password=password)
    sent = wire.load(wire.dump(job(variables=there, secrets={"token": "abcdef"})))
    assert set(sent.secrets.values()) == {"hunter22", "root:hunter22", "abcdef"}


def test_a_value_that_cannot_be_sent_is_named() -> None:
    there = Vars(
        name="x", colour=Colour.RED, folder=Path(), ports=(), table={"f": object()}, password=Secret("hunter22")
    )
    with pytest.raises(ImagefileError, match="variable table holds a object"):
        wire.dump(job(variables=there))


def test_a_job_shows_no_secret() -> None:
    assert "abcdef" not in repr(job(secrets={"token": "abcdef"}))
    assert json.loads(wire.dump(job(secrets={"token": "abcdef"})))["secrets"] == {"token": "abcdef"}


def test_an_imagefile_without_variables_gives_none() -> None:
    assert wire.rebuild(None, None) is None


def test_the_list_of_built_in_tests_is_the_file_of_built_in_tests() -> None:
    assert list(TESTS) == list(BUILTIN)


@pytest.mark.parametrize(
    ("option", "names"),
    [
        (True, set(BUILTIN)),
        (False, set()),
        (["clock_is_right"], {"clock_is_right"}),
        ("no_build_key", {"no_build_key"}),
    ],
)
def test_built_in_tests_are_chosen_by_name(option: object, names: set[str]) -> None:
    assert builtin(option) == names


def test_an_unknown_built_in_test_is_an_error() -> None:
    with pytest.raises(UsageError, match="clock_is_write"):
        builtin(["clock_is_write"])


def test_a_report_is_ok_when_nothing_failed() -> None:
    good, skipped, bad = (
        TestResult(test="t", outcome=outcome, seconds=1.0) for outcome in ("passed", "skipped", "error")
    )
    report = SmokeReport(results=(good, skipped), seconds=2.0, identity=Identity())
    assert report.ok
    assert not dataclasses.replace(report, results=(good, bad)).ok
    assert dataclasses.replace(report, results=(good, bad)).failures == (bad,)


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGl0c2FwdWJsaWNrZXlvZnRoaXJ0eXR3b2J5dGVzIQ== me@here"


def test_an_identity_is_read_from_what_the_script_prints() -> None:
    text = f"machine-id abc\nhost-key {KEY}\nhost-digest 00ff  /etc/dropbear/dropbear_rsa_host_key\n"
    found = Identity.parse(text)
    assert found.machine_id == "abc"
    assert found.host_keys == {fingerprint(KEY), "digest 00ff"}
    assert from_json(Identity, json.loads(json.dumps(found.to_wire()))) == found
    assert Identity.parse("").machine_id is None
    assert Identity.parse("machine-id \n").machine_id == ""


def test_a_key_is_the_same_with_other_options_and_comments() -> None:
    assert fingerprint(KEY) == fingerprint('restrict,command="x y" ' + KEY.replace("me@here", "you"))
    assert fingerprint(KEY).startswith("SHA256:")
    assert key_blob("# no key") == ""


def test_two_clones_may_share_nothing() -> None:
    one = Identity(machine_id="a", host_keys=frozenset({"x", "y"}))
    assert compare(one, Identity(machine_id="b", host_keys=frozenset({"z"}))) == ()
    assert compare(one, one) == (
        "both have the machine-id a",
        "both have the SSH host key x",
        "both have the SSH host key y",
    )
    assert compare(Identity(machine_id=""), Identity(machine_id="")) == ()
