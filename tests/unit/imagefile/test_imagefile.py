"""Loading an imagefile: marks, checks, and every mistake with its file, line and hint."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from bakery.errors import ImagefileError, UsageError
from bakery.imagefile import call_mistakes, loader
from bakery.imagefile.marks import mark_of
from bakery.imagefile.recipe import Recipe

HEAD = """
import bakery
from bakery.testing.folder.driver import Folder

@bakery.source
def laptop() -> Folder:
    return Folder(cloud="cloud")
"""
Load = Callable[[str], Recipe]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Write an imagefile and load it."""

    def write(text: str) -> Recipe:
        file = tmp_path / "imagefile.py"
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        return loader.load(file)

    return write


def error_of(load: Load, text: str) -> ImagefileError:
    with pytest.raises(ImagefileError) as caught:
        load(text)
    return caught.value


def test_a_file_without_an_image_is_one_image_of_all_its_parts_in_file_order(load: Load, tmp_path: Path) -> None:
    recipe = load(
        HEAD
        + """
@bakery.task
def second(m): ...

@bakery.task
def first(m): ...

@bakery.test
def works(host): ...
"""
    )
    (image,) = recipe.images
    assert image.name == tmp_path.name
    assert [task.__name__ for task in image.tasks] == ["second", "first"]
    assert [test.__name__ for test in image.tests] == ["works"]


def test_a_decorator_returns_the_very_function_it_was_given(load: Load) -> None:
    recipe = load(HEAD + "def plain(m): ...\nmarked = bakery.task(plain)\nassert marked is plain\n")
    (task,) = recipe.functions["task"]
    mark = mark_of(task)
    assert mark is not None
    assert mark.where.line == 8
    assert task("anything") is None


def test_loading_twice_sees_the_change_between(load: Load) -> None:
    assert [task.__name__ for task in load(HEAD + "@bakery.task\ndef one(m): ...\n").functions["task"]] == ["one"]
    assert [task.__name__ for task in load(HEAD + "@bakery.task\ndef two(m): ...\n").functions["task"]] == ["two"]


def test_helper_modules_beside_the_imagefile_import_and_are_read_again(load: Load, tmp_path: Path) -> None:
    helper = tmp_path / "helper_of_images.py"
    helper.write_text("import bakery\n@bakery.task\ndef shared(m): ...\n", encoding="utf-8")
    assert load(HEAD + "from helper_of_images import shared\n").images[0].tasks[0].__name__ == "shared"
    helper.write_text("import bakery\n@bakery.task\ndef other(m): ...\n", encoding="utf-8")
    assert load(HEAD + "from helper_of_images import other\n").images[0].tasks[0].__name__ == "other"


