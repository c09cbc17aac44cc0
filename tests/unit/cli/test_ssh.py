"""`bake ssh`: which machine is meant, what is run there, and with which code it ends."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bakery.build.one_off import OneOffRun
from bakery.errors import ConnectError, DriverError
from bakery.imagefile.builds import Build
from bakery.machine import shell
from bakery.model import Artifact, Endpoint
from bakery.reporting.terminal import Terminal
from bakery.state.held_machines import remember
from bakery.state.ssh_keys import Keys, save_keys

from .conftest import Project

KEYS = Keys(user_private="a", user_public="b", host_private="c", host_public="d")
HOST = Endpoint(host="10.0.0.1", host_key="ssh-ed25519 AAAA")


@dataclass
class Shells:
    """The shells that were opened, and how they end."""

    code: int = 0
    opened: list[tuple[Endpoint, Keys, Path, str]] = field(default_factory=list[tuple[Endpoint, Keys, Path, str]])

    def open(self, endpoint: Endpoint, keys: Keys, folder: Path, command: str = "") -> int:
        """Stand in for `open_shell`."""
        self.opened.append((endpoint, keys, folder, command))
        return self.code

    @property
    def commands(self) -> list[str]:
        """What was run; an empty one is a shell for a person."""
        return [command for *_, command in self.opened]


@pytest.fixture
def shells(monkeypatch: pytest.MonkeyPatch) -> Shells:
    made = Shells()
    monkeypatch.setattr(shell, "open_shell", made.open)
    return made


def keep(project: Project, host: str = "10.0.0.1") -> str:
    """Leave a machine of a failed task, as `--on-failure=keep` does."""
    run = project.run()
    folder = project.state.run(run).path / "machines" / host
    folder.mkdir(parents=True)
    save_keys(KEYS, folder)
    remember(Endpoint(host=host, host_key="ssh-ed25519 AAAA"), folder)
    return run


# ---- a machine that was kept -----------------------------------------------------------------------------------------


def test_a_machine_that_was_kept_is_visited_with_its_own_keys(project: Project, shells: Shells) -> None:
    run = keep(project)
    assert project.bake("ssh", run[-4:]).code == 0
    ((endpoint, keys, folder, command),) = shells.opened
    assert (endpoint, keys, command) == (HOST, KEYS, "")
    assert folder.parent.parent.name == run


def test_a_run_that_left_none_says_how_one_is_left(project: Project, shells: Shells) -> None:
    run = project.run()
    done = project.bake("ssh", run)
    assert done.code == 2
    assert f"the run {run} left no machine" in done.err
    assert "--on-failure=keep" in done.err
    assert shells.opened == []


def test_a_name_that_nothing_has_is_answered_with_both_lists(project: Project, shells: Shells) -> None:
    project.image("web-trixie")
    run = project.run()
    done = project.bake("ssh", "nothing")
    assert done.code == 2
    assert "'nothing' is neither an image nor a run" in done.err
    assert "web-trixie" in done.err
    assert run in done.err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), ""),
        (("--", "dpkg", "-l", "a b"), "dpkg -l 'a b'"),
        (("journalctl -b | tail",), "journalctl -b | tail"),
        (("uptime",), "uptime"),
    ],
)
def test_several_words_are_a_command_and_a_single_one_is_a_line(
    project: Project, shells: Shells, words: tuple[str, ...], line: str
) -> None:
    project.bake("ssh", keep(project), *words)
    assert shells.commands == [line]


@pytest.mark.parametrize(
    ("command", "ended", "code"),
    [
        ("true", 0, 0),
        ("false", 1, 1),
        ("kill -9 $$", -9, 137),
        ("", 1, 0),  # how a person's shell ended is no failure
        ("", -15, 0),
        ("true", 255, ConnectError.exit_code),
        ("", 255, ConnectError.exit_code),
    ],
)
def test_the_command_s_code_is_bake_s_and_a_lost_connection_has_its_own(
    project: Project, shells: Shells, command: str, ended: int, code: int
) -> None:
    shells.code = ended
    done = project.bake("ssh", keep(project), *([command] if command else []))
    assert done.code == code
    assert ("the shell's connection failed or was lost" in done.err) == (ended == 255)


# ---- a fresh machine of an image ------------------------------------------------------------------------------------


@pytest.fixture
def notices() -> list[str]:
    """What was told during visits."""
    return []


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, notices: list[str]) -> list[Any]:
    """Visits: what was visited; the code that they end with is the list's first element."""
    made: list[Any] = [0]
    driver = SimpleNamespace(endpoint=lambda _: HOST)
    running = SimpleNamespace(driver=driver, handle=None, claim=SimpleNamespace(keys=KEYS, folder=tmp_path))

    def machine(_run: OneOffRun, build: Build, artifact: Artifact, action: Callable[[Any, Any], int | None]) -> int:
        made.append((build.name, artifact.name))
        if made[0] == DriverError.exit_code:
            return DriverError.exit_code
        ended = action(SimpleNamespace(emit=lambda event: notices.append(event.message)), running)
        assert not ended, "a command that fails is no failed visit"
        return int(made[0])

    monkeypatch.setattr(OneOffRun, "machine", machine)
    return made


def test_an_image_is_visited_on_a_machine_of_its_own(
    project: Project, shells: Shells, visits: list[Any], notices: list[str]
) -> None:
    project.image("web-trixie", 1, build="web[release=trixie]@crate")
    project.image("web-trixie", 2)
    shells.code = 7
    done = project.bake("ssh", "web-trixie", "--", "exit", "7")
    assert (done.code, visits[1:]) == (2, [])
    assert "name one of them: web-trixie@crate, web-trixie@box" in done.err
    assert project.bake("ssh", "web-trixie@box", "--", "exit", "7").code == 7
    assert visits[1:] == [("web[release=trixie]@box", "web-trixie")]
    assert shells.opened == [(HOST, KEYS, shells.opened[0][2], "exit 7")]
    assert notices == ["the command ended with exit code 7"]


def test_an_image_comes_before_a_run_whose_id_has_the_same_in_it(
    project: Project, shells: Shells, visits: list[Any]
) -> None:
    run = keep(project)
    project.image(run[-4:], build="db@box")
    project.bake("ssh", run[-4:])
    assert len(visits) == 2


def test_why_there_was_no_visit_is_the_exit_code(project: Project, shells: Shells, visits: list[Any]) -> None:
    visits[0] = DriverError.exit_code
    project.image("web-trixie")
    assert project.bake("ssh", "web-trixie", "true").code == DriverError.exit_code
    assert shells.opened == []


def test_what_was_left_behind_is_worth_more_than_the_command_s_code(
    project: Project, shells: Shells, visits: list[Any]
) -> None:
    visits[0], shells.code = 10, 1
    project.image("web-trixie")
    assert project.bake("ssh", "web-trixie", "false").code == 10


def test_a_terminal_s_display_rests_while_a_person_types(
    project: Project, shells: Shells, visits: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    paused: list[str] = []

    class Shown(Terminal):
        @contextmanager
        def paused(self) -> Any:
            """Take note."""
            paused.append("begun")
            yield
            paused.append(f"ended after {len(shells.opened)} shell")

    from rich.console import Console

    monkeypatch.setattr("bakery.cli.reporters.screen", lambda _: Shown(Console()))
    project.image("web-trixie")
    assert project.bake("ssh", "web-trixie").code == 0
    assert paused == ["begun", "ended after 1 shell"]
