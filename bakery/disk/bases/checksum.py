"""Checksums as people publish them: `sha256:...`, SHA256SUMS files, BSD lists. Pure: no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from bakery.errors import PreflightError

LENGTHS = {64: "sha256", 96: "sha384", 128: "sha512"}
WEAK = {"md5", "sha1", "crc32"}

_LITERAL = re.compile(r"(?P<algorithm>[A-Za-z0-9]+):(?P<digest>[0-9A-Fa-f]+)", re.ASCII)
_GNU = re.compile(r"\\?(?P<digest>[0-9A-Fa-f]{64,128})(?:[ \t]+\*?(?P<name>\S.*))?", re.ASCII)
_BSD = re.compile(r"SHA(?:2-)?(?:256|384|512) ?\((?P<name>.+)\) ?= ?(?P<digest>[0-9A-Fa-f]{64,128})", re.ASCII)


@dataclass(frozen=True, order=True)
class Checksum:
    """What a file's content must hash to.

    Args:
        algorithm: `sha256`, `sha384` or `sha512`, as `hashlib` names them.
        digest: hexadecimal, lower case.
    """

    algorithm: str
    digest: str

    def __str__(self) -> str:
        """`sha256:0123...`."""
        return f"{self.algorithm}:{self.digest}"

    @property
    def folder(self) -> str:
        """Return the checksum as a file name."""
        return f"{self.algorithm}-{self.digest}"


def is_address(text: str) -> bool:
    """Say whether a checksum text is the address of a list, not a checksum."""
    return "://" in text or text.startswith("/")


def parse(text: str) -> Checksum:
    """Read `sha256:HEX`, `sha384:HEX` or `sha512:HEX`.

    Raises:
        PreflightError: for anything else, with what to write in its place.
    """
    text = text.strip()
    match = _LITERAL.fullmatch(text)
    algorithm = match["algorithm"].lower() if match else ""
    if match and LENGTHS.get(len(match["digest"])) == algorithm:
        return Checksum(algorithm, match["digest"].lower())
    raise PreflightError(
        f"{text!r} is no checksum",
        why=_why(text, algorithm),
        hint='write checksum="sha256:..." with 64 hexadecimal digits, or the address of a SHA256SUMS list',
    )


def _why(text: str, algorithm: str) -> str:
    if guess := LENGTHS.get(len(text)):
        return f"the algorithm is missing in front: {guess}:{text}" if re.fullmatch(r"[0-9A-Fa-f]+", text) else ""
    if algorithm in WEAK:
        return f"{algorithm} can be forged; use sha256 or sha512"
    if algorithm in LENGTHS.values():
        length = next(size for size, name in LENGTHS.items() if name == algorithm)
        return f"{algorithm} has {length} digits, here are {len(text) - len(algorithm) - 1}"
    return ""


def find(listing: str, names: Iterable[str], *, address: str) -> Checksum:
    """Find a file's entry in a checksum list; the strongest algorithm where there are several.

    Understands coreutils' lists (`HEX  name`, `HEX *name`), BSD's (`SHA256 (name) = HEX`), both inside a PGP
    signature (see `openpgp`), and a file that holds one digest and nothing else.

    Args:
        listing: the list's text.
        names: names of the file, or paths whose last part is the name.
        address: where the list comes from, for messages.

    Raises:
        PreflightError: no entry, or entries that disagree.
    """
    entries = list(_entries(listing))
    wanted = {PurePosixPath(name).name for name in names}
    digests = {digest for name, digest in entries if PurePosixPath(name).name in wanted}
    if not digests and len(entries) == 1 and not entries[0][0]:
        digests = {entries[0][1]}
    longest = max((len(digest) for digest in digests), default=0)
    best = {digest for digest in digests if len(digest) == longest}
    if len(best) == 1:
        return Checksum(LENGTHS[longest], best.pop())
    shown = " or ".join(sorted(wanted))
    if best:
        raise PreflightError(
            f"{address} has several entries for {shown}",
            why="\n".join(sorted(best)),
            hint='give the right one as checksum="sha256:..."',
        )
    others = ", ".join(sorted({name for name, _ in entries if name})[:5])
    raise PreflightError(
        f"{address} has no entry for {shown}",
        why=f"it lists {others}" if others else "it does not look like a list of checksums",
        hint="CloudImage(..., name=...) names the entry where the address does not",
    )


def _entries(listing: str) -> Iterator[tuple[str, str]]:
    for line in listing.splitlines():
        match = _BSD.fullmatch(line.strip()) or _GNU.fullmatch(line.strip())
        if match and len(match["digest"]) in LENGTHS:
            yield match["name"] or "", match["digest"].lower()
