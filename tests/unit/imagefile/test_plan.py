"""Resolving variables, multiplying the matrix, selecting, ordering: pure data."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bakery.build.job import Jobs
from bakery.errors import ImagefileError, UsageError
from bakery.imagefile import loader
from bakery.imagefile.builds import ImageRef, Plan
from bakery.imagefile.conversion import convert
from bakery.imagefile.plan import Selection, plan
from bakery.imagefile.recipe import Recipe
from bakery.imagefile.variables import Settings

FILE = '''
import bakery
from bakery.testing.folder.driver import Folder

@bakery.variables
class Vars:
    release: str = bakery.var(default="bookworm", help="Debian release")
    workers: int = 4
    fast: bool = False
    password: bakery.Secret = bakery.secret(env="WEB_PASSWORD")

@bakery.source
def laptop(v: Vars) -> Folder:
    return Folder(cloud=f"cloud-{v.release}")

@bakery.source
def far() -> Folder:
    return Folder(cloud="far")

@bakery.task
def base(m):
    """Bring it up to date.

    More.
    """

@bakery.task(only=[laptop], retries=2)
def local(m, v): ...

@bakery.test(skip=[far])
def works(host): ...

@bakery.image(sources=[laptop, far], matrix={"release": ["bullseye", "bookworm"]}, tasks=[base, local], tests=[works])
def web(v: Vars) -> str:
    return f"web-{v.release}"

@bakery.source
def on_web() -> Folder:
    return Folder(cloud="x", base=web)
'''
Make = Callable[[str], Recipe]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write an imagefile and load it."""

    def write(text: str) -> Recipe:
        file = tmp_path / "imagefile.py"
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        return loader.load(file)

    return write


def names(made: Plan) -> list[str]:
    return [build.name for build in made.builds]


def test_every_cell_of_the_matrix_is_built_from_every_source(make: Make) -> None:
    made = plan(make(FILE), Settings())
    assert names(made) == [
        "web[release=bullseye]@laptop",
        "web[release=bullseye]@far",
        "web[release=bookworm]@laptop",
        "web[release=bookworm]@far",
    ]
    first, second = made.builds[:2]
    assert (first.image, first.driver, first.boot.cloud) == ("web-bullseye", "folder", "cloud-bullseye")  # type: ignore[attr-defined]  # a Folder
    assert [step.name for step in first.steps] == ["base", "local"]
    assert [step.name for step in second.steps] == ["base"]
    assert first.steps[0].doc == "Bring it up to date."
    assert first.steps[1].options == {"retries": 2}
    assert not second.tests


def test_two_plans_of_one_file_are_equal_and_json(make: Make) -> None:
    one, other = plan(make(FILE), Settings()), plan(make(FILE), Settings())
    assert json.dumps(one.to_json()) == json.dumps(other.to_json())
    assert one == other


def test_values_remember_where_they_came_from(make: Make, tmp_path: Path) -> None:
    file = tmp_path / "prod.toml"
    file.write_text("workers = 8\nfast = true\n", encoding="utf-8")
    settings = Settings(values={"fast": "no"}, files=(file,), environ={"WEB_PASSWORD": "hunter22"})
    first = plan(make(FILE), settings).builds[0]
    assert {value.name: (value.value, value.origin) for value in first.variables} == {
        "release": ("bullseye", "matrix"),
        "workers": (8, str(file)),
        "fast": (False, "-v"),
        "password": (None, "environment WEB_PASSWORD"),
    }


def test_an_axis_on_the_command_line_replaces_its_list(make: Make) -> None:
    made = plan(make(FILE), Settings(values={"release": "trixie"}))
    assert names(made) == ["web@laptop", "web@far"]
    assert made.builds[0].image == "web-trixie"


