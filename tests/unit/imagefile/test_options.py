"""What the decorators' options may be: found when the file is read, at the decorator's line, with an example."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakery.errors import ImagefileError
from bakery.imagefile import loader, option_checks
from bakery.imagefile.describe import describe
from bakery.imagefile.labels import LABEL, counts, parse
from bakery.imagefile.plan import plan
from bakery.imagefile.recipe import Recipe
from bakery.imagefile.variables import Settings
from bakery.util.units import parse_size

HEAD = """import bakery
from bakery.testing.folder.driver import Folder
nan = float("nan")

@bakery.source
def laptop() -> Folder:
    return Folder(cloud="cloud")

"""
LINE = HEAD.count("\n") + 1
Load = Callable[[str], Recipe]
GOOD: dict[str, list[str]] = {
    "task": [
        "retries=0",
        "retries=5",
        "timeout=None",
        "timeout=1",
        "timeout=0.5",
        'user="app"',
        "cache=True",
        "cache=False",
        "max_age=None",
        'max_age="7d"',
        'max_age="90"',
        "max_age=3600",
        "checkpoint=None",
        "checkpoint=True",
        "checkpoint=False",
        "only=[]",
        "only=[laptop]",
        "only=(laptop,)",
        "only={laptop}",
        "skip=None",
        "skip=frozenset()",
        "idempotent=True",
        'name="install nginx (1.22)"',
        'name="ünïcode"',
    ],
    "image": [
        'name="web-1.0_final"',
        "versions=True",
        "versions=False",
        'versions="1.4"',
        'versions="2"',
        'name="0"',
        "strict_host=False",
        "matrix=None",
        "matrix={}",
        "login=None",
        "login=bakery.Login()",
        'login=bakery.Login(user="deploy", port=2222, home="/srv/deploy")',
        'login=bakery.Login(user="DOMAIN.user-1")',
        "suites=None",
        "suites=bakery.Suites()",
        'suites=bakery.Suites(hosts=["app-*"], other_hosts="run", user="login", login_shell=False, strict_host=True)',
    ],
    "source": ['name="here"', 'labels=["kvm"]', 'labels=("licence", "gpu:2")', 'labels=["memory:8G"]', "labels=[]"],
    "test": ['name="nginx answers"', "only=[laptop]", "reboot=True", "reboot=False"],
    "post": ['name="publish"', "skip=[]"],
}
BAD: dict[str, list[tuple[str, str]]] = {
    "task": [
        ("retries=-1", "retries=2"),
        ("retries=True", "retries=2"),
        ("retries=1.5", "retries=2"),
        ('retries="2"', "retries=2"),
        ("retries=None", "retries=2"),
        ("timeout=0", "timeout=600"),
        ("timeout=-1", "timeout=600"),
        ("timeout=nan", "timeout=600"),
        ("timeout=True", "timeout=600"),
        ('timeout="10m"', "timeout=600"),
        ('user=""', 'user="app"'),
        ('user="  "', 'user="app"'),
        ("user=1000", 'user="app"'),
        ("user=None", 'user="app"'),
        ("cache=0", "cache=False"),
        ("idempotent=1", "idempotent=True"),
        ("cache=None", "cache=False"),
        ('max_age="soon"', "7d"),
        ("max_age=-1", "7d"),
        ("max_age=True", "7d"),
        ("checkpoint=1", "True, False or None"),
        ("only=laptop", "only=[...]"),
        ('only="laptop"', "only=[...]"),
        ("skip=laptop", "skip=[...]"),
        ('name=" padded"', "one line of text"),
        ('name="a\\nb"', "one line of text"),
        ('name="a::b"', "one line of text"),
        ("name=3", "one line of text"),
        ("retires=1", "did you mean retries= ?"),
        ("hosts=[]", "takes"),
    ],
    "image": [
        ('name="../web"', "letters, digits, dots"),
        ("versions=2", 'versions="1.4"'),
        ("versions=None", 'versions="1.4"'),
        ('versions="1.x"', 'versions="1.4"'),
        ('versions="1."', 'versions="1.4"'),
        ('name=".web"', "letters, digits, dots"),
        ('name="-web"', "letters, digits, dots"),
        ('name="a/b"', "letters, digits, dots"),
        ('name="a b"', "letters, digits, dots"),
        ('name="wéb"', "letters, digits, dots"),
        ('name="a" * 129', "at most 128"),
        ("strict_host=None", "strict_host=False"),
        ("matrix=[1]", "matrix={"),
        ('login="deploy"', "bakery.Login"),
        ('login=bakery.Login(user="a b")', "bakery.Login"),
        ('login=bakery.Login(user="$(id)")', "bakery.Login"),
        ("login=bakery.Login(port=0)", "bakery.Login"),
        ("login=bakery.Login(port=65536)", "bakery.Login"),
        ('login=bakery.Login(home="srv")', "bakery.Login"),
        ('login=bakery.Login(home="/srv/a b")', "bakery.Login"),
        ("suites=True", "bakery.Suites"),
        ('suites=bakery.Suites(hosts="web")', "bakery.Suites"),
        ('suites=bakery.Suites(hosts=[""])', "bakery.Suites"),
        ('suites=bakery.Suites(other_hosts="ignore")', "bakery.Suites"),
        ('suites=bakery.Suites(user="deploy")', "bakery.Suites"),
        ("task=[]", "did you mean tasks= ?"),
    ],
    "source": [
        ('name="a b"', "letters, digits, dots"),
        ('labels="kvm"', "a text, not a list"),
        ('labels=["kvm:0"]', "no label"),
        ('labels=["kvm:x"]', "no label"),
        ('labels=["2gpu"]', "no label"),
        ("labels=[3]", "no label"),
        ("label=[]", "did you mean labels= ?"),
    ],
    "test": [("retries=1", "takes"), ("only=laptop", "only=[...]"), ("reboot=1", "reboot=True")],
    "post": [("timeout=3", "takes"), ("skip=laptop", "skip=[...]")],
}
BODY = {
    "task": "def it(m):\n    pass\n",
    "image": "def it():\n    pass\n",
    "source": 'def it() -> Folder:\n    return Folder(cloud="cloud")\n',
    "test": "def it(host):\n    pass\n",
    "post": "def it(artifact):\n    pass\n",
}


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Write an imagefile and load it."""

    def write(text: str) -> Recipe:
        file = tmp_path / "imagefile.py"
        file.write_text(text, encoding="utf-8")
        return loader.load(file)

    return write


