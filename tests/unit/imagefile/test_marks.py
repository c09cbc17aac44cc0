"""What may be marked, what it is called, and that nothing that carries a mark goes unused without a word."""

# ruff: noqa: E501
# The tables hold small imagefiles, each in a line, and expressions of the tests' own.

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bakery.errors import ImagefileError
from bakery.imagefile import loader
from bakery.imagefile.marks import name_of
from bakery.imagefile.plan import call, plan
from bakery.imagefile.recipe import Recipe
from bakery.imagefile.variables import Settings

from .ways import HEAD, SOURCE

Load = Callable[[str], Recipe]
FACTORY = """
def install(package):
    @bakery.task
    def step(m):
        return package
    return step

"""
NAMED = FACTORY.replace("@bakery.task", "@bakery.task(name=f'install {package}')")
SITE = """
class Site:
    def __init__(self, path):
        self.path = path

    def step(self, m):
        return self.path

    def __call__(self, m):
        return self.path

"""


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Write an imagefile and read it."""

    def write(text: str) -> Recipe:
        file = tmp_path / "imagefile.py"
        file.write_text(f"import functools\n{HEAD}{SOURCE}{text}", encoding="utf-8")
        return loader.load(file)

    return write


def error_of(load: Load, text: str) -> ImagefileError:
    with pytest.raises(ImagefileError) as caught:
        plan(load(text), Settings())
    assert caught.value.where is not None
    assert caught.value.where.file.name == "imagefile.py"
    return caught.value


CALLABLES = {
    "a partial": ("def step(m, word): return word\nnginx = bakery.task(functools.partial(step, word='x'))\n", "nginx"),
    "a partial of the first": (
        "def step(word, m): return word\nnginx = bakery.task(functools.partial(step, 'x'))\n",
        "nginx",
    ),
    "an object that is called": (SITE + "nginx = bakery.task(Site('x'))\n", "nginx"),
    "an object without room for a mark": (
        "class Site:\n    __slots__ = ()\n    def __call__(self, m): return 'x'\nnginx = bakery.task(Site())\n",
        "nginx",
    ),
    "a bound method": (SITE + "nginx = bakery.task(Site('x').step)\n", "nginx"),
    "a method that is marked in its class": (
        SITE.replace("    def step", "    @bakery.task\n    def step")
        + "site = Site('x')\n@bakery.image(tasks=[site.step])\ndef web(): ...\n",
        "step",
    ),
    "a static method": ("@bakery.task\n@staticmethod\ndef nginx(m): return 'x'\n", "nginx"),
    "a lambda": ("nginx = bakery.task(lambda m: 'x')\n", "nginx"),
    "a lambda with a name": (
        "TASKS = [bakery.task(name='two words')(lambda m: 'x')]\n@bakery.image(tasks=TASKS)\ndef web(): ...\n",
        "two words",
    ),
    "a function with a name": ("@bakery.task(name='install nginx')\ndef nginx(m): return 'x'\n", "install nginx"),
    "what a factory made": (FACTORY + "nginx = install('x')\n", "nginx"),
    "what a factory made and named": (NAMED + "@bakery.image(tasks=[install('x')])\ndef web(): ...\n", "install x"),
    "what a decorator wrapped": (
        (
            "def twice(f):\n    @functools.wraps(f)\n    def inner(*a, **k):\n        f(*a, **k)\n        return f(*a, **k)\n"
            "    return inner\n@twice\n@bakery.task\ndef nginx(m): return 'x'\n"
        ),
        "nginx",
    ),
    "a function with a default": ("@bakery.task\ndef nginx(m, word='x'): return word\n", "nginx"),
    "a function with options": ("@bakery.task\ndef nginx(m, **options): return 'x'\n", "nginx"),
}


@pytest.mark.parametrize("what", CALLABLES)
def test_a_task_may_be(load: Load, what: str) -> None:
    text, name = CALLABLES[what]
    recipe = load(text)
    (task,) = recipe.images[0].tasks
    assert name_of(task) == name
    assert call("task", task, [None], None) == "x"
    (step,) = plan(recipe, Settings()).builds[0].steps
    assert (step.name, Path(step.where.rpartition(":")[0]).name) == (name, "imagefile.py")
    assert step.options == {}


@pytest.mark.parametrize("kind", ["source", "image"])
def test_sources_and_images_may_be_lambdas_and_partials(load: Load, kind: str) -> None:
    made = {"source": "Folder(cloud='x')", "image": "'web'"}[kind]
    for thing in (f"lambda: {made}", f"functools.partial(lambda word: {made}, 'x')"):
        build = plan(load(f"other = bakery.{kind}({thing})\n"), Settings()).builds[-1]
        assert "other" in (build.source, build.spec)


REFUSED = {
    "an async task": ("@bakery.task\nasync def go(m): ...\n", ["async", "def go", "asyncio.run"]),
    "an async test": ("@bakery.test\nasync def go(host): ...\n", ["async", "asyncio.run"]),
    "an async post step": ("@bakery.post\nasync def go(a): ...\n", ["async", "asyncio.run"]),
    "an async source": ("@bakery.source\nasync def go(): ...\n", ["async", "asyncio.run"]),
    "an async image": ("@bakery.image\nasync def go(): ...\n", ["async", "asyncio.run"]),
    "a generator": ("@bakery.task\ndef go(m):\n    yield m\n", ["generator", "without yield"]),
    "a generator of tests": ("@bakery.test\ndef go(host):\n    yield 1\n", ["generator", "parametrize"]),
    "a generator of sources": ("@bakery.source\ndef go():\n    yield 1\n", ["generator", "return Qemu"]),
    "an async generator": ("@bakery.task\nasync def go(m):\n    yield m\n", ["generator"]),
    "a partial of an async function": (
        "async def go(m, x): ...\nnginx = bakery.task(functools.partial(go, x=1))\n",
        ["async"],
    ),
    "an object whose call is async": (
        "class Go:\n    async def __call__(self, m): ...\nnginx = bakery.task(Go())\n",
        ["async"],
    ),
    "an async method": ("class Go:\n    async def go(self, m): ...\nnginx = bakery.task(Go().go)\n", ["async"]),
    "an async static method": ("@bakery.task\n@staticmethod\nasync def go(m): ...\n", ["async"]),
    "a coroutine of a source": ("@bakery.source\ndef go(): return work()\n", ["returns a coroutine", "asyncio.run"]),
    "a coroutine of an image": ("@bakery.image\ndef go(): return work()\n", ["returns a coroutine", "asyncio.run"]),
    "a class": ("@bakery.task\nclass Go:\n    def __call__(self, m): ...\n", ["the class Go", "function"]),
    "a class of tests": ("@bakery.test\nclass Go:\n    def test_x(self, host): ...\n", ["class Go", "not collected"]),
    "a class method": ("class Go:\n    @bakery.task\n    @classmethod\n    def go(cls, m): ...\n", ["class method"]),
    "a property": ("class Go:\n    @bakery.task\n    @property\n    def go(self): ...\n", ["property"]),
    "a text": ("go = bakery.task('apt-get update')\n", ["got a str, not a function"]),
    "a lambda as a test": ("go = bakery.test(lambda host: True)\n", ["lambda", "assert"]),
    "a lambda without a name": ("@bakery.image(tasks=[bakery.task(lambda m: 1)])\ndef web(): ...\n", ["name="]),
    "a wrapper without functools.wraps": (
        "def deco(f):\n    return lambda *a, **k: f(*a, **k)\n@bakery.task\n@deco\ndef go(m): ...\n",
        ["functools.wraps"],
    ),
    "a wrapper above the mark": (
        "def deco(f):\n    return lambda *a, **k: f(*a, **k)\n@deco\n@bakery.task\ndef go(m): ...\n",
        ["go", "never run"],
    ),
    "a keyword-only argument": ("@bakery.task\ndef go(m, *, word): ...\n", ["keyword-only argument word"]),
    "a builtin function": ("go = bakery.task(print)\n", ["*args", "cannot be told"]),
    "two marks": ("@bakery.task\n@bakery.test\ndef go(m): ...\n", ["marked as a test already"]),
    "a method of a class": (
        "class TestWeb:\n    @bakery.test\n    def works(self, host): ...\n",
        ["method of class TestWeb", "function"],
    ),
    "two tasks of one name": (
        "@bakery.task\ndef go(m): ...\n@bakery.task\ndef go(m): ...\n",
        ["two functions are called go", "imagefile.py:"],
    ),
    "two tests of one name": (
        "@bakery.test\ndef go(host): ...\n@bakery.test\ndef go(host): ...\n",
        ["two functions are called go"],
    ),
    "a task and a test of one name": (
        "@bakery.task\ndef go(m): ...\n@bakery.test\ndef go(host): ...\n",
        ["two functions are called go"],
    ),
    "tasks of a loop": (
        "for word in 'ab':\n    @bakery.task\n    def go(m): ...\n",
        ["two functions are called go", "name="],
    ),
    "named tasks of a loop": (
        "for word in 'ab':\n    @bakery.task(name=word)\n    def go(m): ...\n",
        ["belongs to no image", "tasks=[...]"],
    ),
    "factories in a list": (FACTORY + "TASKS = [install('a'), install('b')]\n", ["step", "never|only the last"]),
    "a factory in a list": (FACTORY + "TASKS = [install('a')]\n", ["step belongs to no image", "tasks=[...]"]),
    "factories of one name": (
        FACTORY + "@bakery.image(tasks=[install('a'), install('b')])\ndef web(): ...\n",
        ["two tasks are called 'step'", "name="],
    ),
    "a task of no image": (
        "@bakery.task\ndef a(m): ...\n@bakery.task\ndef b(m): ...\n@bakery.image(tasks=[a])\ndef web(): ...\n",
        ["task b belongs to no image", "tasks=[..., b]"],
    ),
    "a test that is listed twice": (
        "@bakery.test\ndef a(host): ...\n@bakery.image(tests=[a, a])\ndef web(): ...\n",
        ["two tests are called 'a'"],
    ),
    "images of a factory in a list": (
        "def make(word):\n    @bakery.image\n    def web(): return word\n    return web\nIMAGES = [make('a')]\n",
        ["image web belongs to no image|never run", "name of its own"],
    ),
    "a task that was deleted": ("@bakery.task\ndef go(m): ...\ndel go\n", ["go belongs to no image"]),
    "no variables": ("@bakery.task\ndef go(m, v): ...\n", ["go asks for the variables as v", "@bakery.variables"]),
    "no variables for a source": ("@bakery.source\ndef go(v): ...\n", ["go asks for the variables as v"]),
    "no variables for a test": ("@bakery.test\ndef go(host, v): ...\n", ["go asks for the variables as v"]),
    "an empty name": ("@bakery.task(name=' ')\ndef go(m): ...\n", ["name=' '", "install nginx"]),
    "a name of two lines": ("@bakery.test(name='a\\nb')\ndef go(m): ...\n", ["name="]),
    "a source's name with a slash": ("@bakery.source(name='a/b')\ndef go(m): ...\n", ["letters, digits"]),
    "a seal that is none": ("@bakery.image(seal=False)\ndef web(): ...\n", ["seal=False", "Seal"]),
    "a base that is no name": ("from bakery.drivers import Gentoo\n", ["bakery.drivers has no Gentoo", "cloud images"]),
    "a misspelt base": ("from bakery.drivers import Debain\n", ["did you mean Debian?"]),
    "a misspelt decorator": ("@bakery.taks\ndef go(m): ...\n", ["bakery has no taks", "did you mean task?"]),
    "an axis that is no text": ("@bakery.image(matrix={1: [2]})\ndef web(): ...\n", ["axis 1"]),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_would_not_run_is_refused_when_the_file_is_read(load: Load, what: str) -> None:
    text, words = REFUSED[what]
    if what == "a seal that is none":
        pytest.skip("looked at by the command: tests/cli/test_user_code.py")
    told = str(error_of(load, text))
    for word in words:
        assert any(choice in told for choice in word.split("|")), told


UNFINISHED = {
    "a coroutine": "return work()",
    "a generator": "return (m for _ in 'ab')",
    "a map": "return map(str, 'ab')",
    "an async generator": "return agen()",
    "a context manager": "return entered()",
    "a function": "return lambda: None",
    "a future": "return Future()",
    "a thread": "return Thread(target=print)",
    "a method": "return 'x'.upper",
    "a list of coroutines": "return [work()]",
    "a tuple of generators": "return (1, (m for _ in 'ab'))",
    "a mapping of futures": "return {'a': Future()}",
    "coroutines in lists in a tuple": "return ([[work()]],)",
    "a list that is in itself": "made = [work()]; made.insert(0, made); return made",
}


@pytest.mark.parametrize("kind", ["task", "post"])
@pytest.mark.parametrize("what", UNFINISHED)
def test_a_result_that_nobody_runs_is_a_failure(load: Load, what: str, kind: str) -> None:
    head = (
        "from concurrent.futures import Future\nfrom contextlib import contextmanager\nfrom threading import Thread\n"
        "async def agen():\n    yield 1\n@contextmanager\ndef entered():\n    yield\n"
    )
    recipe = load(f"{head}def plain(m):\n    {UNFINISHED[what]}\ngo = bakery.{kind}(lambda m: plain(m))\n")
    with pytest.raises(ImagefileError, match=f"{kind} go returns a") as caught:
        call(kind, recipe.functions[kind][0], [None], None)
    assert caught.value.hint


@pytest.mark.parametrize(
    "result", ["None", "5", "m", "open('/dev/null')", "[1]", "{'a': [print]}", "threading.current_thread()"]
)
def test_any_other_result_is_ignored(load: Load, result: str) -> None:
    (task,) = load(f"@bakery.task\ndef go(m):\n    return {result}\n").functions["task"]
    made: Any = call("task", task, [None], None)
    if hasattr(made, "close"):
        made.close()


def test_a_wrapper_may_run_an_async_function_itself(load: Load) -> None:
    text = """
