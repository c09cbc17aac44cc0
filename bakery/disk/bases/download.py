"""Downloads: resumed where they stopped, from several addresses in order, never believed without their checksum."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import httpx
import tenacity

from bakery.disk.bases.checksum import Checksum
from bakery.disk.bases.following_digest import FollowingDigest
from bakery.errors import PreflightError
from bakery.util.context import WorkContext
from bakery.util.files import write_whole
from bakery.util.sparse_files import TICK, copy_sparse, describe, digest, disk_space, must_fit

LIST_LIMIT = 8 << 20
STEP = 1 << 20
"""Bytes that are written, and hashed, at once where they come quickly."""


class Again(Exception):  # noqa: N818  an instruction to the loop, not an error
    """This address may answer when asked again."""


class DownloadRefused(Exception):  # noqa: N818  what the server did
    """This address will not give the file, however often it is asked."""


class WrongContent(DownloadRefused):
    """It gave something else than the checksum promises."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How often an address is asked again, and after what pauses.

    Args:
        attempts: tries in a row without a new byte, before the next address is used.
        first: seconds of the first pause; doubling, with jitter.
        longest: seconds of the longest pause.
        connect: seconds until a connection must stand.
        read: seconds of silence that end a connection.
    """

    attempts: int = 5
    first: float = 0.5
    longest: float = 15.0
    connect: float = 15.0
    read: float = 30.0


def shown(url: str) -> str:
    """Return an address for messages: without the password and the signature that it may carry."""
    parsed = httpx.URL(url)
    return str(parsed.copy_with(userinfo=b"", query=None, fragment=None)) if parsed.scheme else url


@dataclass(frozen=True, kw_only=True)
class Downloader:
    """Brings files from `http:`, `https:` and `file:` addresses.

    Args:
        work: says how far it is, and can end it.
        patience: how it deals with servers that fail.
        transport: how to reach servers; httpx's own unless said otherwise (tests).
    """

    work: WorkContext
    patience: Patience = field(default_factory=Patience)
    transport: httpx.BaseTransport | None = None

    def fetch(self, urls: Sequence[str], checksum: Checksum, to: Path) -> None:
        """Download into `to`, from the first address that has it; go on where an earlier try stopped.

        `to` appears whole and checked or not at all; what has been received is kept beside it as `NAME.part`.

        Raises:
            PreflightError: no address gave the right content; with what each of them said. Or the disk is full.
            Interrupted: when cancelled; the next call goes on from there.
        """
        part = to.with_name(to.name + ".part")
        reasons: list[str] = []
        wrong = False
        for url in urls:
            try:
                with disk_space(part.parent):
                    self._fetch_checked(url, checksum, part)
            except (Again, DownloadRefused) as error:
                reasons.append(f"{shown(url)}: {error}")
                wrong = wrong or isinstance(error, WrongContent)
                if url != urls[-1]:
                    self.work.notice(f"{shown(url)}: {error}", hint="going on with the next address", warning=True)
                continue
            part.replace(to)
            note_path(part).unlink(missing_ok=True)
            return
        hint = (
            "check the checksum, or whether the address gives a newer file now"
            if wrong
            else "check the address and the network; what was received is kept and used next time"
        )
        what = f"{to.name} is not what its checksum says" if wrong else f"{to.name} cannot be downloaded"
        raise PreflightError(what, why="\n".join(reasons), hint=hint)

    def _fetch_checked(self, url: str, checksum: Checksum, part: Path) -> None:
        """One address: until the part is whole and right, once more from the start if it was resumed and is wrong."""
        while True:
            resumed = part.exists()
            got = self._receive(url, part, checksum.algorithm)
            if got == checksum.digest:
                return
            looks = describe(part)
            part.unlink()
            note_path(part).unlink(missing_ok=True)
            if not resumed:
                raise WrongContent(f"wrong content\nexpected {checksum}\ngot      {checksum.algorithm}:{got}{looks}")
            self.work.notice(f"the earlier part of {part.stem} does not fit; downloading it anew", warning=True)

    def _receive(self, url: str, part: Path, algorithm: str) -> str:
        """Ask one address until the part is whole, and return its digest; each new byte renews the patience."""
        if (local := local_path(url)) is not None:
            self._copy(local, part)
            return digest(part, algorithm, self.work)
        progress = _Progress(part)
        with self.client() as client, FollowingDigest(part, algorithm) as follower:
            retrying = self._retrying(lambda _: progress.fruitless() >= self.patience.attempts, url)
            retrying(self._attempt, client, url, part, follower)
            return follower.result(self.work)

    def _retrying(self, stop: Callable[[tenacity.RetryCallState], bool], url: str) -> tenacity.Retrying:
        limits = self.patience
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Again),
            stop=stop,
            wait=tenacity.wait_exponential(limits.first, limits.longest) + tenacity.wait_random(0, limits.first),
            sleep=self.work.cancel.sleep,
            before_sleep=lambda state: self.work.waiting(
                f"{shown(url)}: {state.outcome and state.outcome.exception()}"
            ),
            reraise=True,
        )

    def _attempt(self, client: httpx.Client, url: str, part: Path, follower: FollowingDigest) -> None:
        with _answers(client, url, _resume_headers(url, part)) as response:
            have = part.stat().st_size if part.exists() else 0
            if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                if response.headers.get("content-range", "").endswith(f"/{have}"):
                    return  # the part was whole already
                follower.wrote(0)
                part.unlink(missing_ok=True)
                raise Again("the server's file is shorter than the part that we have")
            start = _start(response, have)
            follower.wrote(start)
            self._write(url, response, part, start, follower)

    def _write(self, url: str, response: httpx.Response, part: Path, start: int, follower: FollowingDigest) -> None:
        length = int(response.headers.get("content-length", 0))
        total = start + length if length else 0
        must_fit(part.parent, length)
        _remember(url, part, response)
        size, told, last = start, start, 0.0
        with part.open("r+b" if start else "wb", buffering=STEP) as file:
            file.seek(start)
            file.truncate()
            for chunk in response.iter_raw():
                self.work.cancel.check()
                size += file.write(chunk)
                now = time.monotonic()
                if size - told >= STEP or now - last > TICK:
                    file.flush()
                    follower.wrote(size)
                    told = size
                if now - last > TICK:
                    last = now
                    self.work.progress(f"downloading {part.stem}", size, total)
            self.work.progress(f"downloading {part.stem}", size, total)

    def _copy(self, source: Path, part: Path) -> None:
        try:
            file = source.open("rb")
        except OSError as error:
            raise Again(error.strerror or str(error)) from error
        with file, part.open("wb") as out:
            must_fit(part.parent, source.stat().st_size)
            copy_sparse(file, out, self.work, what=f"copying {part.stem}", total=source.stat().st_size)

    def data(self, url: str, etag: str = "") -> tuple[bytes | None, str]:
        """Read a small file, such as a checksum list or a signature.

        Args:
            url: its address.
            etag: what the server called the copy that we have.

        Returns:
            Its content, or None where our copy is still the newest; and the server's name for it.

        Raises:
            PreflightError: it cannot be read.
        """
        try:
            if (local := local_path(url)) is not None:
                return local.read_bytes(), ""
            with self.client() as client:
                return self._retrying(tenacity.stop_after_attempt(self.patience.attempts), url)(
                    _small, client, url, etag
                )
        except (Again, DownloadRefused, OSError) as error:
            hint = "check the address and the network"
            raise PreflightError(f"{shown(url)} cannot be read", why=str(error), hint=hint) from error

    def client(self) -> httpx.Client:
        """Return a client that verifies TLS, follows few redirects, and honours the usual proxy variables."""
        return httpx.Client(
            transport=self.transport,
            follow_redirects=True,
            max_redirects=5,
            timeout=httpx.Timeout(self.patience.read, connect=self.patience.connect),
            headers={"user-agent": "imagebakery", "accept-encoding": "identity"},
        )


class _Progress:
    """Counts tries in a row that brought nothing."""

    def __init__(self, part: Path) -> None:
        self._part, self._size, self._count = part, -1, 0

    def fruitless(self) -> int:
        size = self._part.stat().st_size if self._part.exists() else 0
        self._count = 1 if size > self._size >= 0 else self._count + 1
        self._size = size
        return self._count


@contextmanager
def _answers(client: httpx.Client, url: str, headers: dict[str, str]) -> Generator[httpx.Response]:
    """One request whose refusals are sorted into those worth asking again and those that are final."""
    try:
        with client.stream("GET", url, headers=headers) as response:
            if url.startswith("https:") and response.url.scheme != "https":
                raise DownloadRefused(f"redirects to {shown(str(response.url))}, which is not encrypted")
            code = response.status_code
            if response.is_server_error or code in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT):
                raise Again(f"the server answers {code} {response.reason_phrase}")
            if response.is_client_error and code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise DownloadRefused(f"the server answers {code} {response.reason_phrase}")
            yield response
    except (httpx.TooManyRedirects, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise DownloadRefused(str(error)) from error
    except httpx.HTTPError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise DownloadRefused(f"{error}; SSL_CERT_FILE names another list of authorities") from error
        raise Again(str(error) or type(error).__name__) from error


def _small(client: httpx.Client, url: str, etag: str) -> tuple[bytes | None, str]:
    headers = {"if-none-match": etag} if etag else {}
    with _answers(client, url, headers) as response:
        if response.status_code == HTTPStatus.NOT_MODIFIED:
            return None, etag
        data = bytearray()
        for chunk in response.iter_raw():
            data += chunk
            if len(data) > LIST_LIMIT:
                raise DownloadRefused(f"more than {LIST_LIMIT >> 20} MiB: this is no list of checksums")
        return bytes(data), response.headers.get("etag", "")


def note_path(part: Path) -> Path:
    """Return the file that says what a partial download is a part of."""
    return part.with_name(part.name + ".json")


def _remember(url: str, part: Path, response: httpx.Response) -> None:
    etag = response.headers.get("etag", "")
    validator = etag if etag and not etag.startswith("W/") else response.headers.get("last-modified", "")
    write_whole(note_path(part), json.dumps({"url": shown(url), "validator": validator}))


def _resume_headers(url: str, part: Path) -> dict[str, str]:
    """Ask for the rest, and for all of it should this address's file have changed (`If-Range`).

    Another address goes on where the first one broke: the checksum decides in the end, and a part that does not fit
    is thrown away then.
    """
    if not part.exists() or not part.stat().st_size:
        return {}
    headers = {"range": f"bytes={part.stat().st_size}-"}
    try:
        note = json.loads(note_path(part).read_text())
        is_its_own = note["url"] == shown(url)
        validator = str(note["validator"])
    except (OSError, ValueError, KeyError, TypeError):
        return headers
    if is_its_own and validator:
        headers["if-range"] = validator
    return headers


def _start(response: httpx.Response, have: int) -> int:
    """Return where the answer's bytes belong."""
    if response.status_code != HTTPStatus.PARTIAL_CONTENT:
        return 0
    if not response.headers.get("content-range", "").startswith(f"bytes {have}-"):
        raise Again("the server gave another range than the one we asked for")
    return have


def local_path(url: str) -> Path | None:
    """Return the file behind a `file:` address or an absolute path; None for other addresses."""
    if url.startswith("/"):
        return Path(url)
    parsed = httpx.URL(url)
    return Path(parsed.path) if parsed.scheme == "file" else None
