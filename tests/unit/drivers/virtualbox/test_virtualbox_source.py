"""What can only be a mistake in VirtualBox(...) is refused when the imagefile is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bakery.drivers
from bakery.drivers import Appliance, RegisteredMachine, VirtualBox
from bakery.errors import ImagefileError


def test_a_source_survives_being_an_images_settings() -> None:
    source = VirtualBox(
        base="x",
        memory="2G",
        modifyvm=("--a=b",),
        product={"vendor": "us"},
        guest_properties={"/x": "y"},
        credentials={"system.hostname": "web"},
        keep=2,
    )
    settings = json.loads(json.dumps(source.settings()))
    assert VirtualBox.from_settings({**settings, "region": "of another driver"}, base="x") == source


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"firmware": "uefi"}, "'efi-secure'"),
        ({"controller": "usb"}, "'sata'"),
        ({"nic": "e1000"}, "'82540EM'"),
        ({"format": "qcow2"}, "'ova'"),
        ({"tpm": "2"}, "'2.0'"),
        ({"cpus": 0}, "a machine needs a processor"),
        ({"memory": "1M"}, "too little to boot"),
        ({"memory": "lots"}, "is not a size"),
        ({"video_memory": "1G"}, "256M"),
        ({"disk": "big"}, "is not a size"),
        ({"keep": -1}, "keep=0"),
        ({"shutdown_timeout": 0}, "seconds"),
        ({"os_type": "Linux 64"}, "ostypes"),
        ({"modifyvm": "--a b"}, "a list of words"),
        ({"product": {"name": "web"}}, "producturl"),
        ({"guest_properties": {"role": "web"}}, "/Example/role"),
        ({"guest_properties": {"/a b": "web"}}, "/Example/role"),
    ],
)
def test_a_wrong_value_says_what_is_allowed(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ImagefileError) as caught:
        VirtualBox(base="x", **options)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("base.qcow2",), ".ova or .ovf"),
        (("base.ova", "abc"), "64 hexadecimal digits"),
        (("https://example.com/base.ova",), "needs a checksum"),
        (("https://example.com/base.ovf", "0" * 64), "an OVF is several files"),
    ],
)
def test_an_appliance_that_cannot_be_imported_is_refused(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(ImagefileError) as caught:
        Appliance(*arguments)
    assert words in str(caught.value)


def test_a_registered_machine_needs_a_name() -> None:
    with pytest.raises(ImagefileError, match="which machine"):
        RegisteredMachine("")


@pytest.mark.parametrize("make", [lambda: Appliance(Path("x.ova")), lambda: RegisteredMachine(5)])  # type: ignore[arg-type]
def test_a_base_that_is_no_text_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ImagefileError, match="no value of that kind") as caught:
        make()
    assert caught.value.hint == "a text"


def test_all_three_are_public() -> None:
    assert {"VirtualBox", "Appliance", "RegisteredMachine"} <= set(bakery.drivers.__all__)