def runs(function):
    @functools.wraps(function)
    def inner(*args):
        return asyncio.run(function(*args))
    return inner


@bakery.task
@runs
async def go(m):
    return "x"
"""
    (task,) = load(text).functions["task"]
    assert call("task", task, [None], None) == "x"
    assert inspect.iscoroutinefunction(inspect.unwrap(task))


def test_what_a_library_marks_may_go_unused(load: Load, tmp_path: Path) -> None:
    (tmp_path / "shelf_of_tasks.py").write_text(
        "import bakery\n@bakery.task\ndef used(m): ...\n@bakery.task\ndef unused(m): ...\n", encoding="utf-8"
    )
    recipe = load("import shelf_of_tasks\n@bakery.image(tasks=[shelf_of_tasks.used])\ndef web(): ...\n")
    assert [name_of(task) for task in recipe.images[0].tasks] == ["used"]


@pytest.mark.parametrize(
    ("use", "said"),
    [
        ("import shelf_of_tests\n", True),
        ("from shelf_of_tests import NUMBER\n", False),
        ("from shelf_of_tests import works\n", False),
        ("import shelf_of_tests\n@bakery.image(tests=[shelf_of_tests.works])\ndef web(): ...\n", False),
    ],
)
def test_a_module_that_is_imported_whole_and_whose_tests_the_image_has_not_is_warned_of(
    load: Load, tmp_path: Path, use: str, said: bool
) -> None:
    (tmp_path / "shelf_of_tests.py").write_text(
        "import bakery\nNUMBER = 1\n@bakery.test\ndef works(host): ...\n@bakery.test\ndef other(host): ...\n",
        encoding="utf-8",
    )
    warnings = plan(load(use), Settings()).warnings
    assert [text.partition(":")[0] for text in warnings] == [
        "shelf_of_tests.py marks works, other, and the image has none of them"
    ] * said


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("def test_web(host): assert host\n", ["test_web"]),
        ("def test_web(v, host): assert host\n", ["test_web"]),
        ("class TestWeb:\n    def test_port(self, host): ...\n", ["TestWeb.test_port"]),
        ("@bakery.test\ndef test_web(host): ...\n", []),
        ("def test_web(host, port): ...\nweb = bakery.test(functools.partial(test_web, port=80))\n", []),
        ("def test_port(host): ...\n@bakery.test\ndef web(host): test_port(host)\n", []),
        ("def test_sum(): ...\ndef testing(host): ...\nfrom bakery.smoke.identity import SCRIPT\n", []),
    ],
)
def test_what_pytest_would_run_and_nobody_marks_is_warned_of(load: Load, text: str, names: list[str]) -> None:
    warnings = plan(load(text), Settings()).warnings
    assert [warning.partition(" looks like a test")[0] for warning in warnings] == names


def test_two_tasks_of_one_name_from_two_modules_are_told_apart_by_their_names_here(load: Load, tmp_path: Path) -> None:
    for name in ("shelf_a", "shelf_b"):
        (tmp_path / f"{name}.py").write_text("import bakery\n@bakery.task\ndef setup(m): ...\n", encoding="utf-8")
    recipe = load("from shelf_a import setup as setup_a\nfrom shelf_b import setup as setup_b\n")
    assert [name_of(task) for task in recipe.images[0].tasks] == ["setup_a", "setup_b"]


def test_images_of_a_factory_are_called_as_the_imagefile_calls_them(load: Load) -> None:
    text = """
