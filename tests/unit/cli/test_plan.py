"""`bake list`, `plan`, `why`: what is in the file, what would be done and with which values."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import IMAGEFILE, Project


def values(project: Project, *words: str, build: str = "web[release=bookworm]@box") -> dict[str, tuple[Any, str]]:
    """The variables of one build, with where each came from."""
    data = project.bake("plan", "--json", *words).data
    (found,) = [planned for planned in data["builds"] if planned["name"] == build]
    return {value["name"]: (value["value"], value["origin"]) for value in found["variables"]}


def place(function: str) -> str:
    """Where a function of the imagefile is: at its decorator, one line above its name."""
    before, _, _ = IMAGEFILE.partition(f"def {function}(")
    return f"imagefile.py:{len(before.splitlines())}"


# ---- which builds ---------------------------------------------------------------------------------------------------

WEB = [f"web[release={release}]@{source}" for release in ("bookworm", "trixie") for source in ("box", "crate")]


@pytest.mark.parametrize(
    ("words", "builds"),
    [
        ([], [*WEB, "db@box"]),
        (["db"], ["db@box"]),
        (["web"], WEB),
        (["web-trixie"], WEB[2:]),
        (["web-*"], WEB),
        (["w*", "db"], [*WEB, "db@box"]),
        (["web[[]release=trixie]@crate"], WEB[3:]),
        (["web[release=trixie]@crate"], WEB[3:]),
        (["--only", "crate"], [WEB[1], WEB[3]]),
        (["--only", "c*"], [WEB[1], WEB[3]]),
        (["--except", "crate"], [WEB[0], WEB[2], "db@box"]),
        (["web", "--except", "box"], [WEB[1], WEB[3]]),
        (["web", "-v", "release=sid"], ["web@box", "web@crate"]),
    ],
)
def test_builds_are_chosen_by_image_and_source(project: Project, words: list[str], builds: list[str]) -> None:
    assert sorted(build["name"] for build in project.bake("plan", "--json", *words).data["builds"]) == sorted(builds)


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["wbe"], 2, "did you mean web?"),
        (["--only", "bx"], 2, "did you mean box?"),
        (["--except", "nowhere"], 2, "nowhere"),
        (["db", "--only", "crate"], 2, "the selection leaves nothing to build"),
        (["-v", "greting=x"], 3, "did you mean greeting?"),
        (["-v", "workers=many"], 3, "workers"),
        (["-v", "password=hunter2"], 2, "can be read by every user"),
        (["--var-file", "nowhere.toml"], 2, "cannot read the variable file"),
    ],
)
def test_what_cannot_be_chosen_is_refused(project: Project, words: list[str], code: int, part: str) -> None:
    done = project.bake("plan", *words)
    assert (done.code, done.out) == (code, "")
    assert part in done.err
    assert "hunter2" not in done.err


# ---- what a build is ------------------------------------------------------------------------------------------------


def test_a_build_is_told_with_tasks_tests_posts_and_values(project: Project) -> None:
    lines = project.bake("plan", "web-trixie", "--only", "box").out.splitlines()
    assert lines[0] == "web[release=trixie]@box  makes web-trixie with folder"
    shown = [line.split() for line in lines[1:]]
    assert shown[:2] == [["tasks"], ["hello", "Say", "hello.", place("hello")]]
    assert [line[0] for line in shown if line and line[-1].startswith("imagefile.py")] == [
        "hello",
        "workers",
        "motd",
        "tell",
    ]
    assert "    release = 'trixie' (matrix)" in lines
    assert "    workers = 4 (default)" in lines
    assert "    password is missing" in lines


def test_the_base_that_a_build_begins_with_is_named(project: Project) -> None:
    project.write(
        "import bakery\nfrom bakery.drivers import Qemu, Ubuntu\n"
        "@bakery.source\ndef box():\n    return Qemu(base=Ubuntu('noble'))\n"
        "@bakery.task\ndef t(m): ...\n@bakery.image\ndef web(): ...\n"
    )
    assert project.bake("plan").out.splitlines()[:2] == ["web@box  makes web with qemu", "  from Ubuntu(24.04)"]


def test_a_source_that_a_step_skips_has_not_that_step(project: Project) -> None:
    data = project.bake("plan", "--json", "web-trixie", "--only", "crate").data
    (build,) = data["builds"]
    assert [step["name"] for step in build["steps"]] == ["hello"]
    assert build["post"] == []


def test_the_same_file_gives_the_same_plan(project: Project) -> None:
    assert project.bake("plan", "--json").out == project.bake("plan", "--json").out


def test_one_line_of_json_is_one_object(project: Project) -> None:
    done = project.bake("--format", "json", "plan")
    assert len(done.out.splitlines()) == 1
    assert done.data["version"] == 1


def test_a_plan_makes_nothing(project: Project) -> None:
    before = sorted(project.folder.rglob("*"))
    project.bake("plan")
    assert [path for path in project.folder.rglob("*") if "__pycache__" not in path.parts] == before
    assert not project.cache.exists()


# ---- where values come from -----------------------------------------------------------------------------------------

FILES = {
    "vars.toml": 'greeting = "from toml"\nworkers = 8\n',
    "vars.json": '{"greeting": "from json", "workers": 9}',
    "vars.yaml": "greeting: from yaml\nworkers: 10\n",
}


@pytest.mark.parametrize(("name", "workers"), [("vars.toml", 8), ("vars.json", 9), ("vars.yaml", 10)])
def test_values_come_from_files(project: Project, name: str, workers: int) -> None:
    project.write(FILES[name], name)
    found = values(project, "--var-file", name)
    assert found["workers"][0] == workers
    assert name in found["workers"][1]
    assert found["greeting"][0] == f"from {name.removeprefix('vars.')}"


def test_of_two_files_the_later_one_counts(project: Project) -> None:
    for name in ("vars.toml", "vars.json"):
        project.write(FILES[name], name)
    assert values(project, "--var-file", "vars.json", "--var-file", "vars.toml")["workers"][0] == 8


def test_each_way_overrides_those_before_it(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert values(project)["greeting"] == ("hello", "default")
    project.write(FILES["vars.toml"], "vars.toml")
    assert values(project, "--var-file", "vars.toml")["greeting"][0] == "from toml"
    monkeypatch.setenv("BAKE_VAR_GREETING", "from the environment")
    assert values(project, "--var-file", "vars.toml")["greeting"] == (
        "from the environment",
        "environment BAKE_VAR_GREETING",
    )
    words = ("--var-file", "vars.toml", "-v", "greeting=said")
    assert values(project, *words)["greeting"] == ("said", "-v")
    assert values(project, *words, "-v", "greeting=said last")["greeting"] == ("said last", "-v")


@pytest.mark.parametrize(
    ("text", "value"), [("greeting=a=b", "a=b"), ("greeting=", ""), (" greeting = x", " x"), ("greeting=ü\n", "ü\n")]
)
def test_a_value_is_all_behind_the_first_equals_sign(project: Project, text: str, value: str) -> None:
    assert values(project, "-v", text)["greeting"] == (value, "-v")


@pytest.mark.parametrize("words", [["plan"], ["plan", "--json"], ["plan", "--explain"], ["list"], ["why"]])
def test_no_secret_is_shown(project: Project, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.setenv("TEST_PASSWORD", "correct horse")
    done = project.bake(*words)
    assert done.code == 0, done.err
    assert "correct horse" not in done.out + done.err


# ---- list -----------------------------------------------------------------------------------------------------------


def test_the_file_is_listed_by_image_and_variable(project: Project) -> None:
    text = project.bake("list").out
    assert text.splitlines()[0] == "web  A web image."
    rows = [line.split(maxsplit=1) for line in text.splitlines() if line.startswith("  ")]
    assert ["matrix", "release  bookworm, trixie"] in rows
    assert ["tasks", "hello, workers (skip crate)"] in rows
    assert ["post", "tell (only box)"] in rows
    assert ["password", "secret, from TEST_PASSWORD"] in rows
    assert ["workers", "int = 4"] in rows
    assert ["greeting", "str = 'hello'               What it says"] in rows


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("size: int", "int, needed"),
        ("size: int = 3", "int = 3"),
        ("size: float = 0.5", "float = 0.5"),
        ("size: bool = False", "bool = False"),
        ("size: str = ''", "str = ''"),
        ("size: 'list[str]' = bakery.var(default=['a'])", "list[str] = ['a']"),
        ("size: bakery.Secret = bakery.secret()", "secret"),
    ],
)
def test_a_variable_is_listed_with_its_type_and_default(project: Project, line: str, shown: str) -> None:
    project.write(IMAGEFILE.replace("    workers: int = 4\n", f"    workers: int = 4\n    {line}\n"))
    done = project.bake("list")
    assert done.code == 0, done.err
    (row,) = [row for row in done.out.splitlines() if row.startswith("  size")]
    assert row.split(maxsplit=1)[1] == shown


def test_the_list_as_data(project: Project) -> None:
    data = project.bake("list", "--json").data
    assert data["imagefile"] == str(project.folder / "imagefile.py")
    web, db = data["images"]
    assert (web["name"], web["doc"], web["matrix"]) == ("web", "A web image.", {"release": ["bookworm", "trixie"]})
    assert [task["skip"] for task in web["tasks"]] == [[], ["crate"]]
    assert web["location"] == place("web")
    assert [source["name"] for source in db["sources"]] == ["box"]


# ---- why ------------------------------------------------------------------------------------------------------------


def test_why_says_of_each_build_where_it_starts(project: Project) -> None:
    text = project.bake("why", "web-trixie", "--only", "box").out
    assert text.splitlines()[0] == "web[release=trixie]@box  starts at hello"
    data = project.bake("why", "db", "--json").data
    (build,) = data["builds"]
    assert build["build"] == "db@box"
    assert build["steps"] == [{"step": "hello", "reasons": ["never ran"]}]