def marked(kind: str, option: str) -> str:
    return f"{HEAD}@bakery.{kind}({option})\n{BODY[kind]}"


@pytest.mark.parametrize(("kind", "option"), [(kind, option) for kind, options in GOOD.items() for option in options])
def test_an_option_may_be(load: Load, kind: str, option: str) -> None:
    recipe = load(marked(kind, option))
    if "login=bakery" not in option:  # for which a folder is no driver
        assert plan(recipe, Settings()).builds
    assert describe(recipe)["images"]


@pytest.mark.parametrize(
    ("kind", "option", "words"), [(kind, option, words) for kind, options in BAD.items() for option, words in options]
)
def test_an_option_that_cannot_be_is_refused_at_its_line(load: Load, kind: str, option: str, words: str) -> None:
    with pytest.raises(ImagefileError) as caught:
        plan(load(marked(kind, option)), Settings())
    assert words in str(caught.value)
    assert caught.value.where is not None
    assert caught.value.where.line in (LINE, LINE + 1)


def test_every_option_that_is_checked_has_both(load: Load) -> None:
    tested = {option.partition("=")[0] for options in GOOD.values() for option in options}
    refused = {option.partition("=")[0] for options in BAD.values() for option, _ in options}
    assert {*option_checks.CHECKS, "name", "labels"} <= tested & refused


# ---- names and labels -----------------------------------------------------------------------------------------------

file_names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", fullmatch=True)


@settings(max_examples=25)
@given(file_names)
def test_a_name_of_an_image_is_always_a_name_of_a_file(name: str) -> None:
    option_checks.check("image", {"name": name})
    assert Path("/images", f"{name}.qcow2").parent == Path("/images")
    assert name not in (".", "..")


@settings(max_examples=60)
@given(st.text(min_size=1, max_size=8))
def test_any_other_name_is_refused(name: str) -> None:
    fits = re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name) is not None
    with nullcontext() if fits else pytest.raises(ImagefileError, match="name="):
        option_checks.check("source", {"name": name})


@settings(max_examples=25)
@given(
    st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,9}", fullmatch=True),
    st.integers(1, 10**6),
    st.sampled_from(["", "K", "M", "G", "T"]),
)
def test_a_label_is_its_name_and_its_count(name: str, count: int, unit: str) -> None:
    assert parse(name) == (name, 1)
    assert parse(f" {name}:{count}{unit} ") == (name, parse_size(f"{count}{unit}"))
    assert counts([name, f"{name}:{count}"]) == {name: count}


@settings(max_examples=25)
@given(st.text(max_size=8))
def test_whatever_else_is_said_is_no_label(text: str) -> None:
    found = LABEL.fullmatch(text.strip())
    if found is not None and found[2] is None:
        assert parse(text) == (found[1], 1)
    elif found is None:
        with pytest.raises(ValueError, match="is no label"):
            parse(text)
