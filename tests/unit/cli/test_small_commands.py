"""`bake init`, `validate`, `graph`, `man` and `completion`: what they write, and what they leave alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

from bakery.build.doctor import PROGRAMS
from bakery.cli import manpages
from bakery.cli.app import COMMANDS
from bakery.cli.starters import HOST_PACKAGES, STARTERS, TEMPLATES
from bakery.errors import UsageError

from .conftest import Project


def test_a_first_imagefile_is_written_that_can_be_listed(empty: Project) -> None:
    done = empty.bake("init")
    assert (done.code, done.out) == (0, "imagefile.py\n")
    assert "`bake` builds the image" in done.err
    assert empty.bake("list").code == 0


def test_one_that_is_there_is_never_written_over(empty: Project) -> None:
    empty.write("mine")
    done = empty.bake("init")
    assert done.code == UsageError.exit_code
    assert "imagefile.py exists already" in done.err
    assert (empty.folder / "imagefile.py").read_text() == "mine"


def test_a_folder_that_is_not_there_is_no_defect_of_ours(empty: Project) -> None:
    done = empty.bake("init", "-f", "gone/imagefile.py")
    assert done.code == UsageError.exit_code
    assert "No such file or directory" in done.err


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, ".bakery/\n"),
        ("*.pyc", "*.pyc\n.bakery/\n"),
        ("*.pyc\n", "*.pyc\n.bakery/\n"),
        (".bakery\n", ".bakery\n"),
        ("/x\n  .bakery/  \n", "/x\n  .bakery/  \n"),
    ],
)
def test_in_a_repository_our_own_files_are_ignored_once(empty: Project, before: str | None, after: str) -> None:
    (empty.folder.parent / ".git").mkdir()
    if before is not None:
        empty.write(before, ".gitignore")
    empty.bake("init")
    assert (empty.folder / ".gitignore").read_text() == after


def test_outside_of_one_nothing_is_ignored(empty: Project) -> None:
    empty.bake("init")
    assert not (empty.folder / ".gitignore").exists()


# ---- templates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", STARTERS)
@pytest.mark.parametrize("template", TEMPLATES)
def test_every_template_is_an_imagefile_without_a_mistake(empty: Project, driver: str, template: str) -> None:
    assert empty.bake("init", "--driver", driver, "--template", template).code == 0
    done = empty.bake("validate", "--json")
    assert done.code == 0, done.err
    assert {build.partition("@")[0] for build in done.data["builds"]} == {
        "golden": {"golden", "app"},
        "web": {"web"},
    }.get(template, {empty.folder.name})
    built_with = {"nspawn", "qemu"} if driver == "local" else {driver}  # this host has the choice
    assert {build["driver"] for build in empty.bake("plan", "--json").data["builds"]} <= built_with
    tree = ast.parse((empty.folder / "imagefile.py").read_text())
    imported = {alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert imported <= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


@pytest.mark.parametrize("driver", STARTERS)
def test_the_jobs_of_a_ci_service_are_what_it_reads(empty: Project, driver: str) -> None:
    done = empty.bake("init", "--template", "ci", "--driver", driver)
    assert done.out.split() == ["imagefile.py", ".github/workflows/images.yml", ".gitlab-ci.yml"]
    github = yaml.safe_load((empty.folder / ".github/workflows/images.yml").read_text())
    steps = github["jobs"]["bake"]["steps"]
    said = [step["run"] for step in steps if "run" in step]
    assert f"bake doctor {STARTERS[driver].drivers or driver}" in said
    assert "bake build --junit junit.xml --manifest manifest.json" in said
    assert "bake gc" in said
    kept = " ".join(step["with"]["path"] for step in steps if "upload-artifact" in step.get("uses", ""))
    assert kept.split() == [".bakery/images", "manifest.json", ".bakery/runs/*/report.html", "junit.xml"]
    cache = next(step for step in steps if "cache" in step.get("uses", ""))
    assert cache["with"]["key"] == "bakery-${{ github.ref_name }}-${{ github.run_id }}"
    gitlab = yaml.safe_load((empty.folder / ".gitlab-ci.yml").read_text())
    assert gitlab["bake"]["variables"]["BAKERY_CACHE_DIR"].endswith(gitlab["bake"]["cache"]["paths"][0])
    assert "bake validate" in gitlab["bake"]["script"]
    assert gitlab["bake"]["after_script"] == ["bake gc"]
    assert {".bakery/images/", "manifest.json"} < {*gitlab["bake"]["artifacts"]["paths"]}
    sweep = f"bake gc --driver {driver} --older-than 6h"
    for jobs in (github["jobs"], gitlab):
        steps = jobs["sweep"].get("steps", jobs["sweep"].get("script")) if "sweep" in jobs else []
        assert (sweep in str(steps)) is not STARTERS[driver].here


def test_a_job_installs_all_that_a_host_needs() -> None:
    """It builds what `tools/host-packages` makes a host build, and `bake doctor` finds nothing missing there."""
    script = (Path(__file__).parents[3] / "tools/host-packages").read_text()
    whole = script.partition('packages="')[2].partition('"')[0].split()
    for_working_on_bakery = {"busybox-static", "openssh-server", "python3-venv", "make"}
    assert {*HOST_PACKAGES.split()} == {*whole} - for_working_on_bakery
    wanted = {program.package for name in ("host", "qemu", "nspawn") for program in PROGRAMS[name]}
    assert wanted - {*HOST_PACKAGES.split()} == {"util-linux"}  # every Debian has that


def test_a_second_init_says_what_to_do_instead(empty: Project) -> None:
    assert empty.bake("init").code == 0
    done = empty.bake("init")
    assert done.code == UsageError.exit_code
    assert "imagefile.py exists already, and stays as it is" in done.err
    assert "`bake` builds it; `bake init --template ci` adds" in done.err


def test_jobs_are_written_beside_an_imagefile_that_is_there(empty: Project) -> None:
    empty.write("mine")
    assert empty.bake("init", "--template", "ci").out.split() == [".github/workflows/images.yml", ".gitlab-ci.yml"]
    assert (empty.folder / "imagefile.py").read_text() == "mine"


def test_where_one_of_several_files_is_there_none_is_written(empty: Project) -> None:
    empty.write("mine", ".gitlab-ci.yml")
    done = empty.bake("init", "--template", "ci")
    assert done.code == UsageError.exit_code
    assert ".gitlab-ci.yml exists already" in done.err
    assert sorted(path.name for path in empty.folder.iterdir()) == [".gitlab-ci.yml"]


# ---- mistakes -------------------------------------------------------------------------------------------------------


def test_a_file_without_a_mistake_is_said_to_be_that(project: Project) -> None:
    done = project.bake("validate")
    assert (done.code, done.out) == (0, "imagefile.py: 2 images, 5 builds, no mistake found\n")
    assert "the secret password is needed; it is not given here" in done.err
    assert project.bake("validate", "--json").data["missing_secrets"] == ["password"]
    assert not (project.folder / ".bakery").exists()


SOURCE = """import bakery
from bakery.drivers import CloudImage, Debian, Nspawn, Qemu