def test_modules_that_say_oddly_where_they_come_from_are_looked_past(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lazy module or a plugin's may have a Path there, or nothing; one beside the project's folder is not in it."""
    for name, file in (("odd_path", Path("/usr/x.py")), ("odd_none", None), ("beside", f"{tmp_path}2/helper.py")):
        module = ModuleType(name)
        module.__file__ = file  # type: ignore[assignment]
        monkeypatch.setitem(sys.modules, name, module)
    load(HEAD)
    assert {"odd_path", "odd_none", "beside"} <= sys.modules.keys()


def test_helpers_of_one_date_and_size_are_told_apart(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for folder in (tmp_path, tmp_path / "package_of_images"):
        folder.mkdir(exist_ok=True)
        name = ".".join([*folder.relative_to(tmp_path).parts, "helper_of_one_date"])
        for task in ("one", "two", "six"):
            helper = folder / "helper_of_one_date.py"
            helper.write_text(f"import bakery\n@bakery.task\ndef {task}(m): ...\n", encoding="utf-8")
            os.utime(helper, (1_700_000_000, 1_700_000_000))
            assert load(HEAD + f"from {name} import {task}\n").images[0].tasks[0].__name__ == task


def test_what_is_installed_below_an_imagefile_is_left_to_python(tmp_path: Path) -> None:
    finders = loader._HelperFinders()
    finders.add(Path("/"))
    try:
        assert finders(str(tmp_path)).path == str(tmp_path)
        for path in (
            Path(os.__file__).parent,
            tmp_path / ".venv/lib/site-packages/x",
            Path(loader.__file__).parents[1],
        ):
            with pytest.raises(ImportError):
                finders(str(path))
    finally:
        sys.path_hooks.remove(finders)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("@bakery.task\ndef nginx(): ...\n", 9, ["task nginx() has 0 arguments", "def nginx(machine, v)"]),
        ("@bakery.task\ndef nginx(m, v, x): ...\n", 9, ["3 arguments"]),
        ("@bakery.test\ndef t(): ...\n", 9, ["host"]),
        ("@bakery.task(retires=2)\ndef t(m): ...\n", 9, ["did you mean retries= ?"]),
        ("@bakery.image(task=[])\ndef web(): ...\n", 9, ["did you mean tasks= ?"]),
        ("@bakery.task\ndef t(m): ...\n@bakery.image(tests=[t])\ndef web(): ...\n", 11, ["marked as a task", "tasks="]),
        ("def t(m): ...\n@bakery.image(tasks=[t])\ndef web(): ...\n", 10, ["carries no mark", "@bakery.task"]),
        ("@bakery.task\ndef nginx(m): ...\n@bakery.image(tasks=['ngimx'])\ndef web(): ...\n", 11, ["write nginx"]),
        ("@bakery.image(matrix={'release': ['a']})\ndef web(): ...\n", 9, ["no variable", "@bakery.variables"]),
        ("raise ValueError('boom')\n", 9, ["raises on import", "ValueError: boom"]),
        ("import sys\nsys.exit(3)\n", 10, ["sys.exit"]),
        ("import there_is_no_such_module\n", 9, ["cannot import there_is_no_such_module", "install"]),
        ("def broken(:\n", 9, ["syntax error"]),
        ("Folder(clowd='x', base=None)\n", 9, ["did you mean cloud= ?"]),
        ("@bakery.variables\nclass A: ...\n@bakery.variables\nclass B: ...\n", 11, ["two classes of variables"]),
    ],
)
def test_a_mistake_is_said_with_its_line_and_what_to_do(
    load: Load, tmp_path: Path, text: str, line: int, words: list[str]
) -> None:
    error = error_of(load, HEAD + "\n" + text)
    assert error.where is not None
    assert (error.where.file, error.where.line) == (tmp_path / "imagefile.py", line)
    for word in words:
        assert word in str(error)
    assert error.exit_code == 3


def test_the_keyword_that_was_meant_is_one_of_what_the_imagefile_calls_so(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other modules of ours have classes of the same name: each cloud has its Volume."""
    monkeypatch.setattr(call_mistakes, "_modules", lambda: iter([{"Folder": dict}]))
    assert "did you mean cloud= ?" in str(error_of(load, HEAD + "\nFolder(clowd='x', base=None)\n"))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("CloudImage('https://x.example/x.qcow2')", ["CloudImage needs checksum=", "checksum: `sha256:...`", "a list"]),
        ("CloudImage()", ["CloudImage needs url= and checksum=", "url: where it is"]),
        ("Debian()", ["Debian needs suite="]),
        ("Ubuntu()", ["Ubuntu needs version="]),
        ("Qemu()", ["Qemu needs base="]),
    ],
)
def test_what_a_call_of_ours_lacks_is_said_with_what_it_should_be(load: Load, call: str, words: list[str]) -> None:
    text = "from bakery.drivers import CloudImage, Debian, Qemu, Ubuntu\n" + call
    error = error_of(load, HEAD + text)
    for word in words:
        assert word in str(error)
    assert "TypeError" not in str(error)
    assert error.hint


def test_a_call_of_the_users_own_that_lacks_an_argument_is_told_in_pythons_words(load: Load) -> None:
    error = error_of(load, HEAD + "\ndef install(package): ...\ninstall()\n")
    assert "TypeError: install() missing 1 required positional argument: 'package'" in str(error)


def test_a_matrix_axis_that_is_misspelt_gets_a_suggestion(load: Load) -> None:
    text = "@bakery.variables\nclass V:\n    release: str = 'x'\n"
    text += "@bakery.image(matrix={'relaese': ['a']})\ndef web(): ...\n"
    assert "did you mean release?" in str(error_of(load, HEAD + text))


def test_a_file_without_a_source_says_how_to_write_one(load: Load) -> None:
    assert "@bakery.source" in str(error_of(load, "import bakery\n"))


def test_the_imagefile_is_found_in_a_parent_folder(tmp_path: Path) -> None:
    (tmp_path / "imagefile.py").touch()
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert loader.find(deep) == tmp_path / "imagefile.py"


def test_no_imagefile_is_a_usage_error_that_names_bake_init(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no imagefile at"):
        loader.find(tmp_path, "other.py")
    with pytest.raises(UsageError, match=r"imagefile\.py in") as caught:
        loader.find(Path("/"))
    assert "bake init" in str(caught.value)
