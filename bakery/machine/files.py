"""The shell scripts that move files, and what goes into them. Each is one command with one stream, no SFTP needed."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final, TypeAlias, cast

from bakery.util.extents import has_holes
from bakery.util.files import replacing

Local: TypeAlias = "str | os.PathLike[str] | IO[Any]"

# Digests standard input. $1: bytes, as far as they are known. OpenSSL takes longer to start and is five times as quick.
DIGEST: Final = """
digest() {
  if [ "$1" -gt 16000000 ] && command -v openssl >/dev/null 2>&1; then openssl dgst -sha256 -r; else sha256sum; fi
}
"""

# The beginning of the scripts whose first argument is a destination, `d`.
DESTINATION: Final = """
set -e
d=$1
case $d in
  '~') d=$HOME ;;
  '~/'*) d=$HOME/${d#'~/'} ;;
"""

# Arguments: destination, name to use below a folder, mode, owner, size, SHA-256, a word if the file has holes, key.
# Tells where the file is. The rename makes the change all or nothing; size and digest are checked first, since a
# connection that breaks ends the stream just as its end does. What is told stands between two keys, apart from what
# others say.
UPLOAD: Final = (
    DIGEST
    + DESTINATION
    + """  '') d=. ;;
esac
case $d in */) [ -d "$d" ] || { echo "$d: no such folder" >&2; exit 1; } ;; esac
[ ! -d "$d" ] || d=${d%/}/$2
[ ! -L "$d" ] || d=$(readlink -f -- "$d")
case $d in */*) f=${d%/*}/ ;; *) f=./ ;; esac
[ -d "$f" ] || { echo "$f: no such folder" >&2; exit 1; }
t=$f.bakery-$$
trap 'rm -f -- "$t"' EXIT
umask 077
if [ -n "$7" ] && dd if=/dev/null of=/dev/null conv=sparse 2>/dev/null; then
  dd bs=65536 conv=sparse of="$t" 2>/dev/null
else
  cat >"$t"
fi
n=$(wc -c <"$t")
[ "$n" -eq "$5" ] || { echo "$d: $n bytes of $5 came" >&2; exit 1; }
if command -v sha256sum >/dev/null 2>&1; then
  h=$(digest "$5" <"$t")
  [ "${h%% *}" = "$6" ] || { echo "$d: SHA-256 ${h%% *} came, not $6" >&2; exit 1; }
fi
[ -z "$4" ] || chown -- "$4" "$t"
chmod -- "$3" "$t"
mv -f -- "$t" "$d"
trap - EXIT
printf '%s' "$8$d$8"
"""
)

# Tells the digest of what it sends on standard error, on the way, so that a file that grows or that is made as it is
# read (/proc) is told right. A pipe can be opened by its number, the socket that sshd gives cannot: hence `cat`.
DOWNLOAD: Final = (
    DIGEST
    + """
s=$1
case $s in '~/'*) s=$HOME/${s#'~/'} ;; esac
[ ! -d "$s" ] || { echo "$s is a folder; get() fetches files" >&2; exit 1; }
[ -r "$s" ] || exec cat -- "$s"
command -v sha256sum >/dev/null 2>&1 && [ -e /proc/self/fd/1 ] || { echo 'unchecked  -' >&2; exec cat -- "$s"; }
n=0
[ ! -f "$s" ] || n=$(wc -c <"$s")
{ { { tee /proc/self/fd/3 <"$s" || echo 'it cannot be read to its end'; } | digest "$n" >&4; } 3>&1 | cat; } 4>&2
"""
)

# Arguments: destination, owner, key. Reads names of folders, a line each. Makes the destination, and tells the numbers
# of the owner and the group, and of those folders that are there already, or are links to folders.
PREPARE: Final = (
    DESTINATION
    + r"""esac
mkdir -p -- "$d"
if [ -n "$2" ]; then
  t=$d/.bakery-$$
  trap 'rm -f -- "$t"' EXIT
  : >"$t"
  case $2 in
    *:*) chown -- "$2" "$t" ;;
    *) chown -- "$2:" "$t" 2>/dev/null || chown -- "$2" "$t" ;;
  esac
  ids=$(ls -dn -- "$t")
else
  ids="- - $(id -u) $(id -g)"
fi
key=$3 n=0
set -- $ids
told="$3 $4"
while IFS= read -r p; do
  n=$((n + 1))
  case $p in *\\*) p=$(printf '%bx' "$p") p=${p%x} ;; esac
  [ ! -d "$d/$p" ] || told="$told $n"
done
printf '%s' "$key$told$key"
"""
)

# Arguments: destination, z for a gzip stream, bytes of all files. Tells the digest of what came.
UNPACK: Final = (
    DIGEST
    + DESTINATION
    + """esac
command -v sha256sum >/dev/null 2>&1 && [ -e /proc/self/fd/1 ] || { echo 'unchecked  -'; exec tar -x"$2" -f - -C "$d"; }
{ { tee /proc/self/fd/3 | digest "$3" >&4; } 3>&1 | tar -x"$2" -f - -C "$d"; } 4>&1
"""
)

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
    """What goes to the machine: a stream of known length and digest."""

    source: bytes | IO[bytes]
    size: int
    name: str
    mode: int
    sha256: str
    sparse: bool = False

    @classmethod
    def of(cls, data: bytes, mode: int) -> Upload:
        """Make one of bytes."""
        return cls(source=data, size=len(data), name="", mode=mode, sha256=hashlib.sha256(data).hexdigest())


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
            mode = info.st_mode & 0o7777
            if stat.S_ISREG(info.st_mode):
                yield replace(_measured(file, path.name, mode), sparse=has_holes(path, info))
                return
            with _spooled(file) as spool:  # a pipe can be read once only
                yield _measured(spool, path.name, mode)
        return
    with _spooled(local) as spool:
        yield _measured(spool, Path(str(getattr(local, "name", ""))).name, 0o644)


def _measured(file: IO[bytes], name: str, mode: int) -> Upload:
    """Read a file for its length and digest, and go back to its beginning."""
    digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # it asks for less than IO
    size = file.tell()
    file.seek(0)
    return Upload(source=file, size=size, name=name, mode=mode, sha256=digest)


@contextmanager
def _spooled(stream: IO[Any]) -> Generator[IO[bytes]]:
    """Copy a stream to memory, or to a temporary file when it is large, so that it can be read twice."""
    with tempfile.SpooledTemporaryFile(max_size=1 << 24) as spool:
        while data := stream.read(1 << 16):
            spool.write(data.encode() if isinstance(data, str) else data)
        spool.seek(0)
        yield cast("IO[bytes]", spool)


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
    from bakery.util.sparse_files import SparseWriter

    name = remote.rstrip("/").rpartition("/")[2]
    path = folder / Path(local or name).expanduser()
    if path.is_dir() or str(local or "").endswith("/"):
        path = path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            sparse = SparseWriter(file)
            yield cast("IO[Any]", sparse), str(path)
            sparse.end()
        else:  # a device, a pipe
            yield file, str(path)
    note_output(path)


def interpreter_of(script: bytes) -> list[str]:
    """Return the words of a script's `#!` line; `sh` where it has none, or nothing stands in it, as execvp(3) does."""
    first = script[:256].partition(b"\n")[0]
    words = first[2:].decode(errors="replace").split() if first.startswith(b"#!") else []
    return words or ["sh"]


def binary(stream: Any) -> IO[bytes]:
    """Return a stream whose `read` gives bytes, from one that may give text."""
    return cast("IO[bytes]", _Encoded(stream)) if isinstance(stream, io.TextIOBase) else cast("IO[bytes]", stream)


class _Encoded(io.RawIOBase):
    def __init__(self, stream: io.TextIOBase) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        """Read characters, give bytes."""
        return self._stream.read(size).encode()
