"""Driving `bake` as a user does: words in, exit code, standard output and standard error out."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from bakery.cli import main

IMAGEFILE = '''"""Images for the tests of the command line."""

import bakery
from bakery.testing.folder.driver import Folder


@bakery.variables
class Vars:
    greeting: str = bakery.var(default="hello", help="What it says")
    release: str = "bookworm"
    password: bakery.Secret = bakery.secret(env="TEST_PASSWORD")


@bakery.source
def box(v) -> Folder:
    """A machine in a folder."""
    return Folder(cloud={cloud!r})


@bakery.task
def hello(m, v) -> None:
    """Say hello."""
    m.write("/etc/motd", v.greeting)
    print("printed", v.password.reveal())


@bakery.task
def noisy(m, v) -> None:
    m.run("cat; echo", input=v.password)
    m.run("echo $MESSAGE; test $MESSAGE = fine", env={{"MESSAGE": "fine" if v.greeting == "hello" else "wrong"}})


@bakery.test
def motd(host, v) -> None:
    assert host.file("/etc/motd").content_string == v.greeting.replace("untested", "tested")


@bakery.post(only=[box])
def tell(artifact) -> None:
    print("posted", artifact.name)


@bakery.image(matrix={{"release": ["bookworm", "trixie"]}}, builtin_tests=False)
def web(v) -> str:
    """A web image."""
    return f"web-{{v.release}}"
'''
PASSWORD = "correct/horse battery'staple"


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Place:
    """A project's folder."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    def bake(self, *words: str) -> Done:
        """Run a command line in this process."""
        self.capsys.readouterr()
        code = main(words)
        out, err = self.capsys.readouterr()
        return Done(code, out, err)

    def shell(self, *words: str) -> Done:
        """Run it in a process of its own."""
        done = subprocess.run(
            [sys.executable, "-m", "bakery", *words],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env={**os.environ, "NO_COLOR": "1"},
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def write(self, text: str, name: str = "imagefile.py") -> None:
        """Write a file there."""
        (self.folder / name).write_text(text)


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings of this host; caches and homes of the test's own."""
    for name in [*os.environ]:
        if name.startswith(("BAKE_VAR_", "GITHUB_", "BAKERY_")) or name in ("NO_COLOR", "TEST_PASSWORD"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("BAKERY_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Place:
    """A folder without an imagefile."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Place(folder, capsys)


@pytest.fixture
def place(empty: Place, tmp_path: Path) -> Place:
    """A folder with an imagefile that builds in a moment."""
    empty.write(IMAGEFILE.format(cloud=str(tmp_path / "cloud")))
    return empty


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    """The secret that builds need, given."""
    monkeypatch.setenv("TEST_PASSWORD", PASSWORD)
    return PASSWORD
