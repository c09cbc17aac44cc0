"""What is printed: on which stream, redacted, aligned, and lost without harm where nobody takes it."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from errno import ENOSPC
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bakery.cli import app, output
from bakery.cli.project import Project
from bakery.cli.redacted_streams import Prints, captured
from bakery.cli.reporters import exit_code, readers, screen
from bakery.cli.streams import Stream, Streams
from bakery.redaction.redactor import Redactor
from bakery.redaction.secret import Secret
from bakery.reporting.github import GitHub
from bakery.reporting.html import Html
from bakery.reporting.jsonl import JsonFile, JsonLines
from bakery.reporting.junit import JUnit
from bakery.reporting.plain import Log
from bakery.reporting.terminal import Terminal

from . import conftest

# ---- tables ---------------------------------------------------------------------------------------------------------

cells = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=12)


@pytest.mark.parametrize(
    ("rows", "head", "shown"),
    [
        ([], (), ""),
        ([], ("A", "B"), "A  B"),
        ([("a", "b")], (), "a  b"),
        ([("long", "b"), ("a", "c")], (), "long  b\na     c"),
        ([("a", ""), ("b", "")], (), "a\nb"),
        ([("", "b")], ("HEAD", "X"), "HEAD  X\n      b"),
        ([(click.style("a", bold=True), "b"), ("cc", "d")], (), "a   b\ncc  d"),
    ],
)
def test_columns_are_aligned(rows: list[tuple[str, ...]], head: tuple[str, ...], shown: str) -> None:
    assert click.unstyle(output.table(rows, head)) == shown


@given(st.lists(st.tuples(cells, cells, cells), max_size=5))
def test_a_column_begins_at_one_place(rows: list[tuple[str, str, str]]) -> None:
    lines = output.table(rows).split("\n") if rows else []
    starts = [max(len(row[0]) for row in rows) + 2, 0] if rows else []
    for line, row in zip(lines, rows, strict=True):
        assert line.startswith(row[0])
        assert line[starts[0] :].startswith(row[1])
        assert line == line.rstrip()


@pytest.mark.parametrize(
    ("json_asked", "line", "shown"),
    [
        (False, False, '{\n  "ü": 1\n}\n'),
        (False, True, '{"ü": 1}\n'),
        (True, False, '{"ü": 1}\n'),
    ],
)
def test_json_is_for_people_or_on_one_line(
    capsys: pytest.CaptureFixture[str], json_asked: bool, line: bool, shown: str
) -> None:
    project = Project()
    project.format = "json" if json_asked else "text"
    output.out_json({"ü": 1}, project, line=line)
    assert capsys.readouterr() == (shown, "")


def test_results_go_to_standard_output_and_notes_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    project = Project()
    output.out("result", project)
    output.note("note", project)
    assert capsys.readouterr() == ("result\n", "note\n")
    project.quiet = True
    output.note("note", project)
    assert capsys.readouterr() == ("", "")


def test_nothing_that_is_printed_has_a_known_secret(capsys: pytest.CaptureFixture[str]) -> None:
    project = Project()
    try:
        project.redactor.add(Secret("hunter22", "pw"))
        output.out("it is hunter22", project)
        output.note("it is hunter22", project)
        output.out_json({"a": "hunter22"}, project)
    finally:
        project.close()
    out, err = capsys.readouterr()
    assert "hunter22" not in out + err
    assert out.count("[secret pw]") == 2


@pytest.mark.parametrize(
    ("color", "terminal", "environ", "shown"),
    [
        ("auto", True, {}, True),
        ("auto", False, {}, False),
        ("auto", True, {"NO_COLOR": "1"}, False),
        ("auto", True, {"NO_COLOR": ""}, True),
        ("auto", True, {"TERM": "dumb"}, False),
        ("always", False, {"NO_COLOR": "1"}, True),
        ("never", True, {}, False),
    ],
)
def test_colours_are_for_terminals_unless_told_otherwise(
    color: Any, terminal: bool, environ: dict[str, str], shown: bool
) -> None:
    project = Project()
    project.color, project.environ = color, environ
    assert bool(project.colors(terminal)) == shown


def printed(monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, bytes]:
    """Run a command whose standard output takes UTF-8 alone, as in most locales."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="utf-8", errors="strict")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        code = app.run(words)
    stream.flush()
    return code, raw.getvalue()


