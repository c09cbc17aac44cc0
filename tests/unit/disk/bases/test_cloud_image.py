"""`CloudImage`: what is in the cache, what is asked for, what is refused."""

import bz2
import gzip
import hashlib
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from bakery.disk.bases.cloud_image import CloudImage
from bakery.disk.bases.download import Downloader, Patience
from bakery.errors import PreflightError
from bakery.events import Event, Notice
from bakery.model import to_json
from bakery.util.context import WorkContext

QCOW2 = b"QFI\xfb" + (3).to_bytes(4, "big") + bytes(1000) + b"content"
RAW = bytes(510) + b"\x55\xaa" + bytes(3 << 20) + b"content"
URL = "https://x.test/images/disk.qcow2"


def sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Web:
    """A folder on the net."""

    def __init__(self, tmp_path: Path, files: dict[str, bytes]) -> None:
        self.files, self.asked = files, list[str]()
        self.events: list[Event] = []
        self.work = WorkContext(cache=tmp_path / "cache", emit=self.events.append)
        self.offline = WorkContext(cache=tmp_path / "cache", emit=self.events.append, offline=True)
        self.loader = Downloader(
            work=self.work, patience=Patience(attempts=2, first=0, longest=0), transport=httpx.MockTransport(self)
        )

    def __call__(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.rsplit("/", 1)[-1]
        self.asked.append(name)
        if name not in self.files:
            return httpx.Response(404)
        data = self.files[name]
        return httpx.Response(200, headers={"content-length": str(len(data))}, stream=httpx.ByteStream(data))

    @property
    def notices(self) -> str:
        return "\n".join(event.message for event in self.events if isinstance(event, Notice))


@pytest.fixture
def web(tmp_path: Path) -> Callable[..., Web]:
    return lambda **files: Web(tmp_path, {name.replace("_", "."): data for name, data in files.items()})


MakeWeb = Callable[..., Web]


def test_an_image_is_downloaded_once(web: MakeWeb) -> None:
    net = web(disk_qcow2=QCOW2)
    image = CloudImage(URL, sha(QCOW2))
    first = image.fetch(net.work, net.loader)
    assert (first.format, first.key, first.login) == ("qcow2", sha(QCOW2), "nocloud")
    assert first.path.read_bytes() == QCOW2
    assert image.fetch(net.work, net.loader) == first
    assert net.asked == ["disk.qcow2"]
    assert image.key(net.work) == sha(QCOW2)


def test_a_checksum_list_is_asked_once_an_hour(web: MakeWeb) -> None:
    net = web(disk_qcow2=QCOW2, SUMS=f"{sha(QCOW2)[7:]}  disk.qcow2\n".encode())
    image = CloudImage(URL, "https://x.test/SUMS")
    assert image.key(net.work) is None
    assert image.fetch(net.work, net.loader).key == sha(QCOW2)
    assert image.key(net.work) == sha(QCOW2)
    image.fetch(net.work, net.loader)
    assert net.asked == ["SUMS", "disk.qcow2"]
    age_list(net)
    assert image.key(net.work) is None
    image.fetch(net.work, net.loader)
    assert net.asked == ["SUMS", "disk.qcow2", "SUMS"]


def age_list(net: Web) -> None:
    (listing,) = (net.work.cache / "downloads" / "lists").glob("*.json")
    data = json.loads(listing.read_text())
    listing.write_text(json.dumps({**data, "time": data["time"] - 4000}))


def test_an_image_that_was_republished_is_downloaded_anew(web: MakeWeb) -> None:
    net = web(disk_qcow2=QCOW2, SUMS=f"{sha(QCOW2)[7:]}  disk.qcow2\n".encode())
    image = CloudImage(URL, "https://x.test/SUMS")
    image.fetch(net.work, net.loader)
    newer = QCOW2 + b"newer"
    net.files = {"disk.qcow2": newer, "SUMS": f"{sha(newer)[7:]}  disk.qcow2\n".encode()}
    age_list(net)
    assert image.fetch(net.work, net.loader).key == sha(newer)


def test_an_old_list_serves_while_its_server_is_down_and_says_so(web: MakeWeb) -> None:
    net = web(disk_qcow2=QCOW2, SUMS=f"{sha(QCOW2)[7:]}  disk.qcow2\n".encode())
    image = CloudImage(URL, "https://x.test/SUMS")
    image.fetch(net.work, net.loader)
    del net.files["SUMS"]
    age_list(net)
    assert image.fetch(net.work, net.loader).key == sha(QCOW2)
    assert "using the copy of" in net.notices


def test_offline_says_what_is_missing_and_where_to_put_it(web: MakeWeb) -> None:
    net = web()
    image = CloudImage(URL, sha(QCOW2))
    with pytest.raises(PreflightError) as caught:
        image.disk(net.offline)
    assert sha(QCOW2) in caught.value.why
    place = Path(caught.value.hint.removeprefix("put the file at ").split(",")[0])
    place.write_bytes(QCOW2)
    assert image.disk(net.offline).path == place


def test_a_wrong_file_put_there_by_hand_is_refused(web: MakeWeb) -> None:
    net = web()
    image = CloudImage(URL, sha(QCOW2))
    place = net.work.cache / "downloads" / sha(QCOW2).replace(":", "-") / "disk.qcow2"
    place.parent.mkdir(parents=True)
    place.write_bytes(QCOW2 + b"x")
    with pytest.raises(PreflightError, match="is not in the cache"):
        image.disk(net.offline)
    assert sha(QCOW2 + b"x") in net.notices


def test_offline_a_list_that_was_never_read_is_named(web: MakeWeb) -> None:
    with pytest.raises(PreflightError, match=r"the checksum list https://x\.test/SUMS is not in the cache"):
        CloudImage(URL, "https://x.test/SUMS").disk(web().offline)


def flip(path: Path, *, keep_date: bool = False) -> None:
    info = path.stat()
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[600] ^= 1
    path.write_bytes(data)
    if keep_date:
        os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


@pytest.mark.parametrize("keep_date", [False, True], ids=["plainly", "with-its-date-set-back"])
def test_a_flipped_byte_is_noticed_and_repaired(web: MakeWeb, keep_date: bool) -> None:
    net = web(disk_qcow2=QCOW2)
    image = CloudImage(URL, sha(QCOW2))
    path = image.fetch(net.work, net.loader).path
    flip(path, keep_date=keep_date)
    assert image.fetch(net.work, net.loader).path.read_bytes() == QCOW2
    assert "was changed or damaged" in net.notices
    assert net.asked == ["disk.qcow2"] * 2


def test_verify_reads_it_all(web: MakeWeb) -> None:
    net = web(disk_qcow2=QCOW2)
    image = CloudImage(URL, sha(QCOW2))
    assert not image.verify(net.work)
    path = image.fetch(net.work, net.loader).path
    assert image.verify(net.work)
    flip(path)
    assert not image.verify(net.work)
    assert not path.exists()


def test_a_file_whose_date_alone_changed_is_read_once_and_good(web: MakeWeb) -> None:
    net = web(disk_qcow2=QCOW2)
    image = CloudImage(URL, sha(QCOW2))
    image.fetch(net.work, net.loader).path.touch()
    image.fetch(net.work, net.loader)
    assert net.asked == ["disk.qcow2"]
    assert net.notices == ""


@pytest.mark.parametrize(
    ("ending", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)], ids=["gz", "bz2", "xz"]
)
def test_packed_images_are_unpacked_sparsely(web: MakeWeb, ending: str, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(RAW)
    net = web(**{f"disk_raw_{ending}": packed})
    image = CloudImage(f"https://x.test/disk.raw.{ending}", sha(packed))
    disk = image.fetch(net.work, net.loader)
    assert (disk.format, disk.key, disk.path.name) == ("raw", sha(packed), "disk.raw")
    assert disk.path.read_bytes() == RAW
    assert disk.path.stat().st_blocks * 512 < len(RAW)
    image.fetch(net.work, net.loader)
    flip(disk.path)
    assert image.fetch(net.work, net.loader).path.read_bytes() == RAW
    assert len(net.asked) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a text", "no disk image"),
        (b"QFI\xfb" + (3).to_bytes(4, "big") + (64).to_bytes(8, "big") + bytes(500), "stands on another file"),
        (b"QFI\xfb" + (3).to_bytes(4, "big") + bytes(71) + b"\x04" + bytes(500), "stands on another file"),
    ],
    ids=["text", "backing", "data-file"],
)
def test_files_that_are_no_disks_are_refused(web: MakeWeb, content: bytes, message: str) -> None:
    net = web(disk_qcow2=content)
    with pytest.raises(PreflightError, match=message):
        CloudImage(URL, sha(content)).fetch(net.work, net.loader)


