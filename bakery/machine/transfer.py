"""Moving files between this host and a machine: what is sent is what arrives, or it is an error."""

from __future__ import annotations

import codecs
import hashlib
import io
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Protocol, cast

from bakery.errors import TaskError
from bakery.machine.files import DOWNLOAD, PREPARE, UNPACK, UPLOAD, Upload
from bakery.machine.tar_stream import archive, keeps_holes, survey
from bakery.model import Result, Stream
from bakery.util.results import OnOutput

if TYPE_CHECKING:
    from bakery.util.context import WorkContext

_DIGEST: Final = re.compile(r"^([0-9a-f]{64}|unchecked) [ *](?:-|stdin)$", re.MULTILINE)
"""What sha256sum and openssl say of their standard input; `unchecked` where the machine has none."""


class Helper(Protocol):
    """Runs one of our own commands on the machine; `Machine._helper`."""

    def __call__(
        self,
        title: str,
        words: Sequence[str],
        source: bytes | IO[bytes] | None = None,
        on_output: OnOutput = ...,
        *,
        collect: bool = True,
    ) -> Result:
        """Run it; a failure raises."""
        ...


def send_file(run: Helper, up: Upload, dest: str, mode: int, owner: str) -> str:
    """Upload a file, all or nothing, and return where it is.

    Raises:
        CommandFailed: it cannot be written, or came otherwise than it was sent.
    """
    key = secrets.token_hex(8)
    words = ["sh", "-c", UPLOAD, "bakery-put", dest, up.name, f"{mode:o}", owner, str(up.size), up.sha256]
    words += ["holes" if up.sparse else "", key]
    return _told(run(f"put {dest or up.name}", words, up.source), key)


def fetch_file(run: Helper, remote: str, file: IO[Any]) -> None:
    """Download a file into an open one, of bytes or of text.

    Raises:
        CommandFailed: there is none, or it cannot be read.
        TaskError: it came otherwise than it was sent.
    """
    digest = hashlib.sha256()
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_text = isinstance(file, io.TextIOBase)

    def take(stream: Stream, data: bytes) -> None:
        if stream == "stdout":
            digest.update(data)
            file.write(decoder.decode(data) if is_text else data)

    result = run(f"get {remote}", ["sh", "-c", DOWNLOAD, "bakery-get", remote], on_output=take, collect=False)
    if is_text:
        file.write(decoder.decode(b"", final=True))
    _must_be_same(f"{remote} was changed on its way here", digest.hexdigest(), result.stderr)


def send_folder(
    run: Helper,
    folder: Path,
    dest: str,
    work: WorkContext,
    *,
    exclude: Sequence[str] = (),
    owner: str = "",
    compress: bool = False,
) -> None:
    """Upload what is in a folder. Folders that the machine has already stay as they are, links to folders too.

    Raises:
        CommandFailed: it cannot be written, or the owner does not exist.
        TaskError: it came otherwise than it was sent.
    """
    names, size, left_out = survey(folder, exclude)
    if left_out:
        what = ", ".join(left_out)
        work.notice(
            f"{what} of {folder} {'is' if len(left_out) == 1 else 'are'} not copied: pipes, sockets and devices belong "
            "to the host that they are on",
            hint="name them in exclude=",
            warning=True,
        )
    title = f"copy {folder} to {dest}"
    listed = "".join(f"{_escaped(name)}\n" for name in names).encode(errors="surrogateescape")
    key = secrets.token_hex(8)
    prepared = _told(run(title, ["sh", "-c", PREPARE, "bakery-copy", dest, owner, key], listed), key)
    uid, gid, *there = (int(word) for word in prepared.split())
    stream = archive(
        folder,
        exclude=exclude,
        owner=(uid, gid),
        present=frozenset(names[number - 1] for number in there),
        compress=compress,
        holes=keeps_holes(folder, exclude, lambda words: run("tar --version", words).stdout, work),
    )
    sent = Hashed(stream)
    result = run(
        title, ["sh", "-c", UNPACK, "bakery-copy", dest, "z" if compress else "", str(size)], cast("IO[bytes]", sent)
    )
    _must_be_same(f"{folder} was changed on its way to the machine", sent.hexdigest(), result.stdout)


class Hashed(io.RawIOBase):
    """A stream that remembers the digest of what was read from it."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Read on."""
        data = self._source.read(size)
        self._digest.update(data)
        return data

    def hexdigest(self) -> str:
        """Return the digest of all that was read."""
        return self._digest.hexdigest()


def _told(result: Result, key: str) -> str:
    """Return what the machine told between two keys; what a start file left in the background may talk too."""
    _, _, rest = result.stdout.partition(key)
    told, end, _ = rest.partition(key)
    if not end:
        raise TaskError(f"`{result.command}` did not come to its end", why=(result.stdout + result.stderr).strip())
    return told


def _must_be_same(what: str, ours: str, said: str) -> None:
    """Compare our digest with the one that the machine gave."""
    theirs = _DIGEST.findall(said)
    if theirs not in ([ours], ["unchecked"]):
        raise TaskError(
            what, why=f"SHA-256 here {ours}, there {' '.join(theirs) or 'none'}\n{_DIGEST.sub('', said).strip()}"
        )


def _escaped(name: str) -> str:
    """Write a name in one line, as `printf %b` reads it."""
    return name.replace("\\", "\\0134").replace("\n", "\\0012")
