"""One run with sudo breaks no user's project: what cannot be read is said and skipped, what was made is the user's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakery.cli import main

from .conftest import Done

USER = 65534
"""Who the user is where these tests run as root; else it is whoever runs them."""
IMAGEFILE = """
import bakery
from bakery.testing.folder.driver import Folder


@bakery.source
def here() -> Folder:
    return Folder(cloud={cloud!r}, disk="qcow2")


@bakery.task
def hello(m) -> None:
    m.write("/etc/motd", "hello")


@bakery.image(builtin_tests=False)
def web() -> None: ...
"""


class Project:
    """A user's project, in a folder that this user can reach."""

    def __init__(self, top: Path) -> None:
        self.top, self.folder = top, top / "project"
        self.folder.mkdir()
        (self.folder / "imagefile.py").write_text(IMAGEFILE.format(cloud=str(top / "cloud")))
        self.environ = {**os.environ, "HOME": str(top), "BAKERY_CACHE_DIR": str(top / "cache"), "NO_COLOR": "1"}
        self.environ["PYTHONDONTWRITEBYTECODE"] = "1"

    def bake(self, *words: str) -> Done:
        """Run a command line as the user."""
        done = subprocess.run(
            [*self._as_user(), "-m", "bakery", *words],
            cwd=self.folder,
            env={**self.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def _as_user(self) -> list[str]:
        """Return the words that start this Python as the user, also where it lies in root's home."""
        if os.geteuid():
            return [sys.executable]
        here = self.top / "python"
        here.mkdir(exist_ok=True)
        script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
        mounted = ["unshare", "--mount", "sh", "-c", script, "sh", sys.base_prefix, str(here)]
        python = here / Path(os.path.realpath(sys.executable)).relative_to(os.path.realpath(sys.base_prefix))
        return [*mounted, "setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", str(python)]

    def run(self, name: str, *, foreign: bool = False) -> Path:
        """Make a run that has ended, or one of another user."""
        folder = self.folder / ".bakery/runs" / name
        folder.mkdir(parents=True, mode=0o700)
        (folder / "run.json").write_text(json.dumps({"builds": ["web@here"], "exit_code": 0, "started": 1, "ended": 2}))
        (folder / "events.jsonl").write_text("")
        (folder / "journal.jsonl").write_text("")
        if foreign and os.geteuid():
            folder.chmod(0)
        return folder


@pytest.fixture
def project() -> Iterator[Project]:
    """A project with a run of its user, and then one of root."""
    top = Path(tempfile.mkdtemp(prefix="bakery-sudo-"))
    top.chmod(0o755)
    made = Project(top)
    made.run("20261128-100000-aaaa")
    if os.geteuid() == 0:
        own(top)
    made.run("20261128-110000-bbbb", foreign=True)
    yield made
    for path in made.folder.glob(".bakery/runs/*"):
        path.chmod(0o700)
    shutil.rmtree(top)


def own(top: Path) -> None:
    for path in [top, *top.rglob("*")]:
        os.chown(path, USER, USER, follow_symlinks=False)


def test_what_belongs_to_another_user_is_said_in_one_line_and_skipped(project: Project) -> None:
    report = project.bake("report")
    assert report.code == 0, report.err
    said = "1 run belongs to another user and cannot be read, left out: 20261128-110000-bbbb"
    assert report.err.count("\n") == 1
    assert said in report.err
    listed = project.bake("report", "--list")
    assert (listed.code, said in listed.err) == (0, True), listed.err
    assert "aaaa" in listed.out
    assert "bbbb" not in listed.out
    swept = project.bake("gc")
    assert (swept.code, said in swept.err) == (0, True), swept.err
    assert json.loads(project.bake("gc", "--json").out)["unreadable"] == ["20261128-110000-bbbb"]
    for words in (("report", "bbbb"), ("gc", "bbbb"), ("build", "--resume", "bbbb")):
        named = project.bake(*words)
        assert named.code == 4, named.err
        assert "cannot be read: it belongs to another user" in named.err


def test_a_folder_of_the_cache_that_cannot_be_read_is_not_counted(project: Project) -> None:
    tree = project.top / "cache/bases/x/tree"
    (tree / "var/cache/apt/partial").mkdir(parents=True)
    (tree / "etc").mkdir()
    (tree / "etc/passwd").write_text("x" * 10000)
    (tree.parent / "lock").touch()
    if os.geteuid() == 0:
        own(project.top / "cache")
        os.chown(tree / "var/cache/apt/partial", 0, 0)
    (tree / "var/cache/apt/partial").chmod(0o700 if os.geteuid() == 0 else 0)
    done = project.bake("cache")
    assert done.code == 0, done.err
    assert "bases" in done.out
    assert done.err.startswith("1 folder is not counted, since another user's: ")
    assert done.err.count("\n") == 1
    assert json.loads(project.bake("cache", "ls", "--json").out)["bytes"]["bases"] > 10000
    (tree / "var/cache/apt/partial").chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user's sudo")
def test_what_sudo_makes_in_a_users_project_is_the_users(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**project.environ, "SUDO_UID": str(USER), "SUDO_GID": str(USER)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(project.folder)
    assert main(["--no-test", "-o", "web.qcow2", "--depfile", "web.d", "--junit", "junit.xml"]) == 0
    foreign = [path for path in project.folder.rglob("*") if path.lstat().st_uid != USER and "bbbb" not in str(path)]
    assert foreign == []
    for words in (("report",), ("gc",), ("images",), ("cache",), ("prune", "--keep", "0", "--dry-run")):
        done = project.bake(*words)
        assert done.code == 0, (words, done.err)
    assert (project.folder / "web.qcow2").stat().st_uid == USER


@pytest.mark.skipif(os.geteuid() != 0, reason="the same")
def test_without_sudo_root_keeps_what_it_makes(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in project.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.chdir(project.folder)
    assert main(["--no-test", "--junit", "junit.xml"]) == 0
    assert (project.folder / "junit.xml").stat().st_uid == 0
