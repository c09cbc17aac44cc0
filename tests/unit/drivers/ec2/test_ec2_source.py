"""What `Ec2(...)` takes, refuses, and writes down."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bakery.drivers.ec2.api.account import Ec2Account
from bakery.drivers.ec2.options import Filter, Keep, Newest, Role, Spot, Volume
from bakery.drivers.ec2.source import Ec2
from bakery.errors import ImagefileError
from bakery.model import Endpoint, to_json

RICH = Ec2(
    base=Newest(owner="136693071363", name="debian-12-amd64-*", filters={"architecture": ("x86_64",)}),
    region="eu-central-1",
    roles=(Role(arn="arn:aws:iam::111122223333:role/build", external_id="x", tags={"team": "web"}),),
    instance_type=("t3.small", "t3a.small"),
    spot=Spot(max_price=0.02),
    subnet=Filter(filters={"tag:use": "build"}),
    volumes=(Volume(size=20, throughput=250), Volume(device="/dev/sdf", size=5, key="alias/build")),
    keep=Keep(newest=3, days=7),
    copy_to={"eu-west-1": "alias/images"},
    share_with=("111122223333", "arn:aws:organizations::111122223333:organization/o-abc"),
    bastion=Endpoint(host="bastion.example.org", user="jump", host_key="ssh-ed25519 AAAA"),
    instance_policy={"Version": "2012-10-17", "Statement": []},
)


def test_settings_survive_json_and_make_the_same_source_again() -> None:
    data = json.loads(json.dumps(RICH.settings()))
    again = Ec2.from_settings(data, base=RICH.base)
    assert again == RICH


def test_an_account_survives_json() -> None:
    assert Ec2Account.from_json(json.loads(json.dumps(to_json(RICH.account)))) == RICH.account


def test_a_plan_shows_no_function() -> None:
    shown = to_json(Ec2(base="ami-1", address=lambda address: address))
    assert isinstance(shown, dict)
    assert "address" not in shown


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"connect": "telnet"}, "allowed are 'public', 'private', 'ipv6', 'ssm'"),
        ({"naming": "best"}, "allowed are 'dated', 'exact'"),
        ({"instance_type": ()}, "at least one type"),
        ({"share_with": "111122223333"}, "a tuple is needed"),
        ({"share_with": ("12",)}, "neither an account id"),
        ({"copy_to": "eu-west-1"}, "a tuple is needed"),
        ({"tags": {"bakery:run": "x"}}, "are taken"),
        ({"instance_profile": "p", "instance_policy": {"Statement": []}}, "one or the other"),
        ({"public_ip": False}, "no address to connect to"),
        ({"encrypt": True, "share_with": ("111122223333",)}, "name a key"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ImagefileError, match=says):
        Ec2(base="ami-1", **wrong)


def test_a_look_up_without_an_owner_is_refused() -> None:
    with pytest.raises(ImagefileError, match="needs an owner"):
        Newest(owner="", name="debian-*")
