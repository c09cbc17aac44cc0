"""`Ubuntu("noble")` and its like: which files of a publisher they mean, and what is refused when the file is read."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import bakery.drivers
from bakery.disk.bases import openpgp, publishers
from bakery.disk.bases.named_images import PublishedImage
from bakery.drivers import (
    Alma,
    Alpine,
    CentOSStream,
    CloudImage,
    Debian,
    DebianCloud,
    Fedora,
    Nspawn,
    OpenSuse,
    Qemu,
    Rocky,
    Ubuntu,
    VirtualBox,
)
from bakery.errors import ImagefileError
from bakery.util.context import WorkContext

ALMA = "https://repo.almalinux.org/almalinux/10/cloud/x86_64/images/"
FEDORA = "https://dl.fedoraproject.org/pub/fedora/linux/releases/44/Cloud/x86_64/images/"
ALPINE = "https://dl-cdn.alpinelinux.org/alpine/v3.24/releases/cloud/"
CLASSES = (Ubuntu, DebianCloud, Alma, Rocky, CentOSStream, Fedora, OpenSuse, Alpine)


def test_each_publisher_of_the_table_has_a_class_that_users_can_import() -> None:
    assert {cls.publisher: cls.__name__ for cls in CLASSES} == {
        name: publisher.title for name, publisher in publishers.table().items()
    }
    assert {cls.__name__ for cls in CLASSES} <= {*bakery.drivers.__all__}


@pytest.mark.parametrize(
    ("image", "url", "listing", "signature"),
    [
        (
            Ubuntu("noble"),
            "https://cloud-images.ubuntu.com/releases/noble/release/ubuntu-24.04-server-cloudimg-amd64.img",
            "SHA256SUMS",
            "SHA256SUMS.gpg",
        ),
        (
            Ubuntu("24.04", release="20260926", arch="aarch64"),
            "https://cloud-images.ubuntu.com/releases/noble/release-20260926/ubuntu-24.04-server-cloudimg-arm64.img",
            "SHA256SUMS",
            "SHA256SUMS.gpg",
        ),
        (
            Alma("10", release="10.2-20260817.0"),
            ALMA + "AlmaLinux-10-GenericCloud-10.2-20260817.0.x86_64.qcow2",
            "CHECKSUM",
            "CHECKSUM.asc",
        ),
        (
            Rocky("9"),
            "https://dl.rockylinux.org/pub/rocky/9/images/x86_64/Rocky-9-GenericCloud-Base.latest.x86_64.qcow2",
            "CHECKSUM",
            "CHECKSUM.asc",
        ),
        (
            Fedora("44"),
            FEDORA + "Fedora-Cloud-Base-Generic-44-1.7.x86_64.qcow2",
            "Fedora-Cloud-44-1.7-x86_64-CHECKSUM",
            "",
        ),
        (
            Alpine("3.24", firmware="uefi"),
            ALPINE + "generic_alpine-3.24.1-x86_64-uefi-cloudinit-r0.qcow2",
            "generic_alpine-3.24.1-x86_64-uefi-cloudinit-r0.qcow2.sha512",
            "",
        ),
    ],
)
def test_a_name_means_these_files(image: PublishedImage, url: str, listing: str, signature: str) -> None:
    meant = image.image
    assert meant.url == url
    assert meant.checksum == f"{url.rpartition('/')[0]}/{listing}"
    assert meant.signature.rpartition("/")[2] == signature
    signed = bool(signature) or isinstance(image, Fedora)
    assert bool(meant.signed_by) is signed


@pytest.mark.parametrize("cls", CLASSES)
def test_every_version_has_addresses_that_may_be_asked(cls: type[PublishedImage]) -> None:
    for version, known in publishers.table()[cls.publisher].versions.items():
        image = cls(known.alias if known.alias.islower() else version)
        assert image.version == version
        assert not [*image.mistakes()]
        for address in (*image.image.urls, image.image.checksum):
            assert urlsplit(address).scheme == "https"
            assert "{" not in address


def test_the_keys_are_those_whose_fingerprints_are_in_the_table() -> None:
    """An OpenPGP fingerprint of version 4 is the SHA-1 of the key's packet: RFC 9580, section 5.5.4.2."""
    used = {name for table in publishers.table().values() for known in table.versions.values() for name in known.keys}
    assert used == {*publishers.fingerprints()}
    for name, fingerprint in publishers.fingerprints().items():
        key = openpgp.binary(publishers.key_file(name).read_bytes())
        packet = b"\x99" + first_packet(key)
        assert hashlib.sha1(packet, usedforsecurity=False).hexdigest().upper() == fingerprint, name


