"""A server like those of the publishers of cloud images: HTTPS, their folders, lists that a key of GnuPG has signed."""

from __future__ import annotations

import hashlib
import http.server
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.certificates import certificate, server_context

CONTENT = b"QFI\xfb" + (3).to_bytes(4, "big") + bytes(1000) + b"content"


class SigningKey:
    """A key of GnuPG, in a folder of its own."""

    def __init__(self, home: Path, *, expires: str = "never") -> None:
        home.mkdir(mode=0o700)
        self.home = home
        self._gpg("--quick-generate-key", f"{home.name} <{home.name}@test.invalid>", "ed25519", "sign", expires)
        self.public = home / "public.asc"
        self.public.write_bytes(self._gpg("--armor", "--export"))

    def detached(self, text: bytes) -> bytes:
        """Sign a text; the signature alone."""
        return self._gpg("--armor", "--detach-sign", text=text)

    def around(self, text: bytes) -> bytes:
        """Sign a text; the signature around it."""
        return self._gpg("--clear-sign", text=text)

    def end(self) -> None:
        """End the agent that GnuPG started."""
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "all"], check=True)

    def _gpg(self, *words: str, text: bytes = b"") -> bytes:
        fixed = ["gpg", "--homedir", str(self.home), "--batch", "--passphrase", "", "--pinentry-mode", "loopback"]
        return subprocess.run([*fixed, *words], input=text, check=True, capture_output=True).stdout


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and notes what was asked."""

    def __init__(self, *args: Any, asked: list[str], **kwargs: Any) -> None:
        self.asked = asked
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        self.asked.append(self.path.rpartition("/")[2])
        super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class's name
        pass


class PublishersServer:
    """What a publisher has."""

    def __init__(self, folder: Path, address: str, asked: list[str]) -> None:
        self.folder, self.address, self.asked = folder, address, asked

    def put(self, path: str, data: bytes) -> None:
        """Publish a file."""
        file = self.folder / path.removeprefix(self.address).lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


@contextmanager
def serving(folder: Path) -> Generator[PublishersServer]:
    """Serve a folder by HTTPS; the certificate is in `ca.pem` beside it."""
    cert, key = certificate(folder)
    www, asked = folder / "www", list[str]()
    www.mkdir()
    handler = partial(Handler, asked=asked, directory=str(www))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        listening.socket = server_context(cert, key).wrap_socket(listening.socket, server_side=True)
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield PublishersServer(www, f"https://127.0.0.1:{listening.server_port}", asked)
        listening.shutdown()
        thread.join()


def gnu(name: str, data: bytes, algorithm: str = "sha256") -> bytes:
    """A line as coreutils write it, behind one of another file."""
    digest = hashlib.new(algorithm, data).hexdigest()
    return f"{'0' * len(digest)} *other.img\n{digest} *{name}\n".encode()


def bsd(name: str, data: bytes) -> bytes:
    """The same as Fedora's family writes it."""
    digest = hashlib.sha256(data).hexdigest()
    return f"# {name}: {len(data)} bytes\nSHA256 ({name}) = {digest}\n".encode()
