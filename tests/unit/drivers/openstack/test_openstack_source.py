"""What an `OpenStack` source refuses, and that it comes back from JSON as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bakery.drivers.openstack.api import errors, tags
from bakery.drivers.openstack.image import images
from bakery.drivers.openstack.machine import network, volumes
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


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"conflictingRequest": {"code": 409, "message": "Cannot stop"}}', "Cannot stop"),
        ('{"NeutronError": {"type": "X", "message": "in use", "detail": ""}}', "in use"),
        ("<html><body>404   Not Found</body></html>", "<html><body>404 Not Found</body></html>"),
        ("", "no explanation"),
    ],
)
def test_the_message_is_found_wherever_a_service_hides_it(body: str, said: str) -> None:
    assert errors.message(body) == said


def test_marks_come_back_from_metadata_descriptions_and_properties() -> None:
    marks = {"bakery:run": "r", "bakery:expires": "2100-01-01T00:00:00Z"}
    text = " ".join(f"{name}={value}" for name, value in marks.items())
    assert tags.of({"metadata": marks, "name": "x"}) == marks
    assert tags.of({"description": f"some-key {text}"}) == marks
    assert tags.of({**marks, "bakery:image": "", "os_distro": "y"}) == marks


def test_the_snapshots_of_an_image_are_read_from_nova_s_property() -> None:
    devices = json.dumps([{"snapshot_id": "s", "boot_index": 0}, {"snapshot_id": None}])
    assert images.snapshots_of({"block_device_mapping": devices}) == ["s"]
    assert images.snapshots_of({}) == []


def test_a_boot_volume_is_as_large_as_the_largest_wish() -> None:
    assert volumes.least({"virtual_size": (5 << 30) + 1, "min_disk": 2}, {"disk": 4}) == 6
    assert volumes.least({"size": 10}, {"disk": 0}) == 1


def test_named_networks_may_reach_port_22_and_nothing_is_guessed() -> None:
    source = OpenStack(base="b", flavor="f", ssh_from=("10.0.0.0/8", "2001:db8::/32"))
    assert network.allowed(source, "192.0.2.1") == ("10.0.0.0/8", "2001:db8::/32")


def test_a_filter_is_data() -> None:
    source = OpenStack(base=GlanceImage(name="debian-12*", owner="o"), flavor="f")
    assert source.base.newest


def test_a_key_tells_its_run_and_another_s_name_tells_nothing() -> None:
    assert tags.run_of("bakery-20261122-160627-1d7e-web-cloud-1-0a1b2c3d") == "20261122-160627-1d7e"
    assert tags.run_of("bakery-shop-frontend") == ""