def test_local_files_with_a_local_list(tmp_path: Path, web: MakeWeb) -> None:
    (tmp_path / "disk.qcow2").write_bytes(QCOW2)
    (tmp_path / "SUMS").write_text(f"{sha(QCOW2)[7:]}  disk.qcow2\n")
    image = CloudImage(str(tmp_path / "disk.qcow2"), str(tmp_path / "SUMS"))
    assert list(image.check()) == []
    assert image.key(web().work) == sha(QCOW2)
    assert image.disk(web().work).path.read_bytes() == QCOW2


@pytest.mark.parametrize(
    ("image", "what"),
    [
        (CloudImage((), sha(b"")), "CloudImage has no address"),
        (CloudImage("ftp://x/disk", sha(b"")), "'ftp://x/disk' is no address that can be downloaded"),
        (CloudImage("/no/such/disk", sha(b"")), "there is no file /no/such/disk"),
        (CloudImage(URL, "md5:abc"), "'md5:abc' is no checksum"),
    ],
    ids=["none", "ftp", "missing", "md5"],
)
def test_mistakes_are_found_without_asking_anybody(image: CloudImage, what: str) -> None:
    assert [problem.what for problem in image.check()] == [what]


def test_an_image_is_plain_data() -> None:
    image = CloudImage([URL, "https://y.test/z"], sha(b""))
    assert image == CloudImage((URL, "https://y.test/z"), sha(b""))
    assert hash(image) == hash(CloudImage((URL, "https://y.test/z"), sha(b"")))
    assert to_json(image) == {
        "type": "CloudImage",
        "url": [URL, "https://y.test/z"],
        "checksum": sha(b""),
        "name": "",
        "login": "nocloud",
        "signed_by": [],
        "signature": "",
    }
