"""Credentials fit into the two strings that VirtualBox's firmware has for them, or are refused."""

from __future__ import annotations

import base64

import pytest

from bakery.drivers import VirtualBox
from bakery.drivers.virtualbox import credentials
from bakery.errors import ImagefileError

PCBIOS = "VBoxInternal/Devices/pcbios/0/Config/"
EFI = "VBoxInternal/Devices/efi/0/Config/"


def test_each_credential_is_a_string_that_systemd_reads() -> None:
    strings = credentials.oem_strings({"system.hostname": "web", "sysctl.extra": "vm.swappiness=1, or more"})
    assert strings == [
        "io.systemd.credential:system.hostname=web",
        "io.systemd.credential:sysctl.extra=vm.swappiness=1, or more",
    ]


@pytest.mark.parametrize("text", ["two\nlines\n", "grüße", "<DmiSystemUuid>", "<EMPTY>"])
def test_what_is_not_plain_or_means_something_to_virtualbox_is_coded(text: str) -> None:
    (string,) = credentials.oem_strings({"tmpfiles.extra": text})
    head, _, coded = string.partition("=")
    assert head == "io.systemd.credential.binary:tmpfiles.extra"
    assert base64.b64decode(coded).decode() == text


@pytest.mark.parametrize(("firmware", "device"), [("BIOS", PCBIOS), ("EFI", EFI), ("EFI64", EFI)])
def test_they_are_entries_of_the_firmware_that_the_machine_has(firmware: str, device: str) -> None:
    given = credentials.extra_data({"a": "1", "b": "2"}, firmware)
    assert list(given) == [f"{device}DmiOEMVBoxVer", f"{device}DmiOEMVBoxRev"]
    assert list(credentials.extra_data({"a": "1"}, firmware)) == [f"{device}DmiOEMVBoxVer"]
    assert credentials.extra_data({}, firmware) == {}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"a": "1", "b": "2", "c": "3"}, "room for 2"),
        ({"a b": "1"}, "system.hostname"),
        ({"": "1"}, "system.hostname"),
        ({"long": "x" * 229}, "256 bytes, where VirtualBox reads 255"),
        ({"one": "x" * 150, "two": "x" * 150}, "352 bytes in all"),
    ],
)
def test_what_no_machine_starts_with_is_refused_when_the_file_is_read(given: dict[str, str], words: str) -> None:
    with pytest.raises(ImagefileError) as caught:
        VirtualBox(base="x", credentials=given)
    assert words in str(caught.value)


def test_the_longest_that_fits_is_taken() -> None:
    (string,) = credentials.oem_strings({"long": "x" * 228})
    assert len(string) == credentials.LONGEST
    assert credentials.fits([string])
    assert not credentials.fits([string, "y" * 66])
    assert not credentials.fits([string + "x"])
