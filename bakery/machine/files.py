"""The shell scripts that move files, and what goes into them. Each is one command with one stream, no SFTP needed."""

from __future__ import annotations

import io
import os
import secrets
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, TypeAlias, cast

from bakery.util.extents import has_holes

Local: TypeAlias = "str | os.PathLike[str] | IO[Any]"

# Arguments: destination, name to use below a folder, mode, owner, size, a word if the file has holes. Prints where the
# file is. The rename makes the change all or nothing; the size is checked first, since a connection that breaks ends
# the stream just as its end does.
UPLOAD: Final = """
set -e
d=$1
case $d in
  '~') d=$HOME ;;
  '~/'*) d=$HOME/${d#'~/'} ;;
  '') d=. ;;
esac
case $d in */) [ -d "$d" ] || { echo "$d: no such folder" >&2; exit 1; } ;; esac
[ ! -d "$d" ] || d=${d%/}/$2
[ ! -L "$d" ] || d=$(readlink -f -- "$d")
case $d in */*) f=${d%/*}/ ;; *) f=./ ;; esac
[ -d "$f" ] || { echo "$f: no such folder" >&2; exit 1; }
t=$f.bakery-$$
trap 'rm -f -- "$t"' EXIT
umask 077
if [ -n "$6" ] && dd if=/dev/null of=/dev/null conv=sparse 2>/dev/null; then
  dd bs=65536 conv=sparse of="$t" 2>/dev/null
else
  cat >"$t"
fi
n=$(wc -c <"$t")
[ "$n" -eq "$5" ] || { echo "$d: $n bytes of $5 came" >&2; exit 1; }
[ -z "$4" ] || chown -- "$4" "$t"
chmod -- "$3" "$t"
mv -f -- "$t" "$d"
trap - EXIT
printf '%s' "$d"
"""

DOWNLOAD: Final = """
s=$1
case $s in '~/'*) s=$HOME/${s#'~/'} ;; esac
[ ! -d "$s" ] || { echo "$s is a folder; get() fetches files" >&2; exit 1; }
exec cat -- "$s"
"""

# Arguments: destination, z for a gzip stream.
UNPACK: Final = """
set -e
d=$1
case $d in
  '~') d=$HOME ;;
  '~/'*) d=$HOME/${d#'~/'} ;;
esac
mkdir -p -- "$d"
exec tar -x"$2" -f - -C "$d"
"""

# Arguments: the interpreter's words, --, the script's arguments. The script is a file, so that its standard input is
# its own; the interpreter is named, so that it runs where /tmp forbids programs.
SCRIPT: Final = """
f=$(mktemp) || exit
trap 'rm -f -- "$f"' EXIT
cat >"$f" || exit
n=$1
shift
i=0 words=
while [ "$i" -lt "$n" ]; do
  words="$words $1"
  shift
  i=$((i + 1))
done
$words "$f" "$@" </dev/null
"""


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """A file that was moved; the names are Fabric's.

    Args:
        local: the path here, or the file-like object.
        remote: the path there.
    """

    local: Any
    remote: str


@dataclass(frozen=True, kw_only=True)
class Upload:
    """What goes to the machine: a stream of known length."""

    source: bytes | IO[bytes]
    size: int
    name: str
    mode: int
    sparse: bool = False


@contextmanager
def upload(local: Local, folder: Path) -> Generator[Upload]:
    """Open what is to be uploaded: a path relative to `folder`, or a file-like object, binary or text.

    Raises:
        FileNotFoundError: no such file.
    """
    if isinstance(local, str | os.PathLike):
        path = folder / Path(local).expanduser()
        with path.open("rb") as file:
            info = os.fstat(file.fileno())
            yield Upload(
                source=file,
                size=info.st_size,
                name=path.name,
                mode=info.st_mode & 0o7777,
                sparse=has_holes(path, info),
            )
        return
    with _spooled(local) as (source, size):
        name = Path(str(getattr(local, "name", ""))).name
        yield Upload(source=source, size=size, name=name, mode=0o644)


@contextmanager
def _spooled(stream: IO[Any]) -> Generator[tuple[IO[bytes], int]]:
    """Copy a stream to memory, or to a temporary file when it is large, to know its length."""
    with tempfile.SpooledTemporaryFile(max_size=1 << 24) as spool:
        while data := stream.read(1 << 16):
            spool.write(data.encode() if isinstance(data, str) else data)
        size = spool.tell()
        spool.seek(0)
        yield cast("IO[bytes]", spool), size


@contextmanager
def download(local: Local | None, remote: str, folder: Path) -> Generator[tuple[IO[Any], Any]]:
    """Open what a download is written to; a file appears whole or not at all. Yields the file and its name.

    Args:
        local: path relative to `folder` (an existing folder gets the file below it), a file-like object, or None for
            the remote file's name.
        remote: the remote path.
        folder: what relative paths are relative to.
    """
    if local is not None and not isinstance(local, str | os.PathLike):
        yield local, local
        return
    from bakery.util.observer import note_output  # not needed to read an imagefile

    name = remote.rstrip("/").rpartition("/")[2]
    path = folder / Path(local or name).expanduser()
    if path.is_dir() or str(local or "").endswith("/"):
        path = path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.bakery-{secrets.token_hex(4)}")
    try:
        with part.open("xb") as file:
            yield file, str(path)
        part.replace(path)
        note_output(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def interpreter(script: Path) -> list[str]:
    """Return the words of a script's `#!` line; `sh` where it has none."""
    with script.open("rb") as file:
        first = file.readline(256)
    return first[2:].decode(errors="replace").split() if first.startswith(b"#!") else ["sh"]


def binary(stream: Any) -> IO[bytes]:
    """Return a stream whose `read` gives bytes, from one that may give text."""
    return cast("IO[bytes]", _Encoded(stream)) if isinstance(stream, io.TextIOBase) else cast("IO[bytes]", stream)


class _Encoded(io.RawIOBase):
    def __init__(self, stream: io.TextIOBase) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        """Read characters, give bytes."""
        return self._stream.read(size).encode()
