"""Cloud images by name, from a server like those of their publishers. The publishers themselves were not asked."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bakery.disk.bases import checksum_list
from bakery.disk.bases.cloud_image import CloudImage
from bakery.disk.bases.named_images import PublishedImage
from bakery.drivers import Alma, Alpine, CentOSStream, DebianCloud, Fedora, OpenSuse, Rocky, Ubuntu
from bakery.errors import PreflightError
from bakery.events import Event, Notice
from bakery.util.context import WorkContext
from tests.live.publisher import CONTENT, PublishersServer, SigningKey, bsd, gnu, serving

pytestmark = pytest.mark.live
FILE = "noble.img"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SigningKey]:
    made = SigningKey(tmp_path_factory.mktemp("gnupg") / "publisher")
    yield made
    made.end()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PublishersServer]:
    with serving(tmp_path) as made:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        monkeypatch.setattr(checksum_list, "AGAIN", 0.1)
        yield made


@pytest.fixture
def work(tmp_path: Path) -> WorkContext:
    events: list[Event] = []
    return WorkContext(cache=tmp_path / "cache", emit=events.append)


@pytest.mark.parametrize(
    "cls_and_version",
    [
        (Ubuntu, "noble"),
        pytest.param((Alma, "10"), marks=pytest.mark.all),
        pytest.param((Rocky, "10"), marks=pytest.mark.all),
        (Fedora, "44"),
        pytest.param((CentOSStream, "10"), marks=pytest.mark.all),
        pytest.param((OpenSuse, "16.0"), marks=pytest.mark.all),
        (Alpine, "3.24"),
        pytest.param((DebianCloud, "trixie"), marks=pytest.mark.all),
    ],
    ids=lambda given: given[0].__name__,
)
def test_an_image_is_found_by_its_name_and_kept(
    cls_and_version: tuple[type[PublishedImage], str], server: PublishersServer, key: SigningKey, work: WorkContext
) -> None:
    cls, version = cls_and_version
    named = cls(version, mirror=server.address, signed_by=str(key.public))
    image = named.image
    name = image.file_name
    fedoras = cls in (Fedora, Rocky, CentOSStream)
    listing = bsd(name, CONTENT) if fedoras else gnu(name, CONTENT)
    if cls is Alpine:  # a digest and nothing else
        listing = hashlib.sha512(CONTENT).hexdigest().encode() + b"\n"
    server.put(image.urls[0], CONTENT)
    server.put(image.checksum, key.around(listing) if cls is Fedora else listing)
    if image.signature:
        server.put(image.signature, key.detached(listing))
    disk = named.disk(work)
    assert (disk.path.read_bytes(), disk.format, disk.login) == (CONTENT, "qcow2", "nocloud")
    assert named.key(work) == disk.key
    server.asked.clear()
    assert named.disk(WorkContext(cache=work.cache, offline=True)) == disk
    assert not server.asked


def signed_image(server: PublishersServer, key: SigningKey) -> CloudImage:
    return CloudImage(
        f"{server.address}/{FILE}",
        f"{server.address}/SHA256SUMS",
        signature=f"{server.address}/SHA256SUMS.gpg",
        signed_by=str(key.public),
    )


def test_a_list_that_somebody_changed_is_refused_and_nothing_is_downloaded(
    server: PublishersServer, key: SigningKey, work: WorkContext
) -> None:
    server.put(FILE, b"QFI\xfbevil")
    server.put("SHA256SUMS", gnu(FILE, b"QFI\xfbevil"))
    server.put("SHA256SUMS.gpg", key.detached(gnu(FILE, CONTENT)))
    with pytest.raises(PreflightError, match="is not signed as it must be") as refused:
        signed_image(server, key).disk(work)
    assert "changed after it was signed" in refused.value.why
    assert FILE not in server.asked


def test_somebody_else_s_signature_does_not_count(
    server: PublishersServer, key: SigningKey, work: WorkContext, tmp_path: Path
) -> None:
    other = SigningKey(tmp_path / "somebody")
    try:
        server.put(FILE, CONTENT)
        server.put("SHA256SUMS", gnu(FILE, CONTENT))
        server.put("SHA256SUMS.gpg", other.detached(gnu(FILE, CONTENT)))
        with pytest.raises(PreflightError, match="not among those expected"):
            signed_image(server, key).disk(work)
        both = CloudImage(
            f"{server.address}/{FILE}",
            f"{server.address}/SHA256SUMS",
            signature=f"{server.address}/SHA256SUMS.gpg",
            signed_by=(str(key.public), str(other.public)),
        )
        assert both.disk(work).path.read_bytes() == CONTENT
    finally:
        other.end()


def test_a_copy_that_nobody_signed_is_not_used_for_an_image_that_must_be_signed(
    server: PublishersServer, key: SigningKey, work: WorkContext
) -> None:
    server.put(FILE, CONTENT)
    server.put("SHA256SUMS", gnu(FILE, CONTENT))
    CloudImage(f"{server.address}/{FILE}", f"{server.address}/SHA256SUMS").disk(work)
    with pytest.raises(PreflightError, match=r"SHA256SUMS\.gpg cannot be read"):
        signed_image(server, key).disk(work)


def test_what_stands_before_a_signed_text_is_not_read(
    server: PublishersServer, key: SigningKey, work: WorkContext
) -> None:
    evil = b"QFI\xfbevil"
    server.put(FILE, evil)
    server.put("CHECKSUM", bsd(FILE, evil) + b"\n" + key.around(bsd("other.img", CONTENT)))
    image = CloudImage(f"{server.address}/{FILE}", f"{server.address}/CHECKSUM", signed_by=str(key.public))
    with pytest.raises(PreflightError, match=f"has no entry for {FILE}"):
        image.disk(work)
    server.put("CHECKSUM", bsd(FILE, evil))
    with pytest.raises(PreflightError, match="there is no signature"):
        image.disk(work)


def test_a_list_that_is_replaced_while_it_is_read_is_asked_for_once_more(
    server: PublishersServer, key: SigningKey, work: WorkContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put(FILE, CONTENT)
    server.put("SHA256SUMS", gnu(FILE, b"older"))
    server.put("SHA256SUMS.gpg", key.detached(gnu(FILE, CONTENT)))
    sleep = work.cancel.sleep

    def meanwhile(seconds: float) -> None:
        server.put("SHA256SUMS", gnu(FILE, CONTENT))
        sleep(seconds)

    monkeypatch.setattr(work.cancel, "sleep", meanwhile)
    assert signed_image(server, key).disk(work).path.read_bytes() == CONTENT
    assert server.asked.count("SHA256SUMS") == 2


@pytest.mark.all
def test_an_expired_key_is_refused(server: PublishersServer, work: WorkContext, tmp_path: Path) -> None:
    old = SigningKey(tmp_path / "old", expires="seconds=2")
    try:
        server.put(FILE, CONTENT)
        server.put("SHA256SUMS", gnu(FILE, CONTENT))
        server.put("SHA256SUMS.gpg", old.detached(gnu(FILE, CONTENT)))
        time.sleep(3)
        with pytest.raises(PreflightError, match="expired"):
            signed_image(server, old).disk(work)
    finally:
        old.end()


def test_a_publisher_that_cannot_be_reached_leaves_the_copy_of_the_list(
    server: PublishersServer, key: SigningKey, tmp_path: Path
) -> None:
    events: list[Event] = []
    work = WorkContext(cache=tmp_path / "cache", emit=events.append)
    server.put(FILE, CONTENT)
    server.put("SHA256SUMS", gnu(FILE, CONTENT))
    server.put("SHA256SUMS.gpg", key.detached(gnu(FILE, CONTENT)))
    image = signed_image(server, key)
    disk = image.disk(work)
    (server.folder / "SHA256SUMS").unlink()
    (copy,) = (work.cache / "downloads" / "lists").glob("*.json")
    copy.write_text(copy.read_text().replace('"time": ', '"time": 1e9, "was": '))
    assert image.disk(work) == disk
    assert any("using the copy of" in event.message for event in events if isinstance(event, Notice))


def test_the_table_is_refreshed_from_what_publishers_have_signed(
    server: PublishersServer, key: SigningKey, tmp_path: Path
) -> None:
    table = tmp_path / "publishers.toml"
    table.write_text((Path(checksum_list.__file__).parent / "publishers.toml").read_text())
    fedora = f"{server.address}/44/Cloud/x86_64/images/"
    server.put(f"{fedora}Fedora-Cloud-44-1.9-x86_64-CHECKSUM", key.around(bsd("x", b"")))
    server.put(f"{fedora}Fedora-Cloud-44-1.7-x86_64-CHECKSUM", key.around(bsd("x", b"")))
    cloud = f"{server.address}/v3.24/releases/cloud/"
    for point in ("3.24.1", "3.24.9", "3.24.10"):
        server.put(f"{cloud}generic_alpine-{point}-x86_64-bios-cloudinit-r0.qcow2.sha512", b"00")
    words = [sys.executable, "tools/refresh-cloud-images", "--table", str(table)]
    for name in ("fedora", "alpine"):
        words += ["--root", f"{name}={server.address}"]
    done = subprocess.run([*words, "fedora", "alpine"], capture_output=True, text=True, check=False)
    assert "3.24: 3.24.1 -> 3.24.10" in done.stdout, done.stderr
    assert "44: 1.7 -> 1.9" in done.stdout
    assert '"44" = { release = "1.9", keys' in table.read_text()
    assert '"3.24" = { release = "3.24.10" }' in table.read_text()
    assert urlsplit(server.address).port
    assert done.returncode == 4, "the other versions could not be asked, which is said and shown by the exit code"
    assert "43: " in done.stderr
