"""`CloudImage`: a first disk that somebody else made and published."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote, urlsplit

from bakery.disk.bases import checksum as sums
from bakery.disk.bases import disk_file, openpgp
from bakery.disk.bases.base import Base, BaseDisk
from bakery.disk.bases.checksum import Checksum
from bakery.disk.bases.checksum_list import ChecksumList
from bakery.errors import PreflightError
from bakery.model import Problem
from bakery.util.context import WorkContext
from bakery.util.lock import hold
from bakery.util.sparse_files import digest
from bakery.util.tools import missing

if TYPE_CHECKING:
    from bakery.disk.bases.download import Downloader


@dataclass(frozen=True)
class CloudImage(Base):
    """Any qcow2 or raw disk image that takes its keys from cloud-init; also packed with gzip, bzip2, xz or zstd.

    It is downloaded once, checked, and kept in the shared cache; nothing ever writes to it.

    Args:
        url: where it is: `https:`, `http:` or `file:`; several are tried in order.
        checksum: `sha256:...` (or sha384, sha512) of the file as it is downloaded, or the address of a list of
            checksums in which the file is found by its name. A list is asked again when our copy is an hour old: an
            image that was republished is then downloaded, and all steps run again.
        name: the file's name, where the address does not end with it.
        login: how the system inside takes keys: `nocloud` (cloud-init) or `credentials` (systemd 252 or newer).
        signed_by: files with OpenPGP public keys, armored or binary; one of them must have signed the list.
        signature: the address of the list's detached signature (SHA256SUMS.gpg); empty where it is around the list.
    """

    url: str | Sequence[str]
    checksum: str
    name: str = field(default="", kw_only=True)
    login: Literal["nocloud", "credentials"] = field(default="nocloud", kw_only=True)
    signed_by: Sequence[str] = field(default=(), kw_only=True)
    signature: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        """Keep several addresses as a tuple, so that equal images compare and hash equal."""
        if not isinstance(self.url, str):
            object.__setattr__(self, "url", tuple(self.url))
        keys = (self.signed_by,) if isinstance(self.signed_by, str) else tuple(map(str, self.signed_by))
        object.__setattr__(self, "signed_by", keys)

    @property
    def urls(self) -> tuple[str, ...]:
        """The addresses, in the order in which they are tried."""
        return (self.url,) if isinstance(self.url, str) else tuple(self.url)

    @property
    def file_name(self) -> str:
        """What the file is called as it is downloaded."""
        path = PurePosixPath(unquote(urlsplit(self.urls[0]).path)) if self.urls else PurePosixPath()
        return PurePosixPath(self.name).name or path.name or "disk"

    def check(self) -> Iterator[Problem]:
        """Yield what is wrong with the addresses and the checksum, and what this host lacks; nothing is contacted."""
        yield from self.mistakes()
        if self.signed_by:
            yield from missing(openpgp.PACKAGES)
        yield from disk_file.check_unpacker(self.file_name)

    def mistakes(self) -> Iterator[Problem]:
        """Yield what is wrong with the addresses and the checksum."""
        if not self.urls:
            yield Problem(what="CloudImage has no address", hint='CloudImage("https://...", checksum="sha256:...")')
        listed = sums.is_address(self.checksum)
        for address in (*self.urls, *((self.checksum,) if listed else ()), *filter(None, (self.signature,))):
            yield from _check_address(address)
        if (self.signed_by or self.signature) and not listed:
            yield Problem(
                what="a checksum that is written down needs no signature",
                hint="leave out signed_by= and signature=, or give the address of a signed list as checksum",
            )
        elif self.signature and not self.signed_by:
            yield Problem(what="signature= without signed_by=: whose?", hint='signed_by="KEY.asc" names the public key')
        yield from openpgp.mistakes(self.signed_by)
        if not listed:
            try:
                sums.parse(self.checksum)
            except PreflightError as error:
                yield Problem(what=error.what, why=error.why, hint=error.hint)

    def key(self, work: WorkContext) -> str | None:
        """Return the checksum, if it is known without asking anybody."""
        if not sums.is_address(self.checksum):
            return str(sums.parse(self.checksum))
        listing = self._list(work)
        if (text := listing.read_local()) is not None:
            return str(self._find(text))
        checksum = self._remembered(listing, work)
        return str(checksum) if checksum else None

    def disk(self, work: WorkContext) -> BaseDisk:
        """Find it in the cache, or download it.

        Raises:
            PreflightError: it cannot be had, has the wrong content, or is no disk image.
            Interrupted: when cancelled; the next download goes on from there.
        """
        return self.fetch(work)

    def fetch(self, work: WorkContext, downloader: Downloader | None = None) -> BaseDisk:
        """Do the same with a downloader of your own: another patience, another way to servers."""
        expected = self._expected(work, downloader)
        path = self._path(work, expected)
        with hold(path.parent / "lock", what=f"another bake is downloading {self.file_name}", work=work):
            if not self._usable(path, work):
                self._bring(expected, path, work, downloader)
        return BaseDisk(path=path, format=disk_file.detect(path), key=str(expected), login=self.login)

    def verify(self, work: WorkContext) -> bool:
        """Read the whole cached file and say whether it is still what was downloaded.

        A damaged file is dropped, with a notice; the next build downloads it again.
        """
        path = self._path(work, self._expected(work, None))
        with hold(path.parent / "lock", what=f"another bake is downloading {self.file_name}", work=work):
            return self._usable(path, work, thorough=True)

    def _path(self, work: WorkContext, expected: Checksum) -> Path:
        return work.cache / "downloads" / expected.folder / disk_file.unpacked_name(self.file_name)

    def _usable(self, path: Path, work: WorkContext, *, thorough: bool = False) -> bool:
        if not disk_file.recorded(path):
            return False
        if disk_file.intact(path, work, thorough=thorough):
            return True
        hint = "" if work.offline else "downloading it again"
        work.notice(f"{path} was changed or damaged after it was checked", hint=hint, warning=True)
        disk_file.drop(path)
        return False

    def _bring(self, expected: Checksum, path: Path, work: WorkContext, downloader: Downloader | None) -> None:
        packed = path.with_name(self.file_name)
        if not self._given(packed, expected, work):
            if work.offline:
                raise PreflightError(
                    f"{self.file_name} is not in the cache, and downloading is switched off",
                    why=f"it must have the checksum {expected}",
                    hint=f"put the file at {packed}, or build once without offline mode",
                )
            _downloader(work, downloader).fetch(self.urls, expected, packed)
        disk_file.unpack(packed, path, work)
        disk_file.detect(path)
        disk_file.record(path, work, known=expected if packed == path else None)

    def _given(self, packed: Path, expected: Checksum, work: WorkContext) -> bool:
        """Look for a file that was put there by hand, or by a bake that died before it was done, and check it."""
        if not packed.exists():
            return False
        if (got := digest(packed, expected.algorithm, work)) == expected.digest:
            return True
        work.notice(f"{packed} has the checksum {expected.algorithm}:{got}, not {expected}", warning=True)
        packed.unlink()
        return False

    def _expected(self, work: WorkContext, downloader: Downloader | None) -> Checksum:
        if not sums.is_address(self.checksum):
            return sums.parse(self.checksum)
        listing = self._list(work)
        if checksum := self._remembered(listing, work):
            return checksum
        listing.refresh(_downloader(work, downloader))
        return self._find(listing.text)

    def _remembered(self, listing: ChecksumList, work: WorkContext) -> Checksum | None:
        """Return what our copy of the list says; what must be downloaded is looked up in the newest list, though."""
        if not listing.fresh():
            return None
        try:
            checksum = self._find(listing.text)
        except PreflightError:
            return None  # perhaps the newest list has it
        return checksum if work.offline or self._path(work, checksum).exists() else None

    def _list(self, work: WorkContext) -> ChecksumList:
        return ChecksumList(self.checksum, work, signature=self.signature, signed_by=self.signed_by)

    def _find(self, listing: str) -> Checksum:
        names = [self.name] if self.name else [unquote(urlsplit(url).path) for url in self.urls]
        return sums.find(listing, names, address=self.checksum)


def _downloader(work: WorkContext, given: Downloader | None) -> Downloader:
    from bakery.disk.bases.download import Downloader as Default  # httpx takes long to import

    return given or Default(work=work)


def _check_address(address: str) -> Iterator[Problem]:
    parts = urlsplit(address)
    if address.startswith("/") or (parts.scheme == "file" and parts.path):
        if not Path(unquote(parts.path)).is_file():
            yield Problem(what=f"there is no file {unquote(parts.path)}", hint="check the path")
    elif parts.scheme not in ("http", "https") or not parts.netloc:
        hint = "write https://..., http://..., file:///... or an absolute path"
        yield Problem(what=f"{address!r} is no address that can be downloaded", hint=hint)
