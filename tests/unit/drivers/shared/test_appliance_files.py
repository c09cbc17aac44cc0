"""Appliances are found, compared with their checksums, and downloaded once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bakery.disk.bases.download import Downloader
from bakery.drivers.shared import appliance_files
from bakery.drivers.shared.appliance import Appliance
from bakery.errors import PreflightError
from bakery.util.context import WorkContext
from tests.unit.drivers.virtualbox.test_virtualbox_check import OVF

OVA = b"an appliance"
SHA256 = hashlib.sha256(OVA).hexdigest()
ADDRESS = "https://example.com/web.ova"


@pytest.fixture
def work(tmp_path: Path) -> WorkContext:
    return WorkContext(cache=tmp_path)


def test_a_file_is_compared_with_its_checksum_where_there_is_one(tmp_path: Path, work: WorkContext) -> None:
    path = tmp_path / "web.ova"
    with pytest.raises(PreflightError, match="there is no appliance"):
        appliance_files.local_file(Appliance(str(path)), work)
    path.write_bytes(OVA)
    for sha256 in ("", SHA256):
        assert appliance_files.local_file(Appliance(str(path), sha256), work) == path
        assert appliance_files.content_key(Appliance(str(path), sha256), work) == SHA256
    with pytest.raises(PreflightError, match="not the one that was meant"):
        appliance_files.local_file(Appliance(str(path), "0" * 64), work)


def test_the_key_of_an_ovf_is_that_of_all_its_files(tmp_path: Path, work: WorkContext) -> None:
    (tmp_path / "web.ovf").write_text(OVF.format(version="2"), encoding="utf-8")
    disk, wanted = tmp_path / "web-disk001.vmdk", Appliance(str(tmp_path / "web.ovf"))
    with pytest.raises(PreflightError, match="not whole"):
        appliance_files.content_key(wanted, work)
    disk.write_bytes(b"one")
    first = appliance_files.content_key(wanted, work)
    assert appliance_files.content_key(wanted, work) == first
    disk.write_bytes(b"two")
    assert appliance_files.content_key(wanted, work) != first


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were downloaded from."""
    addresses: list[str] = []

    def fetch(self: Downloader, urls: Sequence[str], checksum: Any, to: Path) -> None:
        del self, checksum
        addresses.extend(urls)
        to.write_bytes(OVA)

    monkeypatch.setattr(Downloader, "fetch", fetch)
    return addresses


def test_an_address_is_downloaded_once_for_all_builds(work: WorkContext, fetched: list[str]) -> None:
    for _ in range(2):
        path = appliance_files.local_file(Appliance(ADDRESS, SHA256), work)
    assert path.read_bytes() == OVA
    assert path.is_relative_to(work.cache)
    assert fetched == [ADDRESS]
    assert appliance_files.content_key(Appliance(ADDRESS, SHA256), work) == SHA256


def test_a_download_that_was_damaged_since_is_downloaded_again(work: WorkContext, fetched: list[str]) -> None:
    path = appliance_files.local_file(Appliance(ADDRESS, SHA256), work)
    path.chmod(0o644)
    path.write_bytes(b"cut")
    assert appliance_files.local_file(Appliance(ADDRESS, SHA256), work).read_bytes() == OVA
    assert len(fetched) == 2


def test_nothing_is_downloaded_offline(tmp_path: Path, fetched: list[str]) -> None:
    with pytest.raises(PreflightError, match="not in the cache"):
        appliance_files.local_file(Appliance(ADDRESS, SHA256), WorkContext(cache=tmp_path, offline=True))
    assert fetched == []