def make(word):
    @bakery.task(name=f"do {word}")
    def go(m): ...
    @bakery.image(tasks=[go])
    def web():
        return f"web-{word}"
    return web

a = make("a")
b = make("b")
"""
    builds = plan(load(text), Settings()).builds
    assert [(build.name, build.image, build.steps[0].name) for build in builds] == [
        ("a@here", "web-a", "do a"),
        ("b@here", "web-b", "do b"),
    ]


def test_an_object_of_the_class_of_variables_is_no_second_class(load: Load) -> None:
    recipe = load("@bakery.variables\nclass Vars:\n    size: int = 1\ndefaults = Vars()\nclass Other(Vars): ...\n")
    assert recipe.variables is not None
    assert recipe.variables.__name__ == "Vars"


def test_odd_objects_in_the_module_are_looked_past(load: Load) -> None:
    text = """
from unittest import mock

class Lazy:
    def __getattr__(self, name):
        raise RuntimeError("no context")

    def __getattribute__(self, name):
        raise RuntimeError("no context")

    def __eq__(self, other):
        raise RuntimeError("no context")

    __hash__ = None

lazy = Lazy()
call = mock.call
double = mock.MagicMock()
Kind = type("Kind", (), {"__slots__": ()})
"""
    assert load(text).images


TWO_SOURCES = """
@bakery.source
def other():
    return Folder(cloud="/no/such/cloud")

@bakery.task({scope})
def late(m): ...

@bakery.image(sources=[{sources}], tasks=[late])
def web(): ...
"""


@pytest.mark.parametrize(
    ("scope", "sources"),
    [("only=[other]", "here"), ("skip=[here]", "here"), ("only=[here], skip=[here]", "here, other")],
)
def test_a_task_that_no_source_is_left_for_is_refused_when_the_file_is_read(
    load: Load, scope: str, sources: str
) -> None:
    with pytest.raises(ImagefileError, match="task late would never run") as raised:
        load(TWO_SOURCES.format(scope=scope, sources=sources))
    assert raised.value.where is not None
    assert "here" in raised.value.why


@pytest.mark.parametrize("scope", ["only=[other]", "skip=[other]"])
def test_a_task_for_some_of_its_images_sources_is_none(load: Load, scope: str) -> None:
    assert load(TWO_SOURCES.format(scope=scope, sources="here, other")).images
