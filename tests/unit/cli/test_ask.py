"""The questions at a failed task, and what the shell offers after <Tab>."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from click.shell_completion import ShellComplete
from rich.console import Console

from bakery.cli.app import bake
from bakery.cli.ask import ANSWERS, Ask
from bakery.errors import ConnectError, Interrupted, TaskError
from bakery.events import RunStarted
from bakery.reporting.terminal import Terminal

from .conftest import Project

# ---- questions ------------------------------------------------------------------------------------------------------


@dataclass
class Keyboard:
    """A terminal's input: a pipe in its place, which gives a line at a time as well."""

    write: int
    screen: io.StringIO = field(default_factory=io.StringIO)

    def type(self, text: str) -> None:
        os.write(self.write, text.encode())


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Keyboard]:
    """Somebody who types."""
    read, write = os.pipe()
    with os.fdopen(read) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        yield Keyboard(write)
    os.close(write)


def ask(keyboard: Keyboard, shells: list[BaseException | None] | None = None) -> str:
    """Ask once, with a shell that ends in these ways."""
    terminal = Terminal(Console(file=keyboard.screen, width=200))
    terminal.read(RunStarted())
    ends = iter(shells or [])

    def shell() -> None:
        error = next(ends)
        if error is not None:
            raise error

    try:
        return Ask(terminal)("task base", TaskError("apt-get failed", why="no network"), shell, lambda: None)
    finally:
        terminal.close()
        assert next(ends, "all were used") == "all were used"


@pytest.mark.parametrize(
    ("typed", "choice"),
    [
        ("r\n", "retry"),
        ("s\n", "skip"),
        ("k\n", "keep"),
        ("d\n", "destroy"),
        ("\n", "destroy"),
        ("R\n", "retry"),
        ("  skip  \n", "skip"),
        ("Keep it\n", "keep"),
    ],
)
def test_the_first_letter_counts_and_nothing_means_destroy(keyboard: Keyboard, typed: str, choice: str) -> None:
    keyboard.type(typed)
    assert ask(keyboard) == choice


def test_the_question_says_what_failed_and_what_can_be_done(keyboard: Keyboard) -> None:
    keyboard.type("d\n")
    ask(keyboard)
    text = keyboard.screen.getvalue()
    assert "task base: apt-get failed\nno network" in text
    for key, (name, what) in ANSWERS.items():
        assert f"  {key}  {name:<8} {what}\n" in text
    assert "What now? r/h/s/k/d [d] " in text


def test_another_letter_is_asked_again(keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = iter([b"x\n", b"?\n", b"r\n"])
    keyboard.type("something is there to be read\n")
    monkeypatch.setattr(os, "read", lambda _descriptor, _size: next(lines))
    assert ask(keyboard) == "retry"
    assert keyboard.screen.getvalue().count("What now?") == 3


def test_a_shell_is_opened_as_often_as_wanted_and_asked_after(
    keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = iter([b"h\n", b"h\n", b"k\n"])
    keyboard.type("something is there to be read\n")
    monkeypatch.setattr(os, "read", lambda _descriptor, _size: next(lines))
    assert ask(keyboard, [None, ConnectError("no way in", why="the port is closed")]) == "keep"
    assert "no way in\nthe port is closed" in keyboard.screen.getvalue()


def test_the_end_of_the_input_means_destroy(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nothing:  # noqa: PTH123  as the process's own
        monkeypatch.setattr("sys.stdin", nothing)
        assert ask(Keyboard(-1)) == "destroy"


def test_a_cancelled_run_waits_for_nobody(keyboard: Keyboard) -> None:
    def check() -> None:
        raise Interrupted("interrupted by SIGINT")

    with pytest.raises(Interrupted):
        Ask(Terminal(Console(file=keyboard.screen)))("task base", TaskError("no"), lambda: None, check)


# ---- completion -----------------------------------------------------------------------------------------------------


def offers(words: list[str], incomplete: str = "") -> list[str]:
    return [item.value for item in ShellComplete(bake, {}, "bake", "_BAKE_COMPLETE").get_completions(words, incomplete)]


@pytest.mark.parametrize(
    ("words", "incomplete", "offered"),
    [
        (["build"], "", ["web-bookworm", "web-trixie", "db", "web"]),
        (["build"], "w", ["web-bookworm", "web-trixie", "web"]),
        (["plan"], "d", ["db"]),
        (["build", "web"], "d", ["db"]),
        (["build", "--only"], "", ["box", "crate"]),
        (["plan", "--except"], "c", ["crate"]),
        (["build", "-v"], "", ["greeting=", "workers=", "release=", "password="]),
        (["build", "-v"], "w", ["workers="]),
        (["build", "--on-failure"], "", ["destroy", "keep", "ask"]),
        (["report", "--as"], "h", ["html"]),
        (["cache"], "p", ["prune"]),
        (["list"], "", []),
    ],
)
def test_what_the_imagefile_has_is_offered(
    project: Project, words: list[str], incomplete: str, offered: list[str]
) -> None:
    assert offers(words, incomplete) == offered


def test_commands_and_images_are_offered_for_the_first_word(project: Project) -> None:
    assert offers([], "w") == ["why", "worker", "web-bookworm", "web-trixie", "web"]
    assert {"build", "plan", "web", "db"} <= set(offers([]))
    assert "--verbose" in offers([], "--v")


def test_what_was_built_is_offered_to_those_who_need_an_image(project: Project) -> None:
    project.image("web-trixie")
    project.image("db")
    project.image("db", 2)
    for command in ("rm", "ssh", "test"):
        assert offers([command]) == ["db", "web-trixie"]
    assert offers(["rm"], "w") == ["web-trixie"]


def test_runs_are_offered_the_newest_first(project: Project) -> None:
    first, second = project.run(), project.run()
    for command in (["report"], ["gc"], ["build", "--resume"]):
        assert offers(command, first[:2]) == [second, first]


@pytest.mark.parametrize("text", ["def broken(:", "raise SystemExit(3)", "1 / 0"])
def test_a_mistake_in_the_imagefile_offers_nothing_and_says_nothing(
    project: Project, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    project.write(text)
    for words in (["build"], ["build", "--only"], ["build", "-v"], ["rm"], ["report"]):
        assert offers(words) == []
    assert capsys.readouterr() == ("", "")


# ---- a stop that was asked for --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "choice"), [("c\n", "go"), ("\n", "go"), ("k\n", "keep"), ("d\n", "destroy"), ("x\nc\n", "go")]
)
def test_at_a_stop_nothing_means_to_go_on(keyboard: Keyboard, typed: str, choice: str) -> None:
    for line in typed.splitlines(keepends=True):
        keyboard.type(line)
        if line == "x\n":
            break
    terminal = Terminal(Console(file=keyboard.screen, width=200))

    def check() -> None:
        if "x" in typed and keyboard.screen.getvalue().count("What now?") == 2:
            keyboard.type("c\n")

    try:
        assert Ask(terminal).pause("web@box: before task hello", lambda: None, check) == choice
    finally:
        terminal.close()
    text = keyboard.screen.getvalue()
    assert "web@box: before task hello: stopped" in text
    assert "What now? c/h/k/d [c] " in text


def test_at_a_stop_the_end_of_the_input_is_no_consent(keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "read", lambda *_: b"")
    keyboard.type("\n")
    terminal = Terminal(Console(file=keyboard.screen, width=200))
    assert Ask(terminal).pause("here", lambda: None, lambda: None) == "destroy"
    terminal.close()
