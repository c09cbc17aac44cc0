"""Downloads against servers that misbehave in every way that we know of."""

import errno
import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from bakery.disk.bases.checksum import Checksum
from bakery.disk.bases.download import Downloader, Patience, shown
from bakery.errors import Interrupted, PreflightError
from bakery.events import Event, Progress
from bakery.util.context import WorkContext
from bakery.util.sparse_files import copy_sparse, disk_space

CONTENT = bytes(range(256)) * 2000
SUM = Checksum("sha256", hashlib.sha256(CONTENT).hexdigest())
QUICK = Patience(attempts=3, first=0.0, longest=0.0)
Answer = Callable[[httpx.Request], httpx.Response]
URL = "https://x.test/disk"


class Broken(httpx.SyncByteStream):
    """A body that ends too early."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __iter__(self) -> Iterator[bytes]:
        yield self._data
        raise httpx.ReadError("connection reset")


def body(data: bytes, code: int = 200, **headers: str) -> httpx.Response:
    """A response whose content has still to be read."""
    shown = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(code, headers={"content-length": str(len(data)), **shown}, stream=httpx.ByteStream(data))


class Server:
    """Answers ranges; `answers` are used up first."""

    def __init__(self, *answers: Answer | int, content: bytes = CONTENT, etag: str = '"one"') -> None:
        self.answers, self.content, self.etag = list(answers), content, etag
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.answers:
            answer = self.answers.pop(0)
            return httpx.Response(answer) if isinstance(answer, int) else answer(request)
        return self.serve(request)

    def serve(self, request: httpx.Request) -> httpx.Response:
        wanted = request.headers.get("range")
        if wanted and request.headers.get("if-range", self.etag) == self.etag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            size = len(self.content)
            if start >= size:
                return httpx.Response(416, headers={"content-range": f"bytes */{size}"})
            return body(self.content[start:], 206, etag=self.etag, content_range=f"bytes {start}-{size - 1}/{size}")
        return body(self.content, etag=self.etag)

    def breaks_after(self, size: int) -> Answer:
        def answer(request: httpx.Request) -> httpx.Response:
            start = int(request.headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
            headers = {"etag": self.etag, "content-length": str(len(self.content) - start)}
            if start:
                headers["content-range"] = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
            body = Broken(self.content[start : start + size])
            return httpx.Response(206 if start else 200, headers=headers, stream=body)

        return answer


class Bench(NamedTuple):
    to: Path
    events: list[Event]
    work: WorkContext

    def fetch(self, server: Answer, *urls: str, patience: Patience = QUICK) -> None:
        loader = Downloader(work=self.work, patience=patience, transport=httpx.MockTransport(server))
        loader.fetch(urls or (URL,), SUM, self.to)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    events: list[Event] = []
    return Bench(tmp_path / "disk", events, WorkContext(cache=tmp_path, emit=events.append))


def told(bench: Bench) -> str:
    return " ".join(str(event) for event in bench.events)


def test_a_file_arrives_whole_and_leaves_nothing_beside_it(bench: Bench) -> None:
    bench.fetch(Server())
    assert bench.to.read_bytes() == CONTENT
    assert [path.name for path in bench.to.parent.iterdir()] == ["disk"]
    done = [event for event in bench.events if isinstance(event, Progress)][-1]
    assert (done.what, done.done, done.total) == ("downloading disk", len(CONTENT), len(CONTENT))


def test_a_broken_download_goes_on_where_it_stopped(bench: Bench) -> None:
    server = Server()
    server.answers = [server.breaks_after(1000), server.breaks_after(500)]
    bench.fetch(server)
    assert bench.to.read_bytes() == CONTENT
    assert [request.headers.get("range") for request in server.requests] == [None, "bytes=1000-", "bytes=1500-"]
    assert server.requests[1].headers["if-range"] == '"one"'


def test_patience_is_renewed_by_every_new_byte(bench: Bench) -> None:
    server = Server()
    server.answers = [server.breaks_after(1000) for _ in range(20)]
    bench.fetch(server)
    assert len(server.requests) == 21


def test_a_file_that_changed_meanwhile_is_loaded_from_the_start(bench: Bench) -> None:
    server = Server()
    other = Server(content=b"old" * 1000, etag='"old"')
    server.answers = [other.breaks_after(900)]
    bench.fetch(server)
    assert bench.to.read_bytes() == CONTENT
    assert server.requests[1].headers["if-range"] == '"old"'


def test_a_killed_download_is_resumed_by_the_next_process(bench: Bench) -> None:
    server = Server()
    server.answers = [server.breaks_after(1000), 503, 503, 503]
    with pytest.raises(PreflightError, match="disk cannot be downloaded"):
        bench.fetch(server)
    assert not bench.to.exists()
    bench.fetch(server)
    assert server.requests[-1].headers["range"] == "bytes=1000-"


def test_a_part_that_is_whole_already_is_only_checked(bench: Bench) -> None:
    bench.to.with_name("disk.part").write_bytes(CONTENT)
    server = Server()
    bench.fetch(server)
    assert bench.to.read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_part_that_does_not_fit_is_thrown_away_once(bench: Bench) -> None:
    bench.to.with_name("disk.part").write_bytes(b"rubbish")
    bench.fetch(Server())
    assert bench.to.read_bytes() == CONTENT
    assert "does not fit" in told(bench)


def test_a_part_longer_than_the_file_is_thrown_away(bench: Bench) -> None:
    bench.to.with_name("disk.part").write_bytes(CONTENT + b"more")
    bench.fetch(Server())
    assert bench.to.read_bytes() == CONTENT


def test_a_second_address_goes_on_where_the_first_one_broke(bench: Bench) -> None:
    good = Server()
    bad = Server(good.breaks_after(1000), 503, 503, 503)

    def both(request: httpx.Request) -> httpx.Response:
        return (bad if request.url.host == "one.test" else good)(request)

    bench.fetch(both, "https://one.test/disk", "https://two.test/disk")
    assert bench.to.read_bytes() == CONTENT
    assert good.requests[0].headers["range"] == "bytes=1000-"
    assert "one.test/disk: the server answers 503 Service Unavailable" in told(bench)


def test_the_wrong_content_shows_expected_and_got_and_leaves_nothing(bench: Bench) -> None:
    with pytest.raises(PreflightError) as caught:
        bench.fetch(Server(content=b"<!DOCTYPE html><title>Log in"))
    why = caught.value.why
    assert f"expected {SUM}" in why
    assert f"got      sha256:{hashlib.sha256(b'<!DOCTYPE html><title>Log in').hexdigest()}" in why
    assert "it is a web page" in why
    assert list(bench.to.parent.glob("disk*")) == []


def test_the_wrong_content_from_one_address_leads_to_the_next(bench: Bench) -> None:
    good, bad = Server(), Server(content=b"wrong")
    bench.fetch(lambda r: (bad if r.url.host == "one.test" else good)(r), "https://one.test/d", "https://two.test/d")
    assert bench.to.read_bytes() == CONTENT


def test_server_errors_are_asked_again_and_client_errors_are_not(bench: Bench) -> None:
    flaky = Server(503, 502)
    bench.fetch(flaky)
    assert len(flaky.requests) == 3
    bench.to.unlink()
    gone = Server(404, 404)
    with pytest.raises(PreflightError, match="404 Not Found"):
        bench.fetch(gone)
    assert len(gone.requests) == 1


def test_a_connection_that_is_refused_is_asked_again(bench: Bench) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Connection refused")

    server = Server(refuse, refuse)
    bench.fetch(server)
    assert len(server.requests) == 3
    assert "Connection refused" in told(bench)


def test_a_certificate_that_is_not_trusted_is_final(bench: Bench) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate")

    server = Server(refuse)
    with pytest.raises(PreflightError, match="SSL_CERT_FILE"):
        bench.fetch(server)
    assert len(server.requests) == 1


def test_redirects_are_followed_but_not_for_ever_and_never_out_of_tls(bench: Bench) -> None:
    def to(address: str) -> Answer:
        return lambda _: httpx.Response(302, headers={"location": address})

    bench.fetch(Server(to("https://mirror.test/disk")))
    bench.to.unlink()
    with pytest.raises(PreflightError, match="redirects"):
        bench.fetch(Server(*[to(URL)] * 9))
    with pytest.raises(PreflightError, match="not encrypted"):
        bench.fetch(Server(to("http://mirror.test/disk")))


def test_cancelling_ends_it_and_keeps_what_there_is(bench: Bench) -> None:
    def cancelling(request: httpx.Request) -> httpx.Response:
        bench.work.cancel.set("Ctrl-C")
        return body(CONTENT)

    with pytest.raises(Interrupted, match="Ctrl-C"):
        bench.fetch(cancelling)
    assert not bench.to.exists()


def test_a_file_that_cannot_fit_is_not_even_begun(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(PreflightError, match="too full") as caught:
        bench.fetch(Server())
    assert "BAKERY_CACHE_DIR" in caught.value.hint


def test_a_disk_that_fills_up_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match=f"the disk under {tmp_path} is full"), disk_space(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(PermissionError), disk_space(tmp_path):
        raise PermissionError


def test_local_files_are_copied(bench: Bench, tmp_path: Path) -> None:
    source = tmp_path / "my disk"
    source.write_bytes(CONTENT)
    bench.fetch(Server(), source.as_uri())
    assert bench.to.read_bytes() == CONTENT
    bench.to.unlink()
    with pytest.raises(PreflightError, match="No such file"):
        bench.fetch(Server(), str(tmp_path / "other"))


def test_zeros_become_holes(tmp_path: Path) -> None:
    content = b"a" + bytes(8 << 20) + b"b" + bytes(4 << 20)
    (tmp_path / "in").write_bytes(content)
    with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("wb") as out:
        copy_sparse(source, out, WorkContext(cache=tmp_path), what="copying")
    assert (tmp_path / "out").read_bytes() == content
    assert (tmp_path / "out").stat().st_blocks * 512 < 4 << 20


def test_passwords_and_signatures_in_addresses_are_not_shown() -> None:
    assert shown("https://me:secret@x.test/disk?signature=abc") == "https://x.test/disk"


def test_a_text_is_read_and_not_read_again_while_it_is_the_same(bench: Bench) -> None:
    server = Server(503, lambda _: body(b"abc", etag='"1"'), 304, 404)
    loader = Downloader(work=bench.work, patience=QUICK, transport=httpx.MockTransport(server))
    assert loader.data(URL) == (b"abc", '"1"')
    assert loader.data(URL, '"1"') == (None, '"1"')
    assert server.requests[-1].headers["if-none-match"] == '"1"'
    with pytest.raises(PreflightError, match=r"https://x.test/disk cannot be read"):
        loader.data(URL)