def first_packet(data: bytes) -> bytes:
    """Its length, in two bytes, and its content; RFC 9580, section 4.2, for packets of 192 to 8383 bytes."""
    if data[0] == 0x99:
        return data[1 : 3 + int.from_bytes(data[1:3], "big")]
    assert data[0] == 0xC6, "a public key with a header of the newer kind"
    size = ((data[1] - 192) << 8) + data[2] + 192
    return size.to_bytes(2, "big") + data[3 : 3 + size]


def test_a_mirror_stands_in_the_publisher_s_place_with_its_own_key_where_it_has_one(tmp_path: Path) -> None:
    image = Alma("10", mirror="https://mirror.example/almalinux/")
    assert image.image.url == (
        "https://mirror.example/almalinux/10/cloud/x86_64/images/AlmaLinux-10-GenericCloud-latest.x86_64.qcow2"
    )
    assert image.image.signed_by == Alma("10").image.signed_by
    own = dataclasses.replace(image, signed_by=str(tmp_path / "key.asc"))
    assert own.image.signed_by == (str(tmp_path / "key.asc"),)
    assert "no file with a public key" in next(own.mistakes()).what


def test_an_image_is_the_one_with_that_address() -> None:
    work = WorkContext(cache=Path("/nowhere"))
    assert isinstance(Rocky("10").image, CloudImage)
    assert Rocky("10").key(work) is None
    assert Rocky(10) == Rocky("10")  # type: ignore[arg-type]  # a number is what people write


@pytest.mark.parametrize(
    ("make", "what", "hint"),
    [
        (lambda: Debian("noble"), "Debian has no suite 'noble'", 'did you mean Ubuntu("noble")?'),
        (lambda: Debian("10"), "Debian has no suite '10'", "did you mean Alma"),
        (lambda: Debian("sarge"), "Debian has no suite 'sarge'", "one of bullseye, bookworm, trixie"),
        (lambda: Ubuntu("bookworm"), "Ubuntu has no version 'bookworm'", 'did you mean DebianCloud("bookworm")?'),
        (lambda: Alma("7"), "Alma has no version '7'", "Alma has 9, 10; for others CloudImage(URL"),
        (lambda: OpenSuse("16.0", release="1"), "keeps no images that stay", "leave out release="),
        (lambda: Ubuntu("noble", release="../x"), "no release", "as in 20260926"),
        (lambda: Ubuntu("noble", arch="riscv64"), "not published", "x86_64, aarch64"),  # type: ignore[arg-type]
        (lambda: Alpine("3.24", arch="aarch64", firmware="bios"), "none for aarch64", "one of uefi"),
    ],
)
def test_what_nobody_publishes_is_refused_with_what_there_is(make: object, what: str, hint: str) -> None:
    assert callable(make)
    with pytest.raises(ImagefileError) as refused:
        make()
    assert what in refused.value.what
    assert hint in refused.value.hint


def test_a_machine_that_cannot_boot_it_is_refused_when_the_file_is_read() -> None:
    assert not [*Qemu(base=Alpine("3.24")).mistakes()]
    assert not [*Qemu(base=Alpine("3.24", firmware="uefi"), firmware="uefi").mistakes()]
    assert not [*Qemu(base=Ubuntu("noble"), firmware="uefi").mistakes()]
    (wrong,) = Qemu(base=Alpine("3.24", firmware="uefi")).mistakes()
    assert (wrong.what, wrong.hint) == ("this image of Alpine does not boot from bios", 'write firmware="uefi"')
    (other,) = Nspawn(base=Fedora("44", arch="aarch64")).mistakes()
    assert "x86_64" in other.what
    (third,) = VirtualBox(base=Alpine("3.24"), firmware="efi").mistakes()
    assert third.what == "this image of Alpine does not boot from uefi"
