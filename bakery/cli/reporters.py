"""Choosing the reporters of a run."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from bakery.errors import PostError
from bakery.reporting.bus import Reporter
from bakery.reporting.jsonl import JsonFile, JsonLines
from bakery.reporting.junit import JUnit
from bakery.reporting.plain import Log

if TYPE_CHECKING:
    from bakery.cli.project import Project
    from bakery.reporting.terminal import Terminal


def screen(project: Project) -> Reporter:
    """Return the reporter for standard error: a terminal's, GitHub's, or the plain log."""
    from bakery.reporting.github import GitHub

    environ = project.environ
    if environ.get("GITHUB_ACTIONS") == "true":
        places = {
            name: Path(path) if (path := environ.get(f"GITHUB_{variable}")) else None
            for name, variable in (("summary", "STEP_SUMMARY"), ("output", "OUTPUT"), ("root", "WORKSPACE"))
        }
        return GitHub(sys.stderr, project.verbosity, live=True, **places)
    if sys.stderr.isatty() and environ.get("TERM") != "dumb":
        return terminal(project)
    return Log(sys.stderr, "quiet" if project.json else project.verbosity, live=True)


def terminal(project: Project) -> Terminal:
    """Return the reporter that draws."""
    from rich.console import Console

    from bakery.reporting.terminal import Terminal

    console = Console(file=sys.stderr, no_color=not project.colors(terminal=True), highlight=False)
    return Terminal(console, "quiet" if project.json else project.verbosity)


def is_terminal(shown: Reporter) -> TypeGuard[Terminal]:
    """Say whether a reporter draws on a terminal; the module that draws is slow to load, and not loaded to ask this."""
    module = sys.modules.get("bakery.reporting.terminal")
    return module is not None and isinstance(shown, module.Terminal)


def readers(project: Project, shown: Reporter, junit: Path | None = None) -> list[Reporter]:
    """Return all reporters of a run: what is shown, what programs read, what the run's folder keeps."""
    from bakery.reporting.html import Html

    chosen: list[Reporter] = [JUnit(), Html()]
    if junit is not None:
        chosen.append(JUnit(junit))
    chosen.append(JsonFile())
    if project.json:
        chosen.append(JsonLines(sys.stdout))
    return [*chosen, shown]  # whoever comes later hears that an earlier one could not be written


def exit_code(code: int, readers: Iterable[Reporter]) -> int:
    """Return a command's exit code: a report that was asked for and is not there is no success."""
    owed = any(isinstance(reader, JUnit) and reader.owed for reader in readers)
    return code or (PostError.exit_code if owed else 0)