def test_a_list_in_a_variable_file_replaces_an_axis_by_another(make: Make, tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text("release: [trixie, sid]\n", encoding="utf-8")
    made = plan(make(FILE), Settings(files=(file,)))
    assert [build.image for build in made.builds[::2]] == ["web-trixie", "web-sid"]


def test_the_environment_wins_over_a_file_and_loses_to_the_command_line(make: Make, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"workers": 1}', encoding="utf-8")
    environ = {"BAKE_VAR_WORKERS": "2"}
    of = {value.name: value for value in plan(make(FILE), Settings(files=(file,), environ=environ)).builds[0].variables}
    assert (of["workers"].value, of["workers"].origin) == (2, "environment BAKE_VAR_WORKERS")
    settings = Settings(files=(file,), environ=environ, values={"workers": "3"})
    assert plan(make(FILE), settings).builds[0].variables[1].value == 3


def test_a_plan_needs_no_secret_and_a_build_asks_for_each_that_is_missing(make: Make) -> None:
    recipe = make(FILE)
    made = plan(recipe, Settings())
    jobs = Jobs(made, recipe, Settings())
    assert {name for build in made.builds for name in jobs[build.name].missing_secrets} == {"password"}
    error = jobs[made.builds[0].name].missing_secrets["password"]
    assert "the secret password is missing" in str(error)
    assert "WEB_PASSWORD" in str(error)
    assert error.where is not None
    assert error.where.line == 10
    assert "hunter22" not in json.dumps(plan(recipe, Settings(environ={"WEB_PASSWORD": "hunter22"})).to_json())


def test_a_secret_on_the_command_line_is_refused(make: Make) -> None:
    with pytest.raises(UsageError, match="command line can be read"):
        plan(make(FILE), Settings(values={"password": "hunter22"}))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"wrokers": "1"}, ["unknown variable 'wrokers'", "did you mean workers?"]),
        ({"workers": "many"}, ["workers is 'many' (-v), which is not int", "imagefile.py:8"]),
        ({"fast": "perhaps"}, ["true or false is wanted"]),
    ],
)
def test_a_wrong_value_is_an_imagefile_error(make: Make, values: dict[str, str], words: list[str]) -> None:
    with pytest.raises(ImagefileError) as caught:
        plan(make(FILE), Settings(values=values))
    for word in words:
        assert word in str(caught.value)


def test_an_environment_variable_that_nobody_declared_is_a_warning(make: Make) -> None:
    (warning,) = plan(make(FILE), Settings(environ={"BAKE_VAR_WORKER": "1"})).warnings
    assert "BAKE_VAR_WORKER" in warning


def test_selection_takes_globs_names_of_images_and_sources(make: Make) -> None:
    recipe = make(FILE)
    assert len(plan(recipe, Settings(), Selection(images=("web-bull*",))).builds) == 2
    assert names(plan(recipe, Settings(), Selection(only=("lap*",), images=("web-bookworm",)))) == [
        "web[release=bookworm]@laptop"
    ]
    assert len(plan(recipe, Settings(), Selection(exclude=("far",))).builds) == 2
    assert len(plan(recipe, Settings(), Selection(images=("web[release=bookworm]@far",))).builds) == 1


@pytest.mark.parametrize(
    ("select", "hint"),
    [
        (Selection(images=("wbe",)), "did you mean web?"),
        (Selection(only=("laptpo",)), "did you mean laptop?"),
        (Selection(only=("far",), exclude=("far",)), "bake list"),
    ],
)
def test_a_selection_of_nothing_is_a_usage_error(make: Make, select: Selection, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan(make(FILE), Settings(), select)
    assert hint in str(caught.value)


def test_two_images_of_one_name_are_refused(make: Make) -> None:
    with pytest.raises(ImagefileError, match="two images of one name"):
        plan(make(FILE.replace('f"web-{v.release}"', '"web"')), Settings())


@pytest.mark.parametrize("name", ['"../x"', '""  or "a b"', "7"])
def test_a_name_that_is_no_file_name_is_refused(make: Make, name: str) -> None:
    with pytest.raises(ImagefileError, match="as its name"):
        plan(make(FILE.replace('f"web-{v.release}"', name)), Settings())


def test_a_source_that_returns_something_else_is_refused(make: Make) -> None:
    with pytest.raises(ImagefileError, match="returns NoneType, not a source"):
        plan(make(FILE.replace('    return Folder(cloud="far")', "    ...")), Settings())


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("object()", "object is not model data"),
        ("[{'a': object()}]", "object is not model data"),
        ("{1, 'a'}", "'<' not supported"),
        ("bakery.Secret('abcdef')", "Secret is not model data"),
        ("RING", "recursion"),
    ],
)
def test_a_value_that_cannot_be_written_down_is_refused_at_its_source(
    make: Callable[[str], Recipe], value: str, why: str
) -> None:
    text = "import bakery\nfrom bakery.testing.folder.driver import Folder\nRING = []\nRING.append(RING)\n"
    with pytest.raises(ImagefileError, match=r"source here: cloud= cannot be written down") as raised:
        plan(make(f"{text}\n@bakery.source\ndef here():\n    return Folder(cloud={value})\n"), Settings())
    assert why in raised.value.why
    assert raised.value.where is not None


