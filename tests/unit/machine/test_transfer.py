"""What is sent is what arrives: the digests on both sides are compared."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import IO, Any

import pytest

from bakery.errors import TaskError
from bakery.machine.transfer import Hashed, fetch_file, send_folder
from bakery.model import Result
from bakery.util.context import WorkContext
from bakery.util.streams import chunks


class Far:
    """A machine that gives some data and says what its digest is."""

    def __init__(self, data: bytes = b"", digest: str = "") -> None:
        self.data = data
        self.digest = digest
        self.inputs: list[bytes] = []

    def __call__(
        self, title: str, words: Any, source: Any = None, on_output: Any = None, *, collect: bool = True
    ) -> Result:
        del collect
        self.inputs.append(b"".join(chunks(source or b"")))
        if on_output is not None:
            for at in range(len(self.data)):
                on_output("stdout", self.data[at : at + 1])
        if words[3] == "bakery-get":
            return Result(command=title, exited=0, stderr=self.digest)
        return Result(
            command=title, exited=0, stdout=f"{words[-1]}0 0{words[-1]}" if len(self.inputs) == 1 else self.digest
        )


def digest(data: bytes) -> str:
    return f"{hashlib.sha256(data).hexdigest()}  -\n"


@pytest.mark.parametrize("said", ["", digest(b"other"), digest("é".encode()) + digest(b"other"), "it cannot be read\n"])
def test_a_download_that_came_otherwise_is_an_error(said: str) -> None:
    with pytest.raises(TaskError, match="was changed on its way here"):
        fetch_file(Far("é".encode(), said), "/etc/x", io.BytesIO())


@pytest.mark.parametrize("said", [digest("é".encode()), "sh: a warning\n" + digest("é".encode()), "unchecked  -\n"])
@pytest.mark.parametrize("file", [io.BytesIO, io.StringIO])
def test_a_download_that_came_whole_is_written(said: str, file: type[IO[Any]]) -> None:
    written = file()
    fetch_file(Far("é".encode(), said), "/etc/x", written)
    written.seek(0)
    assert written.read() in ("é", "é".encode())


def test_a_folder_that_came_otherwise_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(TaskError, match="was changed on its way to the machine"):
        send_folder(Far(digest=digest(b"other")), tmp_path, "/opt", WorkContext(cache=tmp_path))


def test_names_of_folders_are_asked_for_in_a_line_each(tmp_path: Path) -> None:
    (tmp_path / "a\nb" / "c\\d").mkdir(parents=True)
    far = Far(digest="unchecked  -")
    send_folder(far, tmp_path, "/opt", WorkContext(cache=tmp_path))
    assert far.inputs[0] == b"a\\0012b\na\\0012b/c\\0134d\n"


def test_a_stream_knows_the_digest_of_what_was_read() -> None:
    stream = Hashed(io.BytesIO(b"abc"))
    assert stream.read(2) + stream.read() == b"abc"
    assert stream.hexdigest() == hashlib.sha256(b"abc").hexdigest()
