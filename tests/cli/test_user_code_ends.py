"""Whatever leaves the user's code, wherever: never exit code 0, always their file and line, never a defect of ours."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakery.cli import main

HEAD = """
import argparse
import asyncio
import os
import sys
import threading

import click
import pytest

import bakery
from bakery import errors
from bakery.testing.folder.driver import Folder


def leave():
    sys.exit(0)


class Own(BaseException): ...


class NoText(Exception):
    def __str__(self):
        raise ValueError("no text")

    __repr__ = __str__


class TextEnds(BaseException):
    def __str__(self):
        leave()

    __repr__ = __str__


class Falsy(Exception):
    def __bool__(self):
        return False


class Strange(Exception):
    def __getattribute__(self, name):
        leave()


class Kind(type):
    def __str__(cls):
        leave()

    __repr__ = __str__


class OfKind(Exception, metaclass=Kind): ...


class Half(errors.BakeryError):
    def __init__(self): ...


class Program(click.Command):
    pass


def ring():
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    return one


@bakery.source
def here() -> Folder:
    return Folder(cloud=os.path.join(os.path.dirname(__file__), "cloud"))


"""
ERRORS = [
    *(f"SystemExit({code})" for code in ("", "0", "None", "1", "'text'", "256", "NoText()", "(1, 2)")),
    *("KeyboardInterrupt", "GeneratorExit", "StopIteration(1)", "StopAsyncIteration", "MemoryError"),
    *("BrokenPipeError(32, 'x')", "OSError(28, 'x')"),
    *("asyncio.CancelledError", "Own", "NoText", "TextEnds", "Falsy", "Strange", "OfKind", "Half", "ring()"),
    *("ExceptionGroup('g', [NoText(), ValueError()])", "BaseExceptionGroup('g', [SystemExit(0)])"),
    *("ValueError('x') from TextEnds()", "ValueError('\\\\udcff\\\\x00')", "SyntaxError('x')", "ImportError(name=3)"),
    *("click.exceptions.Exit(0)", "click.Abort", "click.UsageError('x')"),
    *(f"pytest.{name}.Exception('x')" for name in ("skip", "fail", "exit", "xfail")),
    *(f"errors.{name}('x')" for name in ("BakeryError", "Interrupted", "UsageError", "SmokeError")),
    *("errors.CleanupError('x')", "errors.PostError('x')"),
    *("errors.TaskError(3, why=4)", "errors.TaskError('x', where='y')"),
]  # fmt: skip
CALLS = [
    *("leave()", "exit(0)", "os._exit(0)", "os.execvp('true', ['true'])", "asyncio.run(asyncio.sleep(0, leave()))"),
    *("argparse.ArgumentParser().parse_args(['--help'])", "Program('x', callback=print).main([])"),
    *("pytest.exit('x', returncode=0)", "pytest.importorskip('nothing_like_that')", "int('x')"),
]
LEAVES = "  # LEAVES"
WORK = "def work():\n    {way}\n\n\n"
PLACES = {
    "module": (3, "if True:\n    {way}\n"),
    "source": (3, "@bakery.source\ndef other():\n    {way}\n"),
    "image": (3, "@bakery.image(builtin_tests=False)\ndef named():\n    {way}\n"),
    "default": (3, WORK + "@bakery.variables\nclass V:\n    x: list = bakery.var(default_factory=work)\n"),
    "task": (7, "@bakery.task\ndef step(m):\n    {way}\n"),
    "thread": (7, WORK + "@bakery.task\ndef step(m):\n    threading.Thread(target=work).start()\n"),
    "lazily": (7, "def work():\n    yield\n    {way}\n\n\n@bakery.task\ndef step(m):\n    list(work())\n"),
    "waiting": (7, WORK + "@bakery.task\ndef step(m):\n    m.wait_for(work, timeout=1)\n"),
    "post": (9, "@bakery.post\ndef step(artifact):\n    {way}\n"),
    "test": (8, "@bakery.test\ndef step(host):\n    {way}\n"),
    "fixture": (8, "@pytest.fixture\ndef made():\n    {way}\n\n\n@bakery.test\ndef step(host, made): ...\n"),
}  # fmt: skip
EXAMPLES = int(os.environ.get("BAKERY_EXAMPLES", "8"))


def ends(place: str, way: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Build an imagefile whose code is left at a place, and look at what is said."""
    code, body = PLACES[place]
    text = HEAD + body.format(way=way + LEAVES)
    if place != "image":
        text += "\n\n@bakery.image(builtin_tests=False)\ndef named(): ...\n"
    line = next(number for number, each in enumerate(text.splitlines(), 1) if each.endswith(LEAVES))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "imagefile.py").write_text(text)
        capfd.readouterr()
        ended = main(["-C", folder, "build", *(() if place in ("test", "fixture") else ("--no-test",))])
        out, err = capfd.readouterr()
        kept = Path(folder, ".bakery/catalogue.json").exists()
    assert ended == code, err
    assert kept == (place == "post")
    assert "defect" not in err
    assert "Traceback" not in err
    called_in_head = way in ("leave()", "asyncio.run(asyncio.sleep(0, leave()))")
    assert called_in_head or f"imagefile.py:{line}" in err, err
    assert place == "post" or out == ""


@pytest.mark.timeout(3600)
def test_whatever_leaves_the_users_code_is_their_codes_failure(capfd: pytest.CaptureFixture[str]) -> None:
    ways = st.one_of(st.sampled_from(ERRORS).map(lambda error: f"raise {error}"), st.sampled_from(CALLS))

    @settings(max_examples=EXAMPLES, database=None, derandomize="BAKERY_EXAMPLES" not in os.environ)
    @given(place=st.sampled_from([*PLACES]), way=ways)
    def check(place: str, way: str) -> None:
        ends(place, way, capfd)

    check()


@pytest.mark.parametrize("way", [*(f"raise {name}" for name in ("TextEnds", "Strange", "Half")), "os._exit(0)"])
@pytest.mark.parametrize("place", ["module", "image", "task"])
def test_ways_that_once_ended_as_a_defect_or_as_a_success(
    place: str, way: str, capfd: pytest.CaptureFixture[str]
) -> None:
    ends(place, way, capfd)


def test_text_that_is_no_unicode_is_shown_and_written(capfd: pytest.CaptureFixture[str]) -> None:
    ends("task", r"open('\udcff')", capfd)


def test_standard_error_that_the_imagefile_took_away_is_given_back(capfd: pytest.CaptureFixture[str]) -> None:
    ends("module", "setattr(sys, 'stderr', None) or int('x')", capfd)