@bakery.source
def here():
    return {source}


@bakery.task
def nothing(m): ...
"""
MISTAKES = [
    ('Qemu(base=Debian("sarge"))', "Debian has no suite 'sarge'", 7),
    ('Qemu(base=CloudImage("https://x.example/d.qcow2", checksum="md5:12"))', "'md5:12' is no checksum", 5),
    ('Qemu(base=CloudImage("https://x.example/d.qcow2", checksum="sha256:12"))', "'sha256:12' is no checksum", 5),
    ('Qemu(base=CloudImage("x.example/d", checksum="https://x.example/SUMS"))', "no address that can be", 5),
    ('Qemu(base="debian.qcow2")', "Qemu(base='debian.qcow2'): a text is no base", 5),
    ("Nspawn(base=Debian)", "Nspawn(base=Debian): a class, and nothing made with it", 5),
    ("Qemu(base=None)", "Qemu(base=None): no base", 5),
    ("Nspawn(base=12)", "Nspawn(base=12): no base", 5),
]


@pytest.mark.parametrize("command", ["validate", "plan", "build"])
@pytest.mark.parametrize(("source", "what", "line"), MISTAKES, ids=lambda value: str(value)[:30])
def test_a_base_that_is_none_is_refused_with_its_line(
    empty: Project, command: str, source: str, what: str, line: int
) -> None:
    empty.write(SOURCE.format(source=source))
    done = empty.bake(command)
    assert done.code == 3
    assert what in done.err
    assert f"where:  imagefile.py:{line}" in done.err
    assert not (empty.folder / ".bakery").exists()


# ---- manual pages ---------------------------------------------------------------------------------------------------


def test_every_command_has_a_page_that_names_its_options(project: Project, tmp_path: Path) -> None:
    done = project.bake("man", "--to", str(tmp_path / "man"))
    assert done.code == 0
    assert {path.name for path in (tmp_path / "man").iterdir()} == {"bake.1", *(f"bake-{name}.1" for name in COMMANDS)}
    build = project.bake("man", "build").out
    assert ".TH" in build
    assert "\\-\\-phase\\-timeout" in build
    assert "bake web \\-\\-on\\-failure=ask" in build


@pytest.mark.parametrize("text", [".so /etc/passwd", "'tricky", "a\n.b", "back\\slash", "-v `x`"])
def test_no_text_is_a_command_of_troff(text: str) -> None:
    shown = manpages._text(text)
    assert not shown.startswith((".", "'"))
    assert "\n" not in shown
    assert shown.replace("\\&", "").replace("\\-", "-").replace("\\(ga", "`").replace("\\e", "\\") == " ".join(
        text.split()
    )


def test_a_page_of_a_command_that_is_not_there_is_refused(project: Project) -> None:
    assert project.bake("man", "bild").code == UsageError.exit_code
    assert project.bake("man", "--to", "imagefile.py/x").code == UsageError.exit_code


# ---- pictures and completion ----------------------------------------------------------------------------------------


def test_images_are_drawn_in_either_language(project: Project) -> None:
    assert project.bake("graph").out.startswith(("flowchart", "graph"))
    assert project.bake("graph", "db", "--as", "dot").out.startswith("digraph")
    assert {build["name"] for build in project.bake("graph", "db", "--format", "json").data["builds"]} == {
        "db@box",
    }


def test_a_graph_says_what_the_plan_warns_of(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from bakery.cli.project import Project as View

    plan = View.plan
    monkeypatch.setattr(View, "plan", lambda *given: replace(plan(*given), warnings=("mind the gap",)))
    done = project.bake("graph")
    assert "warning: mind the gap" in done.err
    assert "mind the gap" not in done.out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_is_told_how_to_ask_us(project: Project, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    monkeypatch.setattr("click.shell_completion.BashComplete._check_version", lambda *_: None)
    done = project.bake("completion", shell)
    assert done.code == 0
    assert f"_BAKE_COMPLETE={shell}_complete" in done.out
