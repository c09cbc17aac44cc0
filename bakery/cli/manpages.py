"""The manual pages of the command, made of the same help that `--help` shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import version

import click

from bakery.cli.app import COMMANDS, bake


def pages() -> Iterator[tuple[str, str]]:
    """Yield each page's file name, `bake-build.1`, and its text in troff's language."""
    top = click.Context(bake, info_name="bake")
    yield "bake.1", _page(bake, top, [f"bake-{name}" for name in COMMANDS])
    for name in COMMANDS:
        command = bake.get_command(top, name)
        assert command is not None  # noqa: S101  it is in the list
        yield f"bake-{name}.1", _page(command, click.Context(command, info_name=name, parent=top), ["bake"])


def _page(command: click.Command, context: click.Context, related: list[str]) -> str:
    name = context.command_path.replace(" ", "-")
    about, *rest = (command.help or "").split("\n\n")
    lines = [
        f'.TH "{name.upper()}" "1" "" "bakery {version("imagebakery")}" "bakery"',
        ".SH NAME",
        f"{_text(name)} \\- {_text(about).rstrip('.')}",
        ".SH SYNOPSIS",
        f".B {_text(context.command_path)}",
        _text(" ".join(command.collect_usage_pieces(context))),
        ".SH DESCRIPTION",
        *_paragraphs([about, *rest]),
        *_commands(command, context),
        ".SH OPTIONS",
        *_options(command, context),
    ]
    examples, prose = _epilog(command)
    if examples:
        lines += [".SH EXAMPLES", ".nf", *map(_text, examples), ".fi"]
    lines += _paragraphs(prose)
    lines += [".SH SEE ALSO", ", ".join(f"\\fB{_text(other)}\\fR(1)" for other in related), ""]
    return "\n".join(lines)


def _commands(command: click.Command, context: click.Context) -> Iterator[str]:
    if command is bake:
        yield ".SH COMMANDS"
        for name, (_, line) in COMMANDS.items():
            yield from (".TP", f"\\fBbake {_text(name)}\\fR", _text(line))
    elif isinstance(command, click.Group):
        yield ".SH COMMANDS"
        for name, inner in command.commands.items():
            usage = " ".join(inner.collect_usage_pieces(click.Context(inner, info_name=name, parent=context)))
            yield from (".TP", f"\\fB{_text(context.command_path)} {_text(name)}\\fR {_text(usage)}")
            yield _text(inner.help or "")
            for item in _records(inner, context):
                yield from (".RS", ".TP", f"\\fB{_text(item[0])}\\fR", _text(item[1]), ".RE")


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for names, text in _records(command, context):
        yield from (".TP", f"\\fB{_text(names)}\\fR", _text(text))
    if command is not bake:
        yield from (".PP", "The global options are in \\fBbake\\fR(1).")


def _records(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    for param in command.get_params(context):
        if isinstance(param, click.Option) and (record := param.get_help_record(context)) is not None:
            yield record


def _epilog(command: click.Command) -> tuple[list[str], list[str]]:
    """Return the examples, a line each, and what else stands at the end."""
    head, _, rest = (command.epilog or "").partition("Examples:\n")
    return [line.strip() for line in rest.splitlines() if line.strip()], [head.strip()] if head.strip() else []


def _paragraphs(texts: list[str]) -> Iterator[str]:
    for text in texts:
        yield from (".PP", _text(text))


def _text(text: str) -> str:
    """Return text in which nothing is a command of troff's; line ends are blanks, as in `--help`."""
    text = re.sub(r"\s*\n\s*", " ", text).strip().replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga")
    return re.sub(r"^(?=[.'])", r"\\&", text)
