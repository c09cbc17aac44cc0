"""Variables of every type, from every place that a value may come from; and classes that hold none."""

# ruff: noqa: S307
# The tables hold small imagefiles, each in a line, and expressions of the tests' own.

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bakery.errors import ImagefileError
from bakery.imagefile import loader
from bakery.imagefile.plan import plan
from bakery.imagefile.recipe import Recipe
from bakery.imagefile.variables import Settings
from bakery.model import Endpoint, to_json
from bakery.smoke import SmokeJob, wire
from bakery.state.ssh_keys import Keys

from .ways import HEAD, SOURCE

Load = Callable[[str], Recipe]
TYPES = """
import datetime as dt
import enum
import ipaddress
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, NewType, Optional, TypedDict


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclass(frozen=True)
class Disk:
    size: int
    mount: Path = Path("/")


class Pair(NamedTuple):
    name: str
    port: int


class Row(TypedDict):
    port: int


class Host:
    def __init__(self, text):
        self.text = text

    def __eq__(self, other):
        return isinstance(other, Host) and self.text == other.text


Port = NewType("Port", int)
"""
VALUES: dict[str, tuple[str, str, str]] = {
    "list[str]": ('["a","b"]', '["a", "b"]', "['a', 'b']"),
    "list[int]": ("1, 2", "[1, 2]", "[1, 2]"),
    "list": ('[1, "a"]', '[1, "a"]', "[1, 'a']"),
    "tuple[str, int]": ("a,1", '["a", 1]', "('a', 1)"),
    "tuple[int, ...]": ("[1, 2]", "[1, 2]", "(1, 2)"),
    "Sequence[str]": ("a,b", '["a", "b"]', "['a', 'b']"),
    "set[str]": ("a", '["a"]', "{'a'}"),
    "frozenset[int]": ("[3]", "[3]", "frozenset({3})"),
    "dict": ('{"a":1}', '{"a": 1}', "{'a': 1}"),
    "dict[str, int]": ('{"a": "1"}', '{"a": 1}', "{'a': 1}"),
    "dict[int, list[str]]": ('{"1": ["a"]}', '{"1": ["a"]}', "{1: ['a']}"),
    "Mapping[str, str]": ('{"a": "b"}', '{"a": "b"}', "{'a': 'b'}"),
    "list[dict[str, int]]": ('[{"a": 1}]', '[{"a": 1}]', "[{'a': 1}]"),
    "Row": ('{"port": "80"}', '{"port": 80}', "{'port': 80}"),
    "Pair": ('{"name": "a", "port": 1}', '{"name": "a", "port": 1}', "Pair('a', 1)"),
    "Disk": ('{"size": "8", "mount": "/srv"}', '{"size": 8, "mount": "/srv"}', "Disk(8, Path('/srv'))"),
    "list[Disk]": ('[{"size": 8}]', '[{"size": 8, "mount": "/"}]', "[Disk(8)]"),
    "dt.date": ("2026-01-31", '"2026-01-31"', "dt.date(2026, 1, 31)"),
    "dt.datetime": ("2026-01-31T12:00:00", '"2026-01-31T12:00:00"', "dt.datetime(2026, 1, 31, 12)"),
    "dt.time": ("12:30", '"12:30:00"', "dt.time(12, 30)"),
    "dt.timedelta": ("10m", '"600s"', "dt.timedelta(minutes=10)"),
    "Decimal": ("1.10", '"1.10"', "Decimal('1.10')"),
    "uuid.UUID": (
        "12345678-1234-5678-1234-567812345678",
        '"12345678-1234-5678-1234-567812345678"',
        "uuid.UUID('12345678-1234-5678-1234-567812345678')",
    ),
    "ipaddress.IPv4Address": ("10.0.0.1", '"10.0.0.1"', "ipaddress.ip_address('10.0.0.1')"),
    "ipaddress.IPv6Network": ("fd00::/8", '"fd00::/8"', "ipaddress.ip_network('fd00::/8')"),
    "ipaddress.IPv4Address | ipaddress.IPv6Address": ("::1", '"::1"', "ipaddress.ip_address('::1')"),
    "Path": ("/srv", '"/srv"', "Path('/srv')"),
    "Colour": ("blue", '"blue"', "Colour.BLUE"),
    "Level": ("2", "2", "Level.HIGH"),
    "list[Colour]": ("red,blue", '["red", "blue"]', "[Colour.RED, Colour.BLUE]"),
    "Literal['a', 1]": ("1", "1", "1"),
    "int | str": ("x", '"x"', "'x'"),
    "str | int": ("5", '"5"', "'5'"),
    "Optional[int]": ("none", "null", "None"),
    "int | None": ("4", "4", "4"),
    "float": ("0.5", "0.5", "0.5"),
    "bool": ("on", "true", "True"),
    "bytes": ("abc", '"abc"', "b'abc'"),
    "Port": ("80", "80", "80"),
    "Annotated[int, 'a port']": ("80", "80", "80"),
    "Any": ("x", '"x"', "'x'"),
}
"""An annotation: what `-v` gives, what the plan shows, and the object that a task gets."""


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Write an imagefile and read it."""

    def write(text: str) -> Recipe:
        file = tmp_path / "imagefile.py"
        file.write_text(f"{HEAD}{SOURCE}{TYPES}{text}", encoding="utf-8")
        return loader.load(file)

    return write


def of_plan(recipe: Recipe, values: dict[str, str] | None = None, files: tuple[Path, ...] = ()) -> tuple[Any, Any]:
    """The value of `it`: as the plan shows it, and as a task gets it."""
    settings = Settings(values=values or {}, files=files)
    made = plan(recipe, settings)
    (shown,) = made.builds[0].variables
    json.dumps(to_json(made))
    return shown.value, made.variables[made.builds[0].name]


def sent(recipe: Recipe, variables: Any, folder: Path) -> Any:
    """The variables, as the process of the smoke tests gets them."""
    job = SmokeJob(
        imagefile=recipe.file,
        tests=(),
        endpoint=Endpoint(),
        variables=variables,
        junit=folder / "j.xml",
        keys=Keys(user_public="", user_private="", host_public="", host_private=""),
    )
    return wire.rebuild(recipe.variables, wire.load(wire.dump(job)).variables)


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_from_the_command_line(load: Load, tmp_path: Path, kind: str) -> None:
    text, shown, expected = VALUES[kind]
    recipe = load(f"@bakery.variables\nclass Vars:\n    it: {kind}\n")
    value, variables = of_plan(recipe, {"it": text})
    assert value == json.loads(shown)
    assert variables.it == eval(expected, vars(recipe.module))
    assert sent(recipe, variables, tmp_path) == variables


@pytest.mark.parametrize("kind", VALUES)
def test_a_default(load: Load, tmp_path: Path, kind: str) -> None:
    _, shown, default = VALUES[kind]
    recipe = load(f"@bakery.variables\nclass Vars:\n    it: {kind} = bakery.var(default_factory=lambda: {default})\n")
    value, variables = of_plan(recipe)
    assert value == json.loads(shown)
    assert variables.it == eval(default, vars(recipe.module))
    assert sent(recipe, variables, tmp_path) == variables


@pytest.mark.parametrize("kind", [kind for kind in VALUES if kind not in ("bytes", "Any")])
def test_a_value_of_a_json_file(load: Load, tmp_path: Path, kind: str) -> None:
    _, shown, expected = VALUES[kind]
    file = tmp_path / "values.json"
    file.write_text(f'{{"it": {shown}}}', encoding="utf-8")
    recipe = load(f"@bakery.variables\nclass Vars:\n    it: {kind}\n")
    assert of_plan(recipe, files=(file,))[1].it == eval(expected, vars(recipe.module))


@pytest.mark.parametrize("kind", ["dt.date", "dt.datetime", "dt.time", "Any"])
def test_a_date_of_a_toml_file(load: Load, tmp_path: Path, kind: str) -> None:
    expected = VALUES.get(kind, VALUES["dt.date"])[2] if kind != "Any" else "dt.date(2026, 1, 31)"
    text = {"dt.datetime": "2026-01-31T12:00:00", "dt.time": "12:30:00"}.get(kind, "2026-01-31")
    (tmp_path / "values.toml").write_text(f"it = {text}\n", encoding="utf-8")
    recipe = load(f"@bakery.variables\nclass Vars:\n    it: {kind}\n")
    _, variables = of_plan(recipe, files=(tmp_path / "values.toml",))
    assert variables.it == eval(expected, vars(recipe.module))
    assert sent(recipe, variables, tmp_path) == variables


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("dict", "a=1", "valid JSON"),
        ("dict[str, int]", '["a"]', "a mapping is wanted"),
        ("list[int]", "[1, 2", "valid JSON"),
        ("list[int]", "a,b", "a whole number is wanted"),
        ("tuple[str, int]", "a", "a list of 2 is wanted"),
        ("dt.date", "tomorrow", "2026-01-31"),
        ("dt.timedelta", "soon", "span of time"),
        ("ipaddress.IPv4Address", "300.0.0.1", "IPv4Address is wanted"),
        ("Colour", "green", "allowed are: red, blue"),
        ("Disk", '{"sise": 1}', "did you mean size?"),
        ("Disk", "{}", "size"),
        ("int | None", "x", "whole number"),
        ("Literal['a']", "b", "allowed are: a"),
        ("Decimal", "x", "decimal"),
    ],
)
def test_a_value_that_does_not_fit(load: Load, kind: str, text: str, words: str) -> None:
    recipe = load(f"@bakery.variables\nclass Vars:\n    it: {kind}\n")
    with pytest.raises(ImagefileError, match="variable it is") as caught:
        of_plan(recipe, {"it": text})
    assert words in str(caught.value)
    assert caught.value.where is not None


CLASSES = {
    "a dataclass below": (
        "@bakery.variables\n@dataclass\nclass Vars:\n    it: list[str] = field(default_factory=lambda: ['a'])\n",
        "['a']",
    ),
    "a dataclass with a description": (
        "@bakery.variables\n@dataclass\nclass Vars:\n    it: str = bakery.var(default='a', choices=('a', 'b'))\n",
        "'a'",
    ),
    "a frozen dataclass": ("@bakery.variables\n@dataclass(frozen=True)\nclass Vars:\n    it: int = 1\n", "1"),
    "a list as a default": ("@bakery.variables\nclass Vars:\n    it: list[str] = ['a']\n", "['a']"),
    "a described list": ("@bakery.variables\nclass Vars:\n    it: list[str] = bakery.var(default=['a'])\n", "['a']"),
    "a mapping as a default": ("@bakery.variables\nclass Vars:\n    it: dict[str, int] = {'a': 1}\n", "{'a': 1}"),
    "an inherited variable": (
        "@bakery.variables\nclass Base:\n    it: int = 1\n@bakery.variables\nclass Vars(Base):\n    pass\n",
        "1",
    ),
    "a constant and a property": (
        (
            "@bakery.variables\nclass Vars:\n    it: int = 1\n    MOST: ClassVar[int] = 9\n    _cache = {}\n"
            "    @property\n    def twice(self): return self.it * 2\n"
        ),
        "1",
    ),
}


@pytest.mark.parametrize("what", CLASSES)
def test_a_class_of_variables_may_be(load: Load, what: str) -> None:
    text, default = CLASSES[what]
    recipe = load(text)
    _, variables = of_plan(recipe)
    assert variables.it == eval(default)
    with pytest.raises(AttributeError):
        variables.it = 2


def test_tests_get_the_values_that_a_class_has_made_of_them_and_not_once_more(load: Load, tmp_path: Path) -> None:
    recipe = load(
        "@bakery.variables\nclass Vars:\n    it: int = 1\n    def __post_init__(self):\n"
        "        object.__setattr__(self, 'it', self.it + 1)\n        object.__setattr__(self, 'also', 'derived')\n"
    )
    _, variables = of_plan(recipe, {"it": "5"})
    assert (variables.it, variables.also) == (6, "derived")
    again = sent(recipe, variables, tmp_path)
    assert (again.it, again.also) == (6, "derived")


def test_what_a_dataclass_below_says_of_its_fields_is_kept(load: Load) -> None:
    recipe = load(CLASSES["a dataclass with a description"][0])
    with pytest.raises(ImagefileError, match="not one of: a, b"):
        of_plan(recipe, {"it": "c"})
    text = "@bakery.variables\n@dataclass\nclass Vars:\n    it: bakery.Secret = bakery.secret(env='NOWHERE')\n"
    assert plan(load(text), Settings()).builds[0].variables[0].missing


def test_each_object_gets_a_list_of_its_own(load: Load) -> None:
    recipe = load(CLASSES["a list as a default"][0])
    assert recipe.variables is not None
    recipe.variables().it.append("b")
    assert recipe.variables().it == ["a"]


NONE = {
    "unannotated": ("@bakery.variables\nclass Vars:\n    size = 1\n", ["size of Vars has no type", "size: int"]),
    "unannotated and described": ("@bakery.variables\nclass Vars:\n    size = bakery.var(default=1)\n", ["no type"]),
    "inherited from a plain class": (
        "class Base:\n    size: int = 1\n@bakery.variables\nclass Vars(Base):\n    other: int = 2\n",
        ["inherits size from Base", "@bakery.variables above Base"],
    ),
    "inherited from a dataclass": (
        "@dataclass\nclass Base:\n    size: int = 1\n@bakery.variables\nclass Vars(Base):\n    other: int = 2\n",
        ["dataclass Base", "in place of @dataclass"],
    ),
    "a dataclass above": ("@dataclass\n@bakery.variables\nclass Vars:\n    size: int = 1\n", ["take @dataclass away"]),
    "a dataclass with slots": (
        "@bakery.variables\n@dataclass(slots=True)\nclass Vars:\n    size: int = 1\n",
        ["slots"],
    ),
    "a NamedTuple": ("@bakery.variables\nclass Vars(NamedTuple):\n    size: int = 1\n", ["no ordinary class"]),
    "a TypedDict": ("@bakery.variables\nclass Vars(TypedDict):\n    size: int\n", ["no ordinary class"]),
    "an Enum": ("@bakery.variables\nclass Vars(enum.Enum):\n    SIZE = 1\n", ["no ordinary class"]),
    "a function": ("@bakery.variables\ndef size(): ...\n", ["not a class"]),
    "no init": ("@bakery.variables\nclass Vars:\n    size: int = field(default=1, init=False)\n", ["init=False"]),
    "an unknown type": ("@bakery.variables\nclass Vars:\n    size: 'Nothing' = 1\n", ["type is unknown", "Nothing"]),
    "an invalid type": ("@bakery.variables\nclass Vars:\n    size: '1 +' = 1\n", ["type is unknown"]),
    "a default of another type": (
        "@bakery.variables\nclass Vars:\n    size: int = 'many'\n",
        ["variable size is 'many'"],
    ),
    "a type that is none": ("@bakery.variables\nclass Vars:\n    size: type[int] = int\n", ["size"]),
    "a type that cannot be sent": (
        "@bakery.variables\nclass Vars:\n    host: Host = Host('a')\n",
        ["host holds a Host", "smoke tests"],
    ),
    "an enum that is not said": ("@bakery.variables\nclass Vars:\n    it: Any = Colour.RED\n", ["it holds a Colour"]),
    "a secret in a list": (
        "@bakery.variables\nclass Vars:\n    it: list[bakery.Secret] = [bakery.Secret('abcdef')]\n",
        ["it holds a list"],
    ),
    "a missing argument": (
        "@bakery.variables\nclass Vars:\n    size: int = 1\n    def __init__(self): ...\n",
        ["Vars, the class of variables, raises"],
    ),
}


@pytest.mark.parametrize("what", NONE)
def test_what_is_no_variable_is_told_when_the_file_is_read(load: Load, what: str) -> None:
    text, words = NONE[what]
    with pytest.raises(ImagefileError) as caught:
        plan(load(text), Settings())
    assert caught.value.where is not None
    assert caught.value.where.file.name == "imagefile.py"
    for word in words:
        assert word in str(caught.value)


def test_an_axis_may_be_of_any_type(load: Load) -> None:
    recipe = load(
        "@bakery.variables\nclass Vars:\n    day: dt.date\n    net: ipaddress.IPv4Network\n"
        "@bakery.image(matrix={'day': ['2026-01-01', dt.date(2026, 1, 2)], 'net': ['10.0.0.0/8']})\n"
        "def web(v): return f'web-{v.day}'\n"
    )
    made = plan(recipe, Settings())
    assert [build.name for build in made.builds] == [
        "web[day=2026-01-01,net=10.0.0.0/8]@here",
        "web[day=2026-01-02,net=10.0.0.0/8]@here",
    ]
    assert made.variables[made.builds[1].name].day.day == 2
    json.dumps(to_json(made))


@pytest.mark.parametrize("names", ["houseofimages/web", "house-of-images/1-web"])
def test_an_imagefile_in_a_package_may_import_from_its_package(tmp_path: Path, names: str) -> None:
    folder = tmp_path / names
    folder.mkdir(parents=True)
    for place in (folder, folder.parent):
        (place / "__init__.py").write_text("", encoding="utf-8")
    (folder.parent / "common.py").write_text("import bakery\n@bakery.task\ndef base(m): ...\n", encoding="utf-8")
    (folder / "own.py").write_text("NAME = 'x'\n", encoding="utf-8")
    (folder / "imagefile.py").write_text(
        f"{HEAD}{SOURCE}from ..common import base\nfrom . import own\nassert own.NAME == 'x'\n", encoding="utf-8"
    )
    recipe = loader.load(folder / "imagefile.py")
    assert [task.__name__ for task in recipe.images[0].tasks] == ["base"]
    (folder.parent / "common.py").write_text("import bakery\n@bakery.task\ndef other(m): ...\n", encoding="utf-8")
    text = (folder / "imagefile.py").read_text(encoding="utf-8").replace("import base", "import other")
    (folder / "imagefile.py").write_text(text, encoding="utf-8")
    assert [task.__name__ for task in loader.load(folder / "imagefile.py").images[0].tasks] == ["other"]
