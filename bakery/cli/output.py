"""Printing: results on standard output, errors on standard error."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from bakery.errors import BakeryError

if TYPE_CHECKING:
    from bakery.cli.project import Project


_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_UNWRITABLE: Final = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Those that stand for no byte of a name."""


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def out(text: str, project: Project) -> None:
    """Print a result; a file's name in it as the bytes that it has, see `bakery.cli.streams`."""
    click.echo(_UNWRITABLE.sub(_escaped, project.redact(text)), color=project.stdout_colors)


def out_json(data: Any, project: Project, *, line: bool = False) -> None:
    """Print a result as JSON; on one line for `--format json`."""
    text = json.dumps(data, indent=None if line or project.json else 2, ensure_ascii=False)
    out(_SURROGATES.sub(_escaped, text), project)


def record(text: str, data: Mapping[str, Any], project: Project) -> None:
    """Print one thing that was done: a line for people, or for `--format json` an object on a line."""
    if project.json:
        out_json(dict(data), project, line=True)
    else:
        out(text, project)


def table(rows: Iterable[Sequence[str]], head: Sequence[str] = ()) -> str:
    """Align columns; the last one is as long as it is."""
    lines = [list(head), *map(list, rows)] if head else [list(row) for row in rows]
    if not lines:
        return ""
    widths = [max(len(click.unstyle(line[at])) for line in lines) for at in range(len(lines[0]))]
    if head:
        lines[0] = [click.style(cell, dim=True) for cell in lines[0]]
    return "\n".join(_row(line, widths) for line in lines)


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell + " " * (width - len(click.unstyle(cell))) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()


def note(text: str, project: Project) -> None:
    """Tell something beside the results."""
    if not project.quiet:
        click.echo(project.redact(text), err=True)


def error(raised: BakeryError, project: Project) -> int:
    """Explain an error, and return its exit code."""
    from bakery.reporting.summary import failed_event, failure_text

    event = failed_event(raised)
    if project.json:
        out_json(event.to_json(), project)
    text = project.redact(failure_text(event))
    label, _, rest = text.partition(":")
    shown = click.style(f"{label}:", fg="red" if label == "error" else "yellow", bold=True) + rest
    click.echo(shown, err=True, color=project.colors(sys.stderr.isatty()))
    if project.environ.get("GITHUB_ACTIONS") == "true":
        from bakery.reporting.github import annotation

        root = project.environ.get("GITHUB_WORKSPACE")
        level = "error" if label == "error" else "warning"
        click.echo(annotation(level, event.location, event.error, text, Path(root) if root else None), err=True)
    return raised.exit_code


def usage(raised: click.ClickException, project: Project) -> int:
    """Explain a wrong command line."""
    from bakery.errors import UsageError

    context = getattr(raised, "ctx", None)
    hint = f"see `{context.command_path} --help`" if context is not None else ""
    return error(UsageError(raised.format_message().rstrip("."), hint=hint), project)


def defect(raised: BaseException, project: Project) -> int:
    """Own up to a defect, unless it is the user's: a short text, and the traceback in a file."""
    import tempfile

    from bakery.imagefile.user_code import out_of_imagefile, text_of
    from bakery.redaction.logs import traceback_text

    with suppress(BakeryError):  # there is no imagefile
        if (theirs := out_of_imagefile(raised, project.imagefile.parent)) is not None:
            return error(theirs, project)
    with tempfile.NamedTemporaryFile(
        "w", prefix="bake-crash-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
    ) as file:
        file.write(traceback_text(raised, project.redact))
    told = BakeryError(
        f"bakery has a defect: {type(raised).__name__}: {text_of(raised)}",
        why=f"the traceback is in {file.name}",
        hint="please report it with that file",
    )
    return error(told, project)