ODD = os.fsdecode(b"caf\xe9")
"""A name from the days before UTF-8."""


def test_a_folder_whose_name_is_no_text_is_like_any_other(
    project: conftest.Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project.folder / ODD
    folder.mkdir()
    (folder / "imagefile.py").write_text(conftest.IMAGEFILE)
    for words in (("list",), ("plan",), ("why",), ("images",), ("report", "--list")):
        code, _ = printed(monkeypatch, "-C", str(folder), *words)
        assert code == 0, words
    code, raw = printed(monkeypatch, "-C", str(folder), "list", "--json")
    assert json.loads(raw.decode())["imagefile"] == str(folder / "imagefile.py")
    assert printed(monkeypatch, "-C", ODD, "init", "-f", "other.py") == (0, b"caf\xe9/other.py\n")


@pytest.mark.parametrize(
    ("value", "text"), [(ODD, r"caf\udce9"), ("half \ud83d of a pair", r"half \ud83d of"), ("é 😀", "é 😀")]
)
def test_a_value_that_no_stream_can_write_is_shown_all_the_same(
    project: conftest.Project, monkeypatch: pytest.MonkeyPatch, value: str, text: str
) -> None:
    code, raw = printed(monkeypatch, "plan", "db", "-v", f"greeting={value}")
    assert (code, text in raw.decode()) == (0, True)
    code, raw = printed(monkeypatch, "plan", "db", "--json", "-v", f"greeting={value}")
    assert code == 0
    (build,) = json.loads(raw.decode())["builds"]
    assert build["variables"][0]["value"] == value


# ---- streams that fail ----------------------------------------------------------------------------------------------


class Failing(io.StringIO):
    """A stream that cannot be written to."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str, /) -> int:
        del text
        raise self.error

    def flush(self) -> None:
        raise self.error


FULL = OSError(ENOSPC, os.strerror(ENOSPC))


@pytest.mark.parametrize("error", [FULL, BrokenPipeError(), ValueError("I/O operation on closed file")])
def test_who_writes_never_hears_of_a_failure_and_it_is_known_afterwards(error: Exception) -> None:
    stream = Stream(Failing(error))
    assert stream.write("text") == 4
    stream.writelines(["a", "b"])
    stream.flush()
    assert stream.failure is error


def test_a_stream_that_works_has_no_failure_and_is_the_real_one_otherwise() -> None:
    real = io.StringIO()
    stream = Stream(real)
    stream.writelines(["a", "b"])
    stream.write("c")
    stream.flush()
    assert (real.getvalue(), stream.failure, stream.getvalue()) == ("abc", None, "abc")


@pytest.mark.parametrize(
    ("out", "err", "lost"),
    [(None, None, False), (BrokenPipeError(), None, False), (FULL, None, True), (None, FULL, False)],
)
def test_only_results_that_somebody_waits_for_count_as_lost(
    out: Exception | None, err: Exception | None, lost: bool
) -> None:
    streams = Streams(*(Stream(io.StringIO() if error is None else Failing(error)) for error in (out, err)))
    streams.out.write("x")
    streams.err.write("x")
    assert streams.lost is (FULL if lost else None)


# ---- what imagefiles print ------------------------------------------------------------------------------------------


def redactor() -> Redactor:
    made = Redactor()
    made.add(Secret("hunter22", "pw"))
    return made


def test_what_imagefiles_print_comes_in_whole_redacted_lines() -> None:
    shown = io.StringIO()
    prints = Prints(redactor(), shown, Log(io.StringIO()))
    for part in ("it is hun", "ter22", "\nnext", " line\n", "rest"):
        prints.write(part)
    assert shown.getvalue() == "it is [secret pw]\nnext line\n"
    prints.finish()
    assert shown.getvalue() == "it is [secret pw]\nnext line\nrest\n"
    assert prints.writable()


def test_threads_that_print_at_the_same_time_are_not_mixed() -> None:
    shown = io.StringIO()
    prints = Prints(redactor(), shown, Log(io.StringIO()))
    prints.write("mine ")
    thread = threading.Thread(target=prints.write, args=("theirs\n",))
    thread.start()
    thread.join()
    prints.write("too\n")
    assert shown.getvalue() == "theirs\nmine too\n"


def test_on_a_terminal_prints_stand_above_the_live_lines() -> None:
    drawn, real = io.StringIO(), io.StringIO()
    prints = Prints(redactor(), real, Terminal(Console(file=drawn, width=80)))
    prints.write("hello \x1b[31mhunter22\n")
    assert (drawn.getvalue(), real.getvalue()) == ("hello [secret pw]\n", "")


def test_while_a_run_goes_on_prints_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with captured(redactor(), Log(io.StringIO())):
        sys.stdout.write("from out hunter22\n")
        sys.stderr.write("from err\nno end")
    sys.stdout.write("afterwards\n")
    assert capsys.readouterr() == ("afterwards\n", "from out [secret pw]\nfrom err\nno end\n")


# ---- reporters ------------------------------------------------------------------------------------------------------


def test_on_github_the_log_is_githubs(tmp_path: Path) -> None:
    project = Project()
    project.environ = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path / "s"), "GITHUB_WORKSPACE": "/w"}
    reporter = screen(project)
    assert isinstance(reporter, GitHub)
    assert (reporter._summary, reporter._root) == (tmp_path / "s", Path("/w"))
    project.environ = {"GITHUB_ACTIONS": "true"}
    bare = screen(project)
    assert isinstance(bare, GitHub)
    assert (bare._summary, bare._root) == (None, None)


@pytest.mark.parametrize(
    ("terminal", "environ", "kind"),
    [
        (True, {}, Terminal),
        (True, {"TERM": "dumb"}, Log),
        (False, {}, Log),
        (True, {"GITHUB_ACTIONS": "false"}, Terminal),
    ],
)
def test_live_lines_are_for_terminals(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, environ: dict[str, str], kind: type
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    project = Project()
    project.environ = environ
    assert type(screen(project)) is kind


def test_a_run_has_a_page_a_junit_file_and_events_and_more_on_request(tmp_path: Path) -> None:
    project, shown = Project(), Log(io.StringIO())
    assert [type(reader) for reader in readers(project, shown)] == [JUnit, Html, JsonFile, Log]
    project.format = "json"
    kinds = [type(reader) for reader in readers(project, shown, tmp_path / "j.xml")]
    assert kinds == [JUnit, Html, JUnit, JsonFile, JsonLines, Log]


@pytest.mark.parametrize(
    ("code", "path", "failure", "expected"),
    [
        (0, "j.xml", None, 0),
        (0, "j.xml", FULL, 9),
        (7, "j.xml", FULL, 7),
        (0, None, FULL, 0),
    ],
)
def test_a_report_that_was_asked_for_and_is_not_there_is_no_success(
    code: int, path: str | None, failure: OSError | None, expected: int
) -> None:
    junit = JUnit(None if path is None else Path(path))
    junit.failure = failure
    assert exit_code(code, [Html(), junit]) == expected


def test_an_error_is_told_to_people_and_to_programs(capsys: pytest.CaptureFixture[str]) -> None:
    from bakery.errors import PreflightError

    project = Project()
    project.format = "json"
    assert output.error(PreflightError("no room", why="full", hint="free some"), project) == 4
    out, err = capsys.readouterr()
    data = json.loads(out)
    assert {name: data[name] for name in ("error", "what", "why", "hint", "exit_code")} == {
        "error": "PreflightError",
        "what": "no room",
        "why": "full",
        "hint": "free some",
        "exit_code": 4,
    }
    assert err == "error: no room\n  why:    full\n  hint:   free some\n"
