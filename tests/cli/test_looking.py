"""Commands that make nothing: help, list, plan, why, doctor, init; and mistakes on the command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bakery.cli.app import COMMANDS, bake

from .conftest import PASSWORD, Place


def test_help_names_every_command(empty: Place) -> None:
    done = empty.bake("--help")
    assert done.code == 0
    assert all(f"  {name} " in done.out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(empty: Place, name: str) -> None:
    done = empty.bake(name, "--help")
    assert done.code == 0
    assert "Examples:" in done.out
    assert f"bake {name}" in done.out or name == "build"


@pytest.mark.parametrize("words", [("--help",), ("list", "--help"), ("-h",)])
def test_help_needs_no_imagefile(empty: Place, words: tuple[str, ...]) -> None:
    assert empty.bake(*words).code == 0


def test_the_version_is_shown(empty: Place) -> None:
    assert empty.bake("--version").out.startswith("bake, version ")


def test_help_list_and_plan_load_no_heavy_library(empty: Place) -> None:
    empty.bake("init")
    code = "import sys; from bakery.cli import main; main(sys.argv[1:]); print(sorted(sys.modules))"
    heavy = {"rich", "fabric", "paramiko", "boto3", "openstack", "jinja2", "cryptography", "pytest", "httpx", "qemu"}
    for words in (["--help"], ["list"], ["plan"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *words], cwd=empty.folder, capture_output=True, text=True, check=True
        )
        loaded = {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1].replace("'", '"'))}
        assert not heavy & loaded


def test_naming_a_base_loads_nothing_of_what_makes_it() -> None:
    code = "import sys; from bakery.drivers import Debian; Debian('bookworm'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"tarfile", "hashlib", "filelock", "subprocess", "bakery.disk.build"} & set(done.stdout.split())


def test_list_shows_images_and_variables(place: Place) -> None:
    out = place.bake("list").out
    for part in (
        "web  A web image.",
        "box",
        "hello, noisy",
        "motd",
        "tell (only box)",
        "bookworm, trixie",
        "TEST_PASSWORD",
    ):
        assert part in out


def test_list_as_json_is_data(place: Place) -> None:
    for words in (("list", "--json"), ("--format", "json", "list"), ("list", "--format=json")):
        data = json.loads(place.bake(*words).out)
        assert [image["name"] for image in data["images"]] == ["web"]
        assert [variable["name"] for variable in data["variables"]] == ["greeting", "release", "password"]


def test_the_imagefile_is_found_from_below_by_name_and_by_folder(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    below = place.folder / "a" / "b"
    below.mkdir(parents=True)
    (place.folder / "other.py").write_text((place.folder / "imagefile.py").read_text())
    monkeypatch.chdir(below)
    assert place.bake("list").code == 0
    assert place.bake("-C", "../..", "-f", "other.py", "list").code == 0
    assert place.bake("list", "-f../../other.py").code == 0


def test_plan_needs_no_secret_and_makes_nothing(place: Place) -> None:
    done = place.bake("plan", "-v", "greeting=ho")
    assert done.code == 0
    for part in (
        "web[release=bookworm]@box",
        "makes web-trixie with folder",
        "greeting = 'ho' (-v)",
        "password is missing",
        "(matrix)",
    ):
        assert part in done.out
    assert not (place.folder / ".bakery").exists()


def test_plan_as_json_is_stable(place: Place, secret: str) -> None:
    first, second = place.bake("plan", "--json").out, place.bake("plan", "--json").out
    assert first == second
    assert [build["image"] for build in json.loads(first)["builds"]] == ["web-bookworm", "web-trixie"]
    assert secret not in first


def test_variables_come_from_files_and_the_environment_too(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.write('greeting = "from a file"\n', "vars.toml")
    monkeypatch.setenv("BAKE_VAR_RELEASE", "sid")
    out = place.bake("plan", "--var-file", "vars.toml").out
    assert "greeting = 'from a file'" in out
    assert "release = 'sid' (environment BAKE_VAR_RELEASE)" in out


def test_plan_explains_what_would_run(place: Place) -> None:
    assert "hello  runs: " in place.bake("plan", "--explain").out
    assert "starts at hello" in place.bake("why", "web").out


FAMILY = """import bakery
from bakery.testing.folder.driver import Folder

