"""A disk that is full at the one moment of keeping: the image's fate, the exit code and the older image are right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
IMAGEFILE = """
import atexit
import time
from pathlib import Path

import bakery
from bakery.testing.folder.driver import Folder


@bakery.source
def here() -> Folder:
    return Folder(cloud={cloud!r}, disk={disk!r})


@bakery.task
def hello(m):
    m.write("/etc/motd", Path("text").read_text())


def fill():
    with open("fill", "ab", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass


@bakery.test
def passes(host):
    if Path("text").read_text() == "two":
        atexit.register(fill)  # when the tests' report is written


@bakery.image(builtin_tests=False)
def web(): ...
"""
ON_A_SMALL_DISK = """
mount -t tmpfs -o size=12M tmpfs "$1" && cd "$1" && cp ../imagefile.py . && shift
printf one >text; "$@" build >&2 || exit 1
sha256sum .bakery/images/here/* 2>/dev/null
printf two >text; "$@" build >&2; echo "code $?"
sha256sum .bakery/images/here/* 2>/dev/null
find . -name '*.spare'
"$@" images --check --json
"$@" gc >&2 && ls ../cloud/images ../cloud/machines ../cloud/keypairs
rm fill; printf three >text; "$@" build >&2; echo "code $?"
"""


def lines(tmp_path: Path, disk: str | None) -> tuple[list[str], str]:
    """Bake twice on a small disk, which is full when the second image is to be kept; return what was printed."""
    (tmp_path / "project").mkdir()
    (tmp_path / "imagefile.py").write_text(IMAGEFILE.format(cloud=str(tmp_path / "cloud"), disk=disk))
    words = ["unshare", "--mount", "sh", "-c", ON_A_SMALL_DISK, "sh", str(tmp_path / "project")]
    done = subprocess.run(
        [*words, sys.executable, "-m", "bakery"],
        env={**os.environ, "BAKERY_CACHE_DIR": str(tmp_path / "cache"), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return done.stdout.splitlines(), done.stderr


def images_of(out: list[str]) -> list[dict[str, Any]]:
    text = "\n".join(out)
    found: list[dict[str, Any]] = json.loads(text[text.index("{") : text.rindex("}") + 1])["images"]
    return found


@pytest.mark.parametrize("disk", [None, "qcow2"])
def test_an_image_that_cannot_be_written_down_is_not_kept_and_the_older_one_stays(
    tmp_path: Path, disk: str | None
) -> None:
    out, err = lines(tmp_path, disk)
    assert [line for line in out if line.startswith("code")] == ["code 4", "code 0"], err
    assert "the disk is full" in err
    assert "bake gc" not in err
    assert len(images_of(out)) == 1
    digests = [line for line in out if line.endswith("  .bakery/images/here/web.qcow2")]
    assert (len(digests), len(set(digests))) == ((2, 1) if disk else (0, 0))
    assert not [line for line in out if line.endswith(".spare")]
    assert "nothing was left behind" in err
    assert len([*(tmp_path / "cloud/images").iterdir()]) <= 2
