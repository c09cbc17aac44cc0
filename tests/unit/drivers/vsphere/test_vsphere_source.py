"""What an imagefile may say of vSphere, and what it is told when it says something else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bakery.drivers.vsphere.options import ExtraDisk, Keep, VSphereMachine
from bakery.drivers.vsphere.source import VSphere
from bakery.errors import ImagefileError
from bakery.model import to_json
from bakery.redaction.secret import Secret


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"clone": "lazy"}, "clone='lazy'): must be one of 'full', 'linked'"),
        ({"nic": "e1001"}, "nic='e1001'): must be one of 'vmxnet3', 'e1000e', 'e1000'"),
        ({"firmware": "uefi"}, "firmware='uefi'): must be one of 'bios', 'efi'"),
        ({"image": "vmdk"}, "image='vmdk'): must be one of 'template', 'snapshot', 'machine', 'ova'"),
        ({"image": "ova", "attributes": {"team": "web"}}, "attributes= and tags= are for an image that is a machine"),
        ({"image": "ova", "tags": "environment:test"}, "attributes= and tags= are for an image that is a machine"),
        ({"image": "ova", "datastore_cluster": "a"}, "what is imported to be tested goes to a datastore=..."),
        ({"library": "images"}, "names the content library of image='library-ovf' or 'library-template'"),
        ({"cpus": 0}, "cpus=0): at least 1"),
        ({"cpus": 3, "cores_per_socket": 2}, "3 processors cannot be divided so"),
        ({"memory": "1M"}, "memory='1M'): a multiple of 4 MiB, at least 64M"),
        ({"memory": "70M"}, "a multiple of 4 MiB"),
        ({"memory": "much"}, "memory='much' is not a size"),
        ({"memory_reservation": "some"}, "memory_reservation='some' is not a size"),
        ({"disk": "0"}, "disk='0' is not a size"),
        ({"disk": "9G", "clone": "linked"}, "cannot change the disk of a linked clone"),
        ({"datastore": "a", "datastore_cluster": "b"}, "datastore_cluster=...) stands in place of datastore"),
        ({"secure_boot": True, "firmware": "bios"}, "secure_boot=True) needs firmware='efi'"),
        ({"extra_config": {"guestinfo.userdata": "x"}}, "'guestinfo.userdata' is cloud-init's"),
        ({"address": "dhcp"}, "address='dhcp'): 'tools', 'guestinfo.NAME', or an address"),
        ({"address_within": "10.0.0.1/8"}, "address_within='10.0.0.1/8')"),
        ({"tpm": "yes"}, "tpm='yes'): no value of that kind"),
        ({"attributes": "team"}, "attributes='team'): no value of that kind"),
        ({"stop_timeout": -1.0}, "stop_timeout=-1.0): a time cannot be negative"),
        ({"user_data": "hello"}, "cannot tell of what kind the user data are"),
    ],
)
def test_a_wrong_option_is_said_with_what_is_allowed(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ImagefileError) as error:
        VSphere(base="debian", **options)
    assert said in str(error.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: VSphereMachine("", snapshot="clean"),
        lambda: VSphereMachine("debian", snapshot=""),
        lambda: ExtraDisk(size="1G", controller="ide"),  # type: ignore[arg-type]  # as a user may write it
        lambda: ExtraDisk(size="none"),
        lambda: Keep(newest=-1),
        lambda: Keep(days=-1),
    ],
)
def test_a_wrong_noun_is_an_error_of_the_imagefile(make: Any) -> None:
    with pytest.raises(ImagefileError):
        make()


def test_a_source_comes_back_from_what_an_image_remembers() -> None:
    source = VSphere(
        base=VSphereMachine("debian", snapshot="clean"),
        server="vc.test",
        disks=(ExtraDisk(size="1G", thin=False),),
        keep=Keep(newest=3),
        network=("one", "two"),
        attributes={"team": "web"},
    )
    settings = json.loads(json.dumps(source.settings()))
    assert VSphere.from_settings({**settings, "of_later": 1}, base=source.base) == source


def test_the_password_is_in_no_plan_and_in_no_image() -> None:
    for given in ("a password", Secret("a password", "pw")):
        source = VSphere(base="debian", password=given)
        assert isinstance(source.password, Secret)
        assert "a password" not in json.dumps(to_json(source)) + repr(source)
        assert "password" not in source.settings()
