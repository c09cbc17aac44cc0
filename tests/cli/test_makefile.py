"""The Makefile of the manual, run by make: the image is made anew after a change, and only then."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bakery.build.makefile import is_rule, prerequisites, rule
from bakery.cache.inputs.external import LocalInput

from .conftest import Place

ROOT = Path(__file__).parent.parent.parent
IMAGEFILE = '''"""An image made of all kinds of inputs."""

from pathlib import Path

import bakery
from bakery.testing.folder.driver import Folder

from helper import GREETING

PACKAGES = (Path(__file__).parent / "packages.txt").read_text()


@bakery.source
def laptop() -> Folder:
    return Folder(cloud={cloud!r}, disk="qcow2")


@bakery.task
def site(m) -> None:
    m.write("/etc/motd", GREETING)
    m.write("/etc/packages", PACKAGES)
    m.put("files/site.conf", "/etc/site.conf")
    m.copy("tree", "/srv")
    if (Path(__file__).parent / "optional.conf").exists():
        m.put("optional.conf", "/etc/optional.conf")


@bakery.test
def is_there(host) -> None:
    assert host.file("/srv/index.html").exists


@bakery.image(sources=[laptop], builtin_tests=False)
def web() -> None: ...
'''
NOTHING = "make: 'web.qcow2' is up to date.\n"


def snippet(page: str) -> str:
    """Return the Makefile that a page of the manual shows."""
    found = re.search(r"```make\n(web\.qcow2:.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert found
    return found[1]


class Project:
    """A folder with the manual's Makefile."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        # The tests may be run by make themselves: theirs is not the make of a user's project.
        own = {name: value for name, value in os.environ.items() if name not in ("MAKELEVEL", "MAKEFLAGS", "MFLAGS")}
        self.environ = {**own, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}

    def make(self, *words: str) -> str:
        """Run make, and return what it wrote; fail where it fails."""
        done = subprocess.run(
            ["make", "--no-print-directory", *words],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "warning" not in done.stderr.lower(), done.stderr
        return done.stdout

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def would_be_made(self) -> bool:
        """Say whether make would make the image."""
        return self.make("--dry-run") != NOTHING

    @contextmanager
    def as_it_was(self, name: str) -> Generator[None]:
        """Put a file back as it was, or away, with its date and its folder's."""
        path = self.folder / name
        saved = (path.read_bytes(), path.stat().st_mtime_ns) if path.exists() else None
        dates = {folder: folder.stat().st_mtime_ns for folder in [path.parent, self.folder]}
        time.sleep(0.02)
        yield
        path.unlink(missing_ok=True)
        if saved is not None:
            path.write_bytes(saved[0])
            os.utime(path, ns=(saved[1], saved[1]))
        for folder, date in dates.items():
            os.utime(folder, ns=(date, date))

    def is_made_anew(self) -> bool:
        """Run make twice: say whether the first made the image, and see that the second had nothing to do."""
        first = self.make()
        assert self.make() == NOTHING
        return first != NOTHING


@pytest.fixture
def project(empty: Place, tmp_path: Path) -> Project:
    """A project whose image was made once by make."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "bake").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m bakery "$@"\n')
    (programs / "bake").chmod(0o755)
    made = Project(empty.folder, programs)
    made.write("imagefile.py", IMAGEFILE.format(cloud=str(tmp_path / "cloud")))
    made.write("helper.py", "GREETING = 'hello'\n")
    made.write("packages.txt", "nginx\n")
    made.write("files/site.conf", "server {}\n")
    made.write("tree/index.html", "<h1>\n")
    made.write("tree/deep/er/a.css", "body {}\n")
    made.write("Makefile", snippet("README.md"))
    return made


EDITED = ["imagefile.py", "helper.py", "packages.txt", "files/site.conf", "tree/index.html", "tree/deep/er/a.css"]


def test_make_makes_the_image_anew_after_each_kind_of_change_and_only_then(project: Project) -> None:
    assert project.is_made_anew()
    for name in EDITED:
        with project.as_it_was(name):
            os.utime(project.folder / name)
            assert project.would_be_made(), name
        with project.as_it_was(name):
            (project.folder / name).unlink()
            assert project.would_be_made(), f"{name} deleted"
    for name in ["tree/deep/er/new.css", "optional.conf"]:
        with project.as_it_was(name):
            project.write(name, "x")
            assert project.would_be_made(), f"{name} added"
    assert not project.would_be_made()
    time.sleep(0.02)
    before = (project.folder / "web.qcow2").read_bytes()
    (project.folder / "tree/deep/er/a.css").unlink()
    project.write("helper.py", "GREETING = 'other'\n")
    assert project.is_made_anew()
    assert (project.folder / "web.qcow2").read_bytes() != before
    time.sleep(0.02)
    os.utime(project.folder / "files/site.conf")  # another date, the same content
    assert project.is_made_anew()


def test_a_link_that_is_pointed_at_an_older_file_makes_the_image_anew(project: Project) -> None:
    for name in ("files/one.conf", "files/two.conf"):
        project.write(name, f"{name}\n")
        os.utime(project.folder / name, (1, 1))
    link = project.folder / "files/site.conf"
    link.unlink()
    link.symlink_to("one.conf")
    assert project.is_made_anew()
    time.sleep(0.02)
    link.unlink()
    link.symlink_to("two.conf")
    assert project.is_made_anew()


def test_both_pages_of_the_manual_show_the_same_makefile() -> None:
    assert snippet("README.md") == snippet("docs/cli.md")


STRANGE = [
    "with space.conf",
    "dollar$HOME.conf",
    "hash#tag.conf",
    "colon:.conf",
    "equals=x.conf",
    "semi;colon.conf",
    "pipe|.conf",
    "percent%.conf",
    "star*.conf",
    "bracket[a].conf",
    "tab\there.conf",
    "new\nline.conf",
    "back\\slash",
    "ends\\",
    "~root",
    "quote'\".conf",
    "a\\ b",
    "a\\#b",
    "ünï.conf",
    "-dash",
    "include",
    "export a",
    "(a)b",
    "a&b",
]


@pytest.mark.parametrize("name", STRANGE)
def test_a_name_that_means_something_to_make_is_a_name(empty: Place, tmp_path: Path, name: str) -> None:
    project = Project(empty.folder, tmp_path)
    project.write("Makefile", "web.qcow2:\n\ttouch $@\n-include web.d\n")
    project.write("web.d", rule(["web.qcow2"], [name]))
    project.write(name, "x")
    os.utime(project.folder / name, (1, 1))
    project.make()
    assert not project.would_be_made()
    os.utime(project.folder / name)
    os.utime(project.folder / "web.qcow2", (1, 1))
    assert project.would_be_made()
    project.make()
    (project.folder / name).unlink()
    assert project.would_be_made()


def test_what_make_takes_for_a_member_of_an_archive_is_told_by_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a copy (1)").touch()
    assert prerequisites([LocalInput("tree", tmp_path)], []) == {tmp_path}


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_written_is_known_as_ours(name: str) -> None:
    assert is_rule(rule(["web.qcow2", name], [name, "imagefile.py"]))


@pytest.mark.parametrize(
    "text",
    [
        "all: web.qcow2\n\tbake\n",
        "name: web\nimage: x\n",
        '"""Images."""\n\nimport bakery\n',
        "a = b\n",
        "a: b\n\nc:\n",
    ],
)
def test_what_somebody_else_wrote_is_not(text: str) -> None:
    assert not is_rule(text)


def test_images_are_made_side_by_side(project: Project) -> None:
    text = (project.folder / "imagefile.py").read_text()
    project.write(
        "imagefile.py", text + "\n\n@bakery.image(sources=[laptop], builtin_tests=False)\ndef db() -> None: ...\n"
    )
    rule = snippet("README.md")
    other = rule.replace("web", "db")
    project.write("Makefile", f"all: web.qcow2 db.qcow2\n{rule}{other}")
    project.make("-j2")
    project.make("-j2")  # each was written into the folder in which an optional file of the other is looked for
    assert project.make("-j2") == "make: Nothing to be done for 'all'.\n"
    time.sleep(0.02)
    project.write("packages.txt", "x\n")
    done = project.make("-j2")
    assert "build web" in done
    assert "build db" in done


@pytest.mark.all
def test_an_image_in_a_folder_of_its_own_may_have_any_name(project: Project) -> None:
    rule = snippet("README.md")
    rule = rule.replace("web.qcow2", "out/the\\ $$1\\#image.qcow2").replace("$@", "'$@'").replace("web.d", "out/web.d")
    project.write("Makefile", f"{rule}\n")
    assert project.make() != ""
    assert (project.folder / "out/the $1#image.qcow2").is_file()
    assert "is up to date" in project.make()
    time.sleep(0.02)
    project.write("helper.py", "GREETING = 'other'\n")
    assert "bake build" in project.make()
    assert "is up to date" in project.make()


@pytest.mark.all
def test_make_in_the_folder_above_finds_the_image_too(project: Project) -> None:
    rule = (
        snippet("README.md").replace("web.qcow2:", "project/web.qcow2:").replace("bake build", "bake -C project build")
    )
    rule = rule.replace("-o $@", "-o $(@F)").replace("include web.d", "include project/web.d")
    above = Project(project.folder.parent, Path())
    above.environ = project.environ
    above.write("Makefile", rule)
    above.make()
    assert above.make() == "make: 'project/web.qcow2' is up to date.\n"
    time.sleep(0.02)
    project.write("tree/deep/er/a.css", "p {}\n")
    assert "bake -C project build" in above.make()
    assert above.make() == "make: 'project/web.qcow2' is up to date.\n"


def test_an_input_that_is_edited_while_the_image_is_made_makes_it_again(project: Project) -> None:
    text = (project.folder / "imagefile.py").read_text()
    project.write("imagefile.py", text.replace('    m.copy("tree"', '    m.run("sleep 2")\n    m.copy("tree"'))
    with subprocess.Popen(
        ["make"], cwd=project.folder, env=project.environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as making:
        assert making.stderr is not None
        for line in making.stderr:
            if "task 1/1 site ..." in line:
                time.sleep(1)
                project.write("files/site.conf", "edited meanwhile\n")
    assert making.returncode == 0
    assert project.is_made_anew()


def test_nobody_who_writes_to_the_output_harms_the_kept_image(project: Project) -> None:
    project.make()
    kept = project.folder / ".bakery/images/laptop/web.qcow2"
    before = kept.read_bytes()
    with (project.folder / "web.qcow2").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    assert kept.read_bytes() == before
    os.utime(project.folder / "web.qcow2", (1, 1))
    project.make()
    assert (project.folder / "web.qcow2").read_bytes() == before