CLOUD = {cloud!r}

@bakery.source
def box() -> Folder:
    return Folder(cloud=CLOUD)

@bakery.task
def common(m):
    m.write("/etc/motd", "{text}")

@bakery.image(sources=[box], tasks=[common], builtin_tests=False)
def golden(): ...

@bakery.source
def on_golden() -> Folder:
    return Folder(cloud=CLOUD, base=golden)

@bakery.task
def own(m):
    m.write("/etc/own", "x")

@bakery.task
def last(m):
    m.write("/etc/last", "x")

@bakery.image(sources=[on_golden], tasks=[own, last], builtin_tests=False)
def app(): ...
"""


def test_why_tells_of_an_image_that_the_one_below_is_made_anew(empty: Place, tmp_path: Path) -> None:
    cloud = str(tmp_path / "cloud")
    empty.write(FAMILY.format(cloud=cloud, text="one"))
    assert empty.bake("build", "--no-test").code == 0
    assert empty.bake("why").out.count("nothing has changed") == 2
    empty.write(FAMILY.format(cloud=cloud, text="two"))
    said = {build["build"]: build["steps"] for build in json.loads(empty.bake("why", "--json").out)["builds"]}
    assert said["golden@box"][0]["reasons"]
    assert said["app@on_golden"] == [
        {"step": "own", "reasons": ["golden@box, on which it stands, is made anew"]},
        {"step": "last", "reasons": ["a step before it runs"]},
    ]
    assert "runs: golden@box, on which it stands, is made anew" in empty.bake("plan", "app", "--explain").out
    built = empty.bake("build", "--no-test")
    assert "task 1/2 own: ok" in built.err


def test_init_writes_an_imagefile_that_lists(empty: Place) -> None:
    done = empty.bake("init")
    assert (done.code, done.out) == (0, "imagefile.py\n")
    assert "nginx" in empty.bake("list").out
    assert re.search("makes project with (qemu|nspawn)\n  because ", empty.bake("plan").out), "as this host can"


def test_init_never_overwrites(place: Place) -> None:
    before = (place.folder / "imagefile.py").read_text()
    done = place.bake("init")
    assert done.code == 2
    assert "exists already" in done.err
    assert (place.folder / "imagefile.py").read_text() == before


def test_init_keeps_state_out_of_git(empty: Place) -> None:
    (empty.folder / ".git").mkdir()
    empty.write("*.pyc", ".gitignore")
    empty.bake("init")
    assert (empty.folder / ".gitignore").read_text() == "*.pyc\n.bakery/\n"


def test_doctor_looks_at_every_driver(empty: Place) -> None:
    findings = json.loads(empty.bake("doctor", "--json").out)["findings"]
    assert {"host", "cache", "qemu", "folder"} <= {finding["about"] for finding in findings}
    assert all(finding["hint"] for finding in findings if finding["state"] == "missing" and finding["about"] == "qemu")


def test_doctor_knows_its_drivers(empty: Place) -> None:
    done = empty.bake("doctor", "qemuu")
    assert done.code == 2
    assert "installed are:" in done.err


MISTAKES: dict[str, tuple[tuple[str, ...], int, str]] = {
    "no such image": (("build", "wbe"), 2, "did you mean web?"),
    "a misspelt command": (("plna",), 2, "did you mean the command `bake plan`?"),
    "no such source": (("build", "--only", "bx"), 2, "did you mean box?"),
    "no such option": (("list", "--jsn"), 2, "--json"),
    "no such variable": (("plan", "-v", "greting=x"), 3, "did you mean greeting?"),
    "a variable without a value": (("plan", "-v", "greeting"), 2, "is not NAME=VALUE"),
    "a secret in argv": (("plan", "-v", "password=x"), 2, "can be read by every user"),
    "a missing variable file": (("plan", "--var-file", "no.toml"), 2, "cannot read the variable file"),
    "a missing secret": (("build",), 3, "TEST_PASSWORD"),
    "no such run": (("report", "nope"), 2, "no run matches"),
    "no such built image": (("rm", "web"), 2, "none yet"),
    "no such time": (("build", "--deadline", "soon"), 2, "write 90s, 30m, 12h or 7d"),
    "nothing to resume": (("build", "--resume"), 2, "no run to resume"),
    "nothing to test": (("test",), 2, "name an image, or a machine with --host"),
    "one output for two images": (("build", "-o", "x.qcow2"), 2, "2 images would be built"),
    "gc by age without a driver": (("gc", "--older-than", "6h"), 2, "need --driver"),
    "gc of no driver": (("gc", "--driver", "foldr"), 2, "did you mean folder?"),
    "neither image nor run": (("ssh", "nope"), 2, "neither an image nor a run"),
    "no folder": (("-C", "/nowhere", "list"), 2, "does not exist"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_ends_with_one_clear_message(place: Place, name: str) -> None:
    words, code, part = MISTAKES[name]
    done = place.bake(*words)
    assert (done.code, done.out) == (code, "")
    assert part in done.err
    assert done.err.count("error:") == 1
    assert "Traceback" not in done.err


def test_no_imagefile_says_how_to_begin(empty: Place) -> None:
    done = empty.bake()
    assert done.code == 2
    assert "`bake init`" in done.err


def test_a_mistake_in_the_imagefile_is_shown_with_its_line(place: Place) -> None:
    place.write((place.folder / "imagefile.py").read_text().replace("def hello(m, v)", "def hello()"))
    done = place.bake("list")
    assert done.code == 3
    assert "where:  imagefile.py:2" in done.err


def test_an_error_is_data_where_data_is_asked_for(place: Place) -> None:
    done = place.bake("--format", "json", "build", "wbe")
    data = json.loads(done.out)
    assert (data["type"], data["exit_code"], data["hint"]) == ("failed", 2, "did you mean web?")


def test_a_defect_is_owned_and_its_traceback_kept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("by accident")

    monkeypatch.setattr("bakery.imagefile.describe.describe", fail)
    monkeypatch.setattr("bakery.cli.commands.list.describe", fail)
    done = place.bake("list")
    assert done.code == 1
    assert "bakery has a defect: ZeroDivisionError: by accident" in done.err
    assert "Traceback" not in done.err
    path = Path(done.err.split("the traceback is in ")[1].split()[0])
    assert "Traceback" in path.read_text()
    path.unlink()


def test_a_reader_that_leaves_is_no_error(place: Place) -> None:
    done = subprocess.run(
        ["sh", "-c", '"$0" -m bakery list --json | true', sys.executable],
        cwd=place.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_shell_completes_images_commands_and_variables(place: Place) -> None:
    from click.shell_completion import ShellComplete

    def offers(args: list[str], incomplete: str) -> list[str]:
        return [
            item.value for item in ShellComplete(bake, {}, "bake", "_BAKE_COMPLETE").get_completions(args, incomplete)
        ]

    assert "web" in offers(["build"], "w")
    assert {"web", "why"} <= set(offers([], "w"))
    assert offers(["build", "--only"], "") == ["box"]
    assert offers(["plan", "-v"], "g") == ["greeting="]
    place.write("syntax error")
    assert offers(["build"], "w") == []


def test_colours_come_on_request_only(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b" not in place.bake("list").out
    assert "\x1b" in place.bake("list", "--color=always").out
    monkeypatch.setenv("TEST_PASSWORD", PASSWORD)
    assert "\x1b" not in place.bake("--color=never", "plan").out


def test_bases_that_nobody_asked_for_lately_are_pruned(empty: Place, tmp_path: Path) -> None:
    for name, used in (("old", time.time() - 90_000), ("young", time.time())):
        folder = tmp_path / "cache" / "bases" / name
        folder.mkdir(parents=True)
        (folder / "disk.raw").write_bytes(bytes(8192))
        (folder / "lock").touch()
        os.utime(folder / "lock", (used, used))
    assert empty.bake("cache", "prune").err == "nothing to remove\n"
    assert "removed bases/old" in empty.bake("cache", "prune", "--older-than", "1d").out
    assert sorted(path.parent.name for path in tmp_path.glob("cache/bases/*/disk.raw")) == ["young"]
