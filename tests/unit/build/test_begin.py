"""What a run says of itself when it begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakery.build import begin, git_commit
from bakery.build.begin import command_line, described, host
from bakery.build.git_commit import commit_of
from bakery.disk.bases.cloud_image import CloudImage
from bakery.disk.bases.debian import Debian
from bakery.events import BuildStarted, RunStarted
from bakery.imagefile.builds import ImageRef
from bakery.model import Artifact, Result
from bakery.util.results import TimedOut
from bakery.util.waiting import Cancel

from .memory import Project, project

__all__ = ["project"]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["/usr/bin/bake"], "bake"),
        (["bake", "web", "--only", "a b"], "bake web --only 'a b'"),
        (["bake", "-v", "password=hunter2", "web"], "bake -v password=... web"),
        (["bake", "--var", "password=hunter2"], "bake --var password=..."),
        (["bake", "--var=password=hunter2"], "bake --var=password=..."),
        (["bake", "-vpassword=hunter2"], "bake -vpassword=..."),
        (["bake", "-v", "password"], "bake -v password"),
        (["bake", "-v"], "bake -v ''"),
        (["bake", "--verbose"], "bake --verbose"),
    ],
)
def test_a_command_line_is_shown_without_values(words: list[str], shown: str) -> None:
    assert command_line(words) == shown


@pytest.mark.parametrize(
    ("base", "shown"),
    [
        (Debian("trixie"), "Debian(suite='trixie')"),
        (Debian("bookworm", packages=("vim",)), "Debian(suite='bookworm', packages=('vim',))"),
        (ImageRef(build="golden@here"), "the image of golden@here"),
        (Artifact(driver="qemu", id="/i/web.qcow2", name="web"), "web (/i/web.qcow2)"),
        ("ami-0123", "ami-0123"),
        (None, ""),
        (12, "int"),
    ],
)
def test_a_base_is_described_as_it_was_written(base: object, shown: str) -> None:
    assert described(base) == shown


def test_a_long_description_is_cut() -> None:
    text = described(CloudImage("https://x.example/" + "d" * 500, checksum="sha256:" + "0" * 64))
    assert len(text) == begin.LONGEST + 3


def test_the_host_is_named() -> None:
    assert "Python 3" in host()
    assert "processor" in host()


def test_a_run_and_its_builds_say_what_they_are(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["bake", "build", "web"])
    project.write(
        "@bakery.variables\nclass V:\n    size: int = 3\n\n@bakery.image(builtin_tests=False)\ndef web(): ...\n"
    )
    project.build()
    (run,) = project.of(RunStarted)
    (build,) = project.of(BuildStarted)
    assert (run.command, bool(run.version), run.host) == ("bake build web", True, host())
    assert (build.base, build.values) == ("debian-12", ("size = 3 (default)",))


# ---- git ------------------------------------------------------------------------------------------------------------


def test_outside_of_a_repository_there_is_no_commit(tmp_path: Path) -> None:
    assert commit_of(tmp_path, Cancel()) == ""


class Git:
    """Answers what git is asked."""

    def __init__(self, head: Result | Exception, status: str = "") -> None:
        self.head, self.status = head, status

    def __call__(self, argv: list[str], **_: object) -> Result:
        if "status" in argv:
            return Result(command="git", exited=0, stdout=self.status)
        if isinstance(self.head, Exception):
            raise self.head
        return self.head


@pytest.mark.parametrize(
    ("git", "commit"),
    [
        (Git(Result(command="git", exited=0, stdout="1f2e\n")), "1f2e"),
        (Git(Result(command="git", exited=0, stdout="1f2e\n"), " M imagefile.py\n"), "1f2e+"),
        (Git(Result(command="git", exited=128, stderr="no commits")), ""),
        (Git(OSError("no git")), ""),
        (Git(TimedOut(Result(command="git", exited=-1))), ""),
    ],
)
def test_a_commit_is_marked_where_files_differ(
    git: Git, commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(git_commit, "run_process", git)
    assert commit_of(tmp_path / "below", Cancel()) == commit