def test_a_source_that_raises_is_explained_at_its_line(make: Make) -> None:
    with pytest.raises(ImagefileError) as caught:
        plan(make(FILE.replace('Folder(cloud="far")', 'Folder(clout="far", base=None)')), Settings())
    assert "did you mean cloud= ?" in str(caught.value)
    assert "imagefile.py:18" in str(caught.value)


GRAPH = (
    FILE
    + """
@bakery.image(sources=[on_web], tasks=[], tests=[], matrix={"release": ["bullseye", "bookworm"]})
def app(v: Vars) -> str:
    return f"app-{v.release}"
"""
)


def test_an_image_stands_on_the_same_cell_of_its_base(make: Make) -> None:
    text = GRAPH.replace("sources=[laptop, far]", "sources=[laptop]")
    made = plan(make(text), Settings(), Selection(images=("app-bookworm",)))
    assert names(made) == ["web[release=bookworm]@laptop", "app[release=bookworm]@on_web"]
    assert made.builds[1].after == ("web[release=bookworm]@laptop",)
    assert made.builds[1].boot.base == ImageRef(build="web[release=bookworm]@laptop")


def test_a_base_with_two_sources_to_choose_from_is_refused(make: Make) -> None:
    with pytest.raises(ImagefileError, match="stands on web, of which more than one build would do"):
        plan(make(GRAPH), Settings())


def test_images_that_stand_on_each_other_are_refused(make: Make) -> None:
    text = """
    import bakery
    from bakery.testing.folder.driver import Folder

    @bakery.source
    def a(): return Folder(cloud="x", base=two)

    @bakery.source
    def b(): return Folder(cloud="x", base=one)

    @bakery.image(sources=[a])
    def one(): ...

    @bakery.image(sources=[b])
    def two(): ...
    """
    with pytest.raises(ImagefileError, match=r"in a ring: one@a -> two@b -> one@a"):
        plan(make(text), Settings())


def test_an_image_that_is_built_from_all_sources_is_told_to_name_its_own(make: Make) -> None:
    text = """
    import bakery
    from bakery.testing.folder.driver import Folder

    @bakery.source
    def box(): return Folder(cloud="x")

    @bakery.image
    def golden(): ...

    @bakery.source
    def on_golden(): return Folder(cloud="x", base=golden)

    @bakery.image(sources=[on_golden])
    def app(): ...
    """
    with pytest.raises(ImagefileError, match=r"golden@on_golden -> golden@on_golden") as raised:
        plan(make(text), Settings())
    assert "@bakery.image(sources=[box])" in raised.value.hint
    assert raised.value.where is not None


def test_a_plan_is_frozen(make: Make) -> None:
    made = plan(make(FILE), Settings())
    with pytest.raises(AttributeError):
        made.builds[0].image = "other"  # type: ignore[misc]  # that is the test
    assert replace(made.builds[0], image="other") != made.builds[0]


@pytest.mark.parametrize(
    ("value", "wanted", "result"),
    [
        ("4", int, 4),
        ("4.5", float, 4.5),
        (4, float, 4.0),
        ("yes", bool, True),
        ("off", bool, False),
        ("a, b", list[str], ["a", "b"]),
        (["1"], tuple[int, ...], (1,)),
        ("", int | None, None),
        ("7", int | None, 7),
        ("/x", Path, Path("/x")),
    ],
)
def test_text_becomes_the_annotated_type(value: object, wanted: object, result: object) -> None:
    assert convert(value, wanted) == result


@pytest.mark.parametrize(("value", "wanted"), [(4.5, int), (True, int), ("maybe", bool), (4, str), (3, list[str])])
def test_a_value_of_another_type_is_refused(value: object, wanted: object) -> None:
    with pytest.raises(ValueError, match="wanted"):
        convert(value, wanted)
