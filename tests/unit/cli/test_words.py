"""The command line's words: which command is meant, global options anywhere, values of options, mistakes."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakery.cli import app
from bakery.cli.app import COMMANDS, bake
from bakery.cli.options import Duration, PhaseTime, Size
from bakery.cli.project import Project as World
from bakery.errors import (
    CleanupError,
    ConnectError,
    DriverError,
    ImagefileError,
    Interrupted,
    Location,
    PreflightError,
    TaskError,
    UsageError,
)

from .conftest import Project

# ---- which command is meant -----------------------------------------------------------------------------------------


def meant(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """The command that would run, and the words behind it; the global options are read and left out."""
    context = bake.make_context("bake", list(words), obj=World(), resilient_parsing=False)
    return (context.protected_args or [None])[0], [*context.protected_args[1:], *context.args]  # type: ignore[list-item]


@pytest.mark.filterwarnings("ignore:'protected_args'")
@pytest.mark.parametrize(
    ("words", "command", "rest"),
    [
        ([], "build", []),
        (["web"], "build", ["web"]),
        (["build", "web"], "build", ["web"]),
        (["web-*", "--no-test"], "build", ["web-*", "--no-test"]),
        (["list"], "list", []),
        (["-q"], "build", []),
        (["-q", "web"], "build", ["web"]),
        (["--verbose", "plan"], "plan", []),
        (["-C", ".", "web"], "build", ["web"]),
        (["-C.", "web"], "build", ["web"]),
        (["--directory=.", "list"], "list", []),
        (["-f", "list", "plan"], "plan", []),
        (["-fother.py", "list"], "list", []),
        (["--file=list", "web"], "build", ["web"]),
        (["--format", "json", "gc", "-n"], "gc", ["-n"]),
        (["--no-test"], "build", ["--no-test"]),
        (["-v", "a=b"], "build", ["-v", "a=b"]),
        (["--color", "never", "--only", "box"], "build", ["--only", "box"]),
        (["build", "list"], "build", ["list"]),
    ],
)
def test_the_first_word_that_is_no_command_means_build(words: list[str], command: str, rest: list[str]) -> None:
    assert meant(words) == (command, rest)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_had_by_its_name(name: str) -> None:
    command = bake.get_command(click.Context(bake), name)
    assert command is not None
    assert command.name == name


def test_no_other_name_is_a_command() -> None:
    assert bake.get_command(click.Context(bake), "bild") is None
    assert bake.list_commands(click.Context(bake)) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_says_what_it_does(name: str) -> None:
    command = bake.get_command(click.Context(bake), name)
    assert command is not None
    parts = [command, *getattr(command, "commands", {}).values()]
    silent = [
        option.opts for part in parts for option in part.params if isinstance(option, click.Option) and not option.help
    ]
    assert silent == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_the_global_options(project: Project, name: str) -> None:
    words = [name, "--quiet", "--color=never", "--format=json", "-C", ".", "--help"]
    assert project.bake(*words).code == 0


# ---- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Duration(), "90", 90.0),
        (Duration(), "90s", 90.0),
        (Duration(), "1.5h", 5400.0),
        (Duration(), "7d", 604_800.0),
        (Size(), "500M", 500 << 20),
        (Size(), "20G", 20 << 30),
        (Size(), "0", 0),
        (Size(), "1.5 KiB", 1536),
        (PhaseTime(), "capture=10m", ("capture", 600.0)),
        (PhaseTime(), " capture =90", ("capture", 90.0)),
    ],
)
def test_a_value_is_read(kind: click.ParamType[Any], text: str, value: object) -> None:
    assert kind.convert(text, None, None) == value


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (Duration(), "soon", "'soon' is no span of time; write 90s, 30m, 12h or 7d"),
        (Duration(), "-5", "'-5' is no span of time"),
        (Duration(), "5 years", "'5 years' is no span of time"),
        (Duration(), "", "'' is no span of time"),
        (Size(), "big", "'big' is no size; write 500M or 20G"),
        (Size(), "-1", "'-1' is no size"),
        (Size(), "5X", "'5X' is no size"),
        (PhaseTime(), "capture", "'capture' is not PHASE=TIME; write capture=10m"),
        (PhaseTime(), "capture=", "'' is no span of time"),
        (PhaseTime(), "capture=soon", "'soon' is no span of time"),
    ],
)
def test_a_value_that_is_none_is_refused_with_an_example(kind: click.ParamType[Any], text: str, message: str) -> None:
    with pytest.raises(click.BadParameter) as caught:
        kind.convert(text, None, None)
    assert caught.value.message.startswith(message)


OPTIONS: list[tuple[list[str], str]] = [
    (["build", "--deadline", "soon"], "'--deadline'"),
    (["build", "--connect-timeout", "later"], "'--connect-timeout'"),
    (["build", "--expire", "never"], "'--expire'"),
    (["build", "--jobs", "0"], "'-j' / '--jobs'"),
    (["build", "--clones", "9"], "'--clones'"),
    (["build", "--clones", "0"], "'--clones'"),
    (["build", "--on-failure", "weep"], "'--on-failure'"),
    (["build", "--phase-timeout", "capture"], "'--phase-timeout'"),
    (["build", "--phase-timeout", "nap=3m"], "nap"),
    (["build", "--refresh-task", "helo"], "did you mean hello?"),
    (["build", "--limit", "kvm"], "kvm"),
    (["build", "--limit", "kvm:many"], "kvm:many"),
    (["build", "--only"], "'--only'"),
    (["plan", "--except", "nowhere"], "nowhere"),
    (["plan", "--only", "bx"], "did you mean box?"),
    (["plan", "-v", "=x"], "'=x' is not NAME=VALUE"),
    (["plan", "--var-file", "."], "cannot read the variable file"),
    (["list", "--format", "xml"], "'--format'"),
    (["list", "--color", "blue"], "'--color'"),
    (["list", "-C", "nowhere"], "'-C' / '--directory'"),
    (["list", "-C", "imagefile.py"], "'-C' / '--directory'"),
    (["list", "-f", "nowhere.py"], "nowhere.py"),
    (["list", "web"], "unexpected extra argument"),
    (["report", "--as", "pdf"], "'--as'"),
    (["report", "a", "b"], "unexpected extra argument"),
    (["gc", "--set", "region=x"], "need --driver"),
    (["gc", "--driver", "folder", "--set", "region"], "'region' is not NAME=VALUE"),
    (["cache", "prune", "--keep", "lots"], "'--keep'"),
    (["cache", "prune", "--older-than", "ages"], "'--older-than'"),
    (["cache", "shrink"], "shrink"),
    (["rm"], "missing argument 'IMAGE...'"),
    (["ssh"], "missing argument 'IMAGE|RUN'"),
    (["test", "web", "--host", "ssh://root@h"], "name an image, or a machine with --host"),
    (["test", "--host", "telnet://h"], "telnet://h"),
    (["test", "--host", "ssh://h", "--identity", "nowhere"], "'--identity'"),
    (["doctor", "floppy"], "floppy"),
]


@pytest.mark.parametrize(
    ("words", "part"), OPTIONS, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_an_option_that_is_wrong_ends_at_once_with_one_message(project: Project, words: list[str], part: str) -> None:
    done = project.bake(*words)
    assert (done.code, done.out) == (2, ""), done.err
    assert part.lower() in done.err.lower()
    assert done.err.count("error:") == 1
    assert not (project.folder / ".bakery/runs").exists()


def test_a_driver_that_is_not_installed_is_seen_before_anything_is_looked_at(project: Project) -> None:
    done = project.bake("gc", "--driver", "floppy")
    assert (done.code, done.out) == (2, "")
    assert "there is no driver 'floppy'" in done.err
    assert "installed are: ec2, folder, nspawn, openstack, qemu, virtualbox" in done.err


# ---- how a command ends ---------------------------------------------------------------------------------------------

ERRORS: list[tuple[BaseException, int, str]] = [
    (UsageError("no such thing"), 2, "error: no such thing"),
    (ImagefileError("wrong", where=Location(Path("/i.py"), 3)), 3, "where:  /i.py:3"),
    (PreflightError("no room"), 4, "error: no room"),
    (DriverError("it died", why="one\ntwo"), 5, "why:    one\n          two"),
    (ConnectError("no way"), 6, "error: no way"),
    (TaskError("task base: no"), 7, "error: task base"),
    (CleanupError("left", hint="bake gc r"), 10, "hint:   bake gc r"),
    (Interrupted("interrupted by SIGTERM"), 130, "cancelled: interrupted by SIGTERM"),
    (KeyboardInterrupt(), 130, "cancelled: interrupted"),
    (click.Abort(), 130, "cancelled: interrupted"),
    (click.UsageError("that way not."), 2, "error: that way not\n"),
    (OSError(28, "No space left on device", "/images/x"), 4, "error: the disk is full: /images/x"),
    (PermissionError(13, "Permission denied", "/root/x"), 4, "cannot be written to: /root/x"),
]


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(_recipe: object) -> None:
        raise error

    module = importlib.import_module("bakery.cli.commands.list")
    monkeypatch.setattr(module, "describe", fail)


@pytest.mark.parametrize(("error", "code", "part"), ERRORS, ids=lambda value: type(value).__name__)
def test_each_kind_of_error_has_its_exit_code_and_is_explained(
    project: Project, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, part: str
) -> None:
    failing(monkeypatch, error)
    done = project.bake("list")
    assert (done.code, done.out) == (code, "")
    assert part in done.err


@pytest.mark.parametrize(("error", "code", "_part"), ERRORS, ids=lambda value: type(value).__name__)
def test_each_kind_of_error_is_data_where_data_is_asked_for(
    project: Project, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, _part: str
) -> None:
    failing(monkeypatch, error)
    done = project.bake("--format=json", "list")
    data = json.loads(done.out)
    assert (done.code, data["type"], data["exit_code"]) == (code, "failed", code)
    assert len(done.out.splitlines()) == 1


def test_on_github_a_mistake_is_marked_at_its_line_before_anything_runs(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project.folder.parent))
    project.write("import bakery\n\n@bakery.tsak\ndef f(m): ...\n")
    done = project.bake("list")
    assert done.code == 3
    marks = [line for line in done.err.splitlines() if line.startswith("::")]
    assert marks == [
        (
            "::error file=project/imagefile.py,line=3,title=ImagefileError::error: bakery has no tsak%0A"
            "  where:  imagefile.py:3%0A  hint:   did you mean task?"
        )
    ]


def test_elsewhere_there_are_no_marks(project: Project) -> None:
    project.write("syntax error")
    assert "::" not in project.bake("list").err


def test_a_defect_is_code_1_and_its_traceback_is_kept(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(project.folder))
    failing(monkeypatch, KeyError("lost"))
    done = project.bake("list")
    assert done.code == 1
    assert "bakery has a defect: KeyError: 'lost'" in done.err
    (file,) = project.folder.glob("bake-crash-*.txt")
    assert "Traceback (most recent call last)" in file.read_text()
    assert str(file) in done.err


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("plna", "did you mean the command `bake plan`?"),
        ("lst", "did you mean the command `bake list`?"),
        ("imags", "did you mean the command `bake images`?"),
        ("zzz", "there are: db, web, web-bookworm, web-trixie"),
    ],
)
def test_a_word_that_was_meant_for_a_command_is_recognised(project: Project, word: str, hint: str) -> None:
    done = project.bake(word)
    assert done.code == 2
    assert f"no image matches {word!r}" in done.err
    assert hint in done.err


@settings(max_examples=40)
@given(st.lists(st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=8), max_size=4))
def test_whatever_is_typed_the_first_word_is_found(words: list[str]) -> None:
    assert isinstance(bake, app.Bake)
    assert 0 <= bake._first_word(words) <= len(words)
