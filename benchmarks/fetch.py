"""A cloud image of 2 GB from a server on this host, fetched and verified; beside it curl, and then sha256sum."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from bakery.util.process import PIPE, end_group, start_process
from benchmarks.bench import Aim, Failed, Row, timed

SIZE = 2 << 30
CHUNK = 1 << 22
OURS = """
import sys
from pathlib import Path
from bakery.disk.bases.cloud_image import CloudImage
from bakery.util.context import WorkContext
CloudImage(sys.argv[1], "sha256:" + sys.argv[2]).disk(WorkContext(cache=Path(sys.argv[3])))
"""
SERVER = """
import functools, http.server, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


def run(folder: Path) -> list[Row]:
    """Fetch three times each, in turns; the best counts."""
    served = folder / "served"
    served.mkdir(parents=True)
    digest = _image(served / "disk.qcow2")
    ours, theirs = [], []
    with _serving(served) as port:
        url = f"http://127.0.0.1:{port}/disk.qcow2"
        for number in range(3):
            theirs.append(_curl(url, folder / f"curl-{number}", digest))
            cache = folder / f"cache-{number}"
            ours.append(timed([sys.executable, "-c", OURS, url, digest, cache], folder))
            subprocess.run(["rm", "-rf", cache, folder / f"curl-{number}"], check=True)
    return [Row("2 GB cloud image, fetched and verified", "curl, then sha256sum", min(ours), min(theirs), Aim(0.6))]


def _image(path: Path) -> str:
    """Make a qcow2 file of so many bytes that nothing packs, and return its digest."""
    digest = hashlib.sha256()
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "4G"], check=True)
    with path.open("r+b") as file:
        head = file.read()
        digest.update(head)
        for _ in range((SIZE - len(head)) // CHUNK):
            data = os.urandom(CHUNK)
            file.write(data)
            digest.update(data)
    return digest.hexdigest()


@contextmanager
def _serving(folder: Path) -> Generator[int]:
    server = start_process([sys.executable, "-c", SERVER, str(folder)], stdout=PIPE)
    try:
        assert server.stdout is not None  # noqa: S101  asked for as a pipe
        with server.stdout as said:
            yield int(said.readline())
    finally:
        end_group(server)


def _curl(url: str, to: Path, digest: str) -> float:
    seconds = timed(["curl", "--fail", "--silent", "--show-error", "--output", to, url], to.parent)
    check = to.with_suffix(".sha256")
    check.write_text(f"{digest}  {to}\n", encoding="utf-8")
    if not to.exists():
        raise Failed("curl brought nothing")
    return seconds + timed(["sha256sum", "--check", check], to.parent)
