"""`CloudImage` from a real server, by real processes."""

import hashlib
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bakery.disk.bases.cloud_image import CloudImage
from bakery.util.context import WorkContext
from tests.certificates import certificate, server_context

pytestmark = pytest.mark.live
CONTENT = b"QFI\xfb" + (3).to_bytes(4, "big") + bytes(1000) + bytes(range(256)) * 100_000
FETCH = """
import sys
from pathlib import Path
from bakery.disk.bases.cloud_image import CloudImage
from bakery.util.context import WorkContext
print(CloudImage(sys.argv[1], sys.argv[2]).disk(WorkContext(cache=Path(sys.argv[3]))).path)
"""


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder with ranges; cuts the first answer short."""

    def __init__(self, *args: Any, asked: list[str], **kwargs: Any) -> None:
        self.asked = asked
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        data = (Path(self.directory) / self.path.lstrip("/")).read_bytes()
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        self.asked.append(f"{self.path} from {start}")
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("ETag", '"1"')
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        self.wfile.write(data[start : start + (1 << 20)] if len(self.asked) == 1 else data[start:])
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class's name
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "disk.qcow2").write_bytes(CONTENT)
    asked: list[str] = []
    handler = partial(Handler, asked=asked, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}/disk.qcow2", asked
        listening.shutdown()
        thread.join()


def test_processes_that_need_one_image_download_it_once_and_resume_it(
    server: tuple[str, list[str]], tmp_path: Path
) -> None:
    url, asked = server
    digest = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    words = [sys.executable, "-c", FETCH, url, digest, str(tmp_path / "cache")]
    processes = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    paths = {process.communicate(timeout=120)[0].strip() for process in processes}
    assert len(paths) == 1
    assert Path(paths.pop()).read_bytes() == CONTENT
    assert len(asked) == 2
    assert asked[0] == "/disk.qcow2 from 0"
    assert 0 < int(asked[1].rpartition(" ")[2]) <= 1 << 20


def test_a_server_with_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    (tmp_path / "disk.qcow2").write_bytes(CONTENT)
    digest = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    handler = partial(Handler, asked=["an answer that is whole"], directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        listening.socket = server_context(cert, key).wrap_socket(listening.socket, server_side=True)
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            words = [sys.executable, "-c", FETCH, f"https://127.0.0.1:{listening.server_port}/disk.qcow2", digest]
            refused = subprocess.run([*words, str(tmp_path / "cache")], capture_output=True, text=True, check=False)
            trusting = {**os.environ, "SSL_CERT_FILE": str(cert)}
            fetched = subprocess.run(
                [*words, str(tmp_path / "cache")], capture_output=True, text=True, check=False, env=trusting
            )
        finally:
            listening.shutdown()
            thread.join()
    assert "CERTIFICATE_VERIFY_FAILED" in refused.stderr
    assert "SSL_CERT_FILE names another list" in refused.stderr
    assert Path(fetched.stdout.strip()).read_bytes() == CONTENT, fetched.stderr


def test_an_image_packed_with_zstd_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "disk.qcow2").write_bytes(CONTENT)
    subprocess.run(["zstd", "--quiet", str(tmp_path / "disk.qcow2")], check=True)
    packed = tmp_path / "disk.qcow2.zst"
    image = CloudImage(packed.as_uri(), f"sha256:{hashlib.sha256(packed.read_bytes()).hexdigest()}")
    assert image.disk(WorkContext(cache=tmp_path / "cache")).path.read_bytes() == CONTENT
