"""`bake report`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from bakery.cli import output
from bakery.cli.commands.gc import others
from bakery.cli.completion import runs
from bakery.cli.options import BakeCommand
from bakery.cli.project import Project
from bakery.errors import Interrupted, UsageError, near
from bakery.reporting.formatting import duration

if TYPE_CHECKING:
    from bakery.reporting.run_state import RunState
    from bakery.state.project import RunFolder


INDEX: Final = "runs.html"
"""The page over all runs, in `.bakery`."""


@click.command(
    cls=BakeCommand,
    epilog="""Examples:
    bake report                    the last run
    bake report 9f3a --verbose     any part of a run's id will do; with what commands wrote
    bake report --as html > report.html
    bake report --list
    bake report --all              a page over all runs, with the way to each one's report""",
)
@click.argument("run", required=False, shell_complete=runs)
@click.option(
    "--as", "form", type=click.Choice(["text", "html", "junit"]), default="text", help="Which report to print."
)
@click.option("--list", "as_list", is_flag=True, help="List all runs, the newest last.")
@click.option("--all", "as_index", is_flag=True, help="Write a page over all runs beside them, and print its path.")
@click.pass_obj
def report(project: Project, /, *, run: str | None, form: str, as_list: bool, as_index: bool) -> None:
    """Show how a run went: its phases, its failures, and the files that explain them.

    Made from the run's own events, so a run that was killed has a report as well.
    """
    if as_list or as_index:
        _index(project) if as_index else _list(project)
        return
    folder = project.state.run(run) if run else last_run(project)
    path = events_of(folder)
    if project.json:
        output.out(path.read_text(encoding="utf-8").rstrip("\n"), project)
    elif form == "text":
        _text(project, folder)
    else:
        _document(form, path)


def last_run(project: Project) -> RunFolder:
    """Return the newest run that this user may read, and say which ones are another's.

    Raises:
        UsageError: there is none.
    """
    found = project.state.runs()
    own = [run for run in found if run.readable]
    _tell_others(project, found)
    if not own:
        raise UsageError("there is no run yet", hint="`bake build` starts one")
    return own[-1]


def events_of(folder: RunFolder) -> Path:
    """Return the file of a run's events.

    Raises:
        UsageError: the run has none.
    """
    path = folder.path / "events.jsonl"
    if not path.exists():
        raise UsageError(f"the run {folder.id} has no events", why=f"{path} is not there")
    return path


def _tell_others(project: Project, runs: list[RunFolder]) -> None:
    if unreadable := [run.id for run in runs if not run.readable]:
        output.note(others(unreadable, "sudo bake report"), project)


def _list(project: Project) -> None:
    runs = project.state.runs()
    known = [(folder, folder.about()) for folder in runs if folder.readable]
    if project.json:
        for folder, about in known:
            times = {name: about.get(name) for name in ("started", "ended", "exit_code", "builds")}
            output.out_json({"run": folder.id, "state": _state(folder, about), **times}, project)
    else:
        rows = [(f.id, *_when(about), _state(f, about), ", ".join(about.get("builds", []))) for f, about in known]
        output.out(output.table(rows, ("RUN", "STARTED", "TOOK", "STATE", "BUILDS")), project)
    _tell_others(project, runs)


def _index(project: Project) -> None:
    """Write `.bakery/runs.html`."""
    from bakery.reporting.run_index import RunLine, index
    from bakery.reporting.summary import REPORT
    from bakery.state.ownership import hand_over
    from bakery.util.files import write_whole

    lines: list[RunLine] = []
    for folder in (folder for folder in project.state.runs() if folder.readable):
        about = folder.about()
        started, ended = (_time(about, name) for name in ("started", "ended"))
        link = f"runs/{folder.id}/{REPORT}" if (folder.path / REPORT).is_file() else ""
        lines.append(
            RunLine(
                id=folder.id,
                link=link,
                state=_state(folder, about),
                started=started,
                seconds=None if started is None or ended is None else max(0.0, ended - started),
                builds=[str(build) for build in about.get("builds", [])],
            )
        )
    path = project.state.folder / INDEX
    project.state.prepare()
    write_whole(path, index(project.imagefile.parent.name, lines))
    hand_over([path], path.parent)
    output.record(str(path), {"did": "written", "file": str(path)}, project)
    _tell_others(project, project.state.runs())


def _time(about: Mapping[str, Any], name: str) -> float | None:
    value = about.get(name)
    return float(value) if isinstance(value, int | float) else None


def _state(folder: RunFolder, about: Mapping[str, Any]) -> str:
    code = about.get("exit_code")
    if folder.alive or code is None:
        return "alive" if folder.alive else "killed"
    return {0: "ok", Interrupted.exit_code: "cancelled"}.get(code, f"exit code {code}")


def _when(about: Mapping[str, Any]) -> tuple[str, str]:
    """Return when a run began, and how long it took; empty where it did not write that down."""
    started, ended = about.get("started"), about.get("ended")
    if not isinstance(started, int | float):
        return "", ""
    took = duration(max(0.0, ended - started)) if isinstance(ended, int | float) else ""
    return f"{datetime.fromtimestamp(started).astimezone():%Y-%m-%d %H:%M}", took


def _text(project: Project, folder: RunFolder) -> None:
    from bakery.reporting.plain import Log
    from bakery.reporting.replay import events

    reader = Log(sys.stdout, project.verbosity)
    for event in events(folder.path / "events.jsonl"):
        reader.read(event)
    if reader.board.ended is None:
        output.out(
            "\nthe run is alive" if folder.alive else "\nthe run was killed; `bake gc` destroys what it left", project
        )
    for path in sorted(folder.path.glob("failures/*/verdict.txt")):
        output.out(f"\nverdict on {path.parent.name}: {path.read_text(encoding='utf-8').strip()}", project)
    files = [path for path in sorted(folder.path.rglob("*")) if path.is_file() and _tells(path, folder.path)]
    if files:
        output.out("\nfiles:\n" + "\n".join(f"  {near(str(path))}" for path in files), project)


def _tells(path: Path, root: Path) -> bool:
    """Say whether a file explains something to a person."""
    inside = path.relative_to(root).parts
    return inside[0] == "failures" or path.name in ("report.html", "junit.xml", "crash.txt", "console.log")


def _document(form: str, path: Path) -> None:
    from bakery.reporting.html import page
    from bakery.reporting.junit import xml

    board = _board(path)
    click.echo(page(board) if form == "html" else xml(board).decode(), nl=False)


def _board(path: Path) -> RunState:
    from bakery.reporting.replay import events
    from bakery.reporting.run_state import RunState

    board = RunState()
    for event in events(path):
        board.read(event)
    return board
