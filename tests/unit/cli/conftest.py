"""`bake` in this process, on a project whose images and runs were written down by the test: nothing is built."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bakery import events as e
from bakery.cli import app
from bakery.model import Artifact
from bakery.reporting.jsonl import line
from bakery.state.project import RunFolder, State
from bakery.testing.folder.cloud import FolderCloud

IMAGEFILE = '''"""Images for the tests of the command line."""

import bakery
from bakery.testing.folder.driver import Folder


@bakery.variables
class Vars:
    greeting: str = bakery.var(default="hello", help="What it says")
    workers: int = 4
    release: str = "bookworm"
    password: bakery.Secret = bakery.secret(env="TEST_PASSWORD")


@bakery.source
def box(v) -> Folder:
    """A machine in a folder."""
    return Folder(cloud="cloud")


@bakery.source
def crate(v) -> Folder:
    return Folder(cloud="crates")


@bakery.task
def hello(m, v) -> None:
    """Say hello."""
    m.write("/etc/motd", v.greeting)


@bakery.task(skip=[crate])
def workers(m, v) -> None:
    m.write("/etc/workers", str(v.workers))


@bakery.test
def motd(host, v) -> None:
    assert host.file("/etc/motd").content_string == v.greeting


@bakery.post(only=[box])
def tell(artifact) -> None:
    print("posted", artifact.name)


@bakery.image(matrix={"release": ["bookworm", "trixie"]})
def web(v) -> str:
    """A web image."""
    return f"web-{v.release}"


@bakery.image(sources=[box], tasks=[hello], tests=[])
def db() -> None:
    """A database."""
'''


ENDS = ("9f3a", "c0de", "b7e1", "4ad2")
"""Of runs' ids, by number: none is a part of another id, as one by chance might be."""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Its results, where they are JSON."""
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        """Its results, where they are a table."""
        return [row.split() for row in self.out.splitlines()]


@dataclass(frozen=True)
class Project:
    """A project's folder."""

    folder: Path
    cache: Path
    capsys: pytest.CaptureFixture[str]

    def bake(self, *words: str) -> Done:
        """Run a command line in this process."""
        self.capsys.readouterr()
        code = app.run(words)
        out, err = self.capsys.readouterr()
        return Done(code, out, err)

    def write(self, text: str, name: str = "imagefile.py") -> Path:
        """Write a file there."""
        path = self.folder / name
        path.write_text(text)
        return path

    @property
    def state(self) -> State:
        """What is written down of it."""
        return State(self.folder / ".bakery", self.cache)

    @property
    def cloud(self) -> FolderCloud:
        """Where its images are."""
        return FolderCloud(self.folder / "cloud")

    def image(self, name: str = "web-trixie", day: int = 1, **more: Any) -> Artifact:
        """Put an image into the cloud, and write it down as one that was built and kept here."""
        archive = self.write("a tree", "tree.tar")
        artifact = Artifact(
            driver="folder",
            id=self.cloud.import_image(archive, name, {}),
            name=name,
            format="tar",
            size=3 << 20,
            settings={"cloud": str(self.cloud.path), "patience": 1.0, "disk": None},
            created=datetime(2026, 11, day, 12, 0, tzinfo=UTC),
            **{"build": f"web[release={name.removeprefix('web-')}]@box", "verdict": "passed", **more},
        )
        self.state.add_image(artifact)
        return artifact

    def run(self, told: Iterable[e.Event] = (), **about: Any) -> str:
        """Write down a run that has ended, and return its id."""
        self.state.prepare()
        number = len(self.state.runs())
        folder = RunFolder(self.state.runs_folder / f"20261122-14{number:02}05-{ENDS[number]}")
        folder.path.mkdir(mode=0o700)
        (folder.path / "journal.jsonl").touch()
        if lines := [line(event) for event in told]:
            (folder.path / "events.jsonl").write_text("".join(lines))
        if about:
            folder.write_about(about)
        return folder.id


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Project:
    """A folder without an imagefile; the cache is the test's own."""
    for name in ("BAKERY_CACHE_LIMIT", "BAKERY_LIMITS", "GITHUB_ACTIONS", "NO_COLOR", "TEST_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BAKERY_CACHE_DIR", str(tmp_path / "cache"))
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Project(folder, tmp_path / "cache", capsys)


@pytest.fixture
def project(empty: Project) -> Project:
    """A folder with an imagefile."""
    empty.write(IMAGEFILE)
    return empty
