"""What an `OpenStack` source refuses, and that it comes back from JSON as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bakery.drivers.openstack.api import errors, tags
from bakery.drivers.openstack.machine import network
from bakery.drivers.openstack.options import GlanceImage, Old, Volume
from bakery.drivers.openstack.source import OpenStack
from bakery.errors import ImagefileError
from bakery.model import Endpoint


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"flavor": ()}, "flavor=...) is required"),
        ({"connect": "carrier pigeon"}, "must be one of"),
        ({"connect": "floating"}, "needs floating_network"),
        ({"visibility": "secret"}, "must be one of"),
        ({"visibility": "public", "members": ("p",)}, "needs visibility='shared'"),
        ({"accept": {"p": "theirs"}}, "p is not among the members"),
        ({"ports": ("p",), "network": "n"}, "stands in place of network"),
        ({"ssh_from": "10.0.0.1/8"}, "has host bits set"),
        ({"tags": ("x" * 256,)}, "has 256 characters"),
    ],
)
def test_what_cannot_be_is_refused_at_once(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ImagefileError, match="OpenStack") as caught:
        OpenStack(**{"base": "debian", "flavor": "small", **options})
    assert said in caught.value.what


def test_a_source_comes_back_from_json_as_it_was() -> None:
    source = OpenStack(
        base="debian",
        cloud="here",
        flavor=("a", "b"),
        volume=Volume(size=3, volume_type="fast"),
        old=Old(newest=2, days=1.5),
        members=("p",),
        accept={"p": "theirs"},
        properties={"os_distro": "debian"},
        bastion=Endpoint(host="b", host_key="k", key="agent", gateway=Endpoint(host="c", host_key="l")),
    )
    assert OpenStack.from_settings(json.loads(json.dumps(source.settings())), base="debian") == source


def test_members_make_an_image_shared_and_no_members_keep_it_private() -> None:
    assert OpenStack(base="b", flavor="f", members=("p",)).shown == "shared"
    assert OpenStack(base="b", flavor="f").shown == "private"


GLANCE_PAGE = """<html>
 <head>
  <title>409 Conflict</title>
 </head>
 <body>
  <h1>409 Conflict</h1>
  Image needs to be staged before &#x27;glance-direct&#x27;<br /><br />


 </body>
</html>"""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"conflictingRequest": {"code": 409, "message": "Cannot stop"}}', "Cannot stop"),
        ('{"NeutronError": {"type": "X", "message": "in use", "detail": ""}}', "in use"),
        ("<html><body>404   Not Found</body></html>", "404 Not Found"),
        (
            GLANCE_PAGE,
            "409 Conflict Image needs to be staged before 'glance-direct'",
        ),
        ("plain  text", "plain text"),
        ("", "no explanation"),
    ],
)
def test_the_message_is_found_wherever_a_service_hides_it(body: str, said: str) -> None:
    assert errors.message(body) == said


def test_named_networks_may_reach_port_22_and_nothing_is_guessed() -> None:
    source = OpenStack(base="b", flavor="f", ssh_from=("10.0.0.0/8", "2001:db8::/32"))
    assert network.allowed(source, "192.0.2.1") == ("10.0.0.0/8", "2001:db8::/32")


def test_a_filter_is_data() -> None:
    source = OpenStack(base=GlanceImage(name="debian-12*", owner="o"), flavor="f")
    assert source.base.newest


def test_a_key_tells_its_run_and_another_s_name_tells_nothing() -> None:
    assert tags.run_of("bakery-20261122-160627-1d7e-web-cloud-1-0a1b2c3d") == "20261122-160627-1d7e"
    assert tags.run_of("bakery-shop-frontend") == ""
