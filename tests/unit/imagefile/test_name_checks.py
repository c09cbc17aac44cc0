"""Variables that a function names and that do not exist: found in its code, before anything runs."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from bakery.errors import ImagefileError
from bakery.imagefile import loader
from bakery.imagefile.describe import describe
from bakery.imagefile.recipe import Recipe

HEAD = """import bakery
from bakery.testing.folder.driver import Folder


@bakery.variables
class Shared:
    region: str = "here"

    def url(self) -> str:
        return f"https://{self.region}"


@bakery.variables
class Vars(Shared):
    workers: int = 4
    password: bakery.Secret = bakery.secret(env="NOWHERE")

    @property
    def threads(self) -> int:
        return self.workers * 2


@bakery.source
def box(v) -> Folder:
    return Folder(cloud="cloud")


"""
Load = Callable[[str], Recipe]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Write an imagefile and load it."""

    def write(text: str) -> Recipe:
        file = tmp_path / "imagefile.py"
        file.write_text(HEAD + text, encoding="utf-8")
        return loader.load(file)

    return write


def task(body: str, name: str = "v") -> str:
    return f"@bakery.task\ndef go(m, {name}):\n{textwrap.indent(body, '    ')}\n"


FINE = {
    "a variable": "m.run(str(v.workers))",
    "a variable of a class above": "m.run(v.region)",
    "a method of a class above": "m.run(v.url())",
    "a property": "m.run(str(v.threads))",
    "a secret": "m.run('x', input=v.password)",
    "what a secret has": "m.run('x', input=v.password.map(str))",
    "what every object has": "m.run(str(v.__class__))",
    "another object's": "m.nothing",
    "a part of another thing": "m.v.nothing",
    "a text": "m.run('v.nothing')",
    "by its name": "m.run(getattr(v, 'nothing', ''))",
    "another meaning of the name": "v = m\nv.nothing",
    "in a loop": "for v in [m]:\n    v.nothing",
    "with a with": "with open('x') as v:\n    v.nothing",
    "in a lambda of its own": "f = lambda v: v.nothing",
    "in a function of its own": "def f(v):\n    return v.nothing",
    "in a comprehension": "[v.nothing for v in [m]]",
    "with a walrus": "(v := m)\nv.nothing",
}
WRONG = {
    "a misspelt one": ("m.run(str(v.worker))", 1, "did you mean workers?"),
    "one that is not there": ("m.run(v.nothing)", 1, "variables are: password, region, workers"),
    "in a text": ("m.run(f'{v.wokers}')", 1, "did you mean workers?"),
    "on a later line": ("m.run('a')\n\nm.run(\n    v.nothing,\n)", 4, "v.nothing is read here"),
    "in a lambda": ("f = lambda: v.nothing", 1, "'nothing'"),
    "in a function inside": ("def f():\n    return v.nothing", 2, "'nothing'"),
    "in a condition": ("if v.nothing:\n    pass", 1, "'nothing'"),
    "as what is called": ("v.nothing()", 1, "'nothing'"),
    "of which more is read": ("m.run(v.nothing.more)", 1, "'nothing'"),
}


@pytest.mark.parametrize("body", FINE.values(), ids=FINE)
def test_what_exists_or_is_no_variable_is_left_alone(load: Load, body: str) -> None:
    assert load(task(body)).images[0].tasks


@pytest.mark.parametrize(("body", "line", "words"), WRONG.values(), ids=WRONG)
def test_what_does_not_exist_is_refused_at_its_line(load: Load, body: str, line: int, words: str) -> None:
    with pytest.raises(ImagefileError, match="there is no variable") as caught:
        load(task(body))
    assert words in str(caught.value)
    assert caught.value.where is not None
    assert caught.value.where.line == HEAD.count("\n") + 2 + line


def test_the_variables_may_have_any_name(load: Load) -> None:
    load(task("m.run(str(settings.workers)); v = 3; v.nothing", "settings"))
    with pytest.raises(ImagefileError, match=r"settings\.worker is read here"):
        load(task("m.run(str(settings.worker))", "settings"))


@pytest.mark.parametrize(
    "text",
    [
        "@bakery.source\ndef other(v) -> Folder:\n    return Folder(cloud=v.clowd)\n",
        "@bakery.test\ndef works(host, v):\n    assert v.nothing\n",
        "@bakery.post\ndef tell(artifact, v):\n    print(v.nothing)\n",
        "@bakery.image\ndef web(v):\n    return f'web-{v.nothing}'\n",
        "@bakery.task(retries=1)\n@bakery.task\ndef go(m, v):\n    m.run(v.nothing)\n",
    ],
    ids=["a source", "a test", "a post step", "an image", "two decorators"],
)
def test_every_kind_of_function_is_looked_at(load: Load, text: str) -> None:
    with pytest.raises(ImagefileError, match="there is no variable"):
        load(text)


def test_a_function_without_source_is_left_to_python(load: Load) -> None:
    made = "space = {}\nexec('def go(m, v): m.run(v.nothing)', space)\ngo = bakery.task(space['go'])\n"
    assert [step.__name__ for step in load(made).images[0].tasks] == ["go"]


def test_without_variables_nothing_is_looked_for(tmp_path: Path) -> None:
    file = tmp_path / "imagefile.py"
    start, end = HEAD.index("@bakery.variables"), HEAD.index("@bakery.source")  # both classes
    file.write_text(
        (HEAD[:start] + HEAD[end:]).replace("def box(v)", "def box()") + task("m.v.nothing", "").replace(", )", ")")
    )
    assert loader.load(file).variables is None


# ---- the file as data -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "publishes"),
    [
        ("Folder", False),
        ("publish.Folder", True),
        ("'publish.Folder'", True),
        ("'no such name'", False),
        ("int", False),
        ("None", False),
    ],
)
def test_a_source_says_by_its_annotation_that_it_publishes(load: Load, annotation: str, publishes: bool) -> None:
    text = "from bakery.testing.folder import publish\n@bakery.source\n"
    text += f"def there() -> {annotation}:\n    return publish.Folder(cloud='there')\n"
    data = describe(load(text + task("pass")))
    (found,) = [item for item in data["images"][0]["sources"] if item["name"] == "there"]
    assert found["publishes"] == publishes


def test_options_are_shown_as_data_whatever_they_are(load: Load) -> None:
    text = task("pass").replace("@bakery.task", "@bakery.task(max_age='7d', only={box}, retries=2)")
    (shown,) = describe(load(text))["images"][0]["tasks"]
    assert shown["only"] == ["box"]
    assert shown["options"] == {"max_age": "7d", "retries": 2}
