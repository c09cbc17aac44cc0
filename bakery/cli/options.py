"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from bakery.cli.completion import images as complete_images
from bakery.cli.completion import phases as complete_phases
from bakery.cli.completion import sources as complete_sources
from bakery.cli.completion import variables as complete_variables
from bakery.cli.project import Project
from bakery.util.units import parse_duration, parse_size

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

FILE: Final = click.Path()
"""A file to be written, as the user wrote it; `Project.check_destinations` looks at it."""
F = TypeVar("F", bound=Callable[..., Any])


class Duration(click.ParamType[float]):
    """`90`, `90s`, `15m`, `6h`, `7d`: seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class PhaseTime(click.ParamType[tuple[str, float]]):
    """`capture=10m`: a phase, and seconds."""

    name = "phase"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        """Return both."""
        phase, equals, text = str(value).partition("=")
        if not equals:
            self.fail(f"{value!r} is not PHASE=TIME; write capture=10m", param, ctx)
        return phase.strip(), Duration().convert(text, param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Offer the phases, with the equals sign."""
        return complete_phases(ctx, param, incomplete)


class Size(click.ParamType[int]):
    """`500M`, `20G`: bytes, in powers of 1024."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return bytes."""
        try:
            return parse_size(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Documented(click.Command):
    """Help that ends with examples, as they are written."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples; then a word on the options that are not listed."""
        del ctx
        formatter.write_paragraph()
        for line in (self.epilog or "").strip().splitlines():
            formatter.write(f"  {line.strip()}\n" if line.strip() else "\n")
        formatter.write("\nGlobal options (-f, -C, --format, --quiet, --verbose, --color): see bake --help.\n")


class BakeCommand(Documented):
    """A command that takes the global options as well, before or after its own name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        taken = {name for param in self.params for name in param.opts}
        for option in global_options(hidden=True):
            option.opts = [name for name in option.opts if name not in taken]  # `bake logs -f` follows
            self.params.append(option)


class OptionGroup(BakeCommand, click.Group):
    """The same, with commands of its own."""


def global_options(*, hidden: bool = False) -> list[click.Option]:
    """Return the options that every command takes; each notes itself in the project."""

    def note(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        if ctx.get_parameter_source(param.name) is click.core.ParameterSource.DEFAULT:
            return
        project = ctx.find_object(Project)
        if project is not None:
            setattr(project, param.name, value)

    shared: dict[str, Any] = {"expose_value": False, "callback": note, "hidden": hidden}
    return [
        click.Option(["-f", "--file"], metavar="FILE", help="Imagefile, in place of the one found.", **shared),
        click.Option(
            ["-C", "--directory"],
            metavar="DIR",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            help="Work as if started in this folder.",
            **shared,
        ),
        click.Option(
            ["--format", "format"],
            type=click.Choice(["text", "json"]),
            default="text",
            help="json: one object a line on standard output.",
            **shared,
        ),
        click.Option(["-q", "--quiet"], is_flag=True, help="Only warnings and failures.", **shared),
        click.Option(["--verbose"], is_flag=True, help="Also what commands write.", **shared),
        click.Option(
            ["--color", "color"],
            type=click.Choice(["auto", "always", "never"]),
            default="auto",
            help="Colours: when on a terminal, or as told.",
            **shared,
        ),
    ]


def variables(function: F) -> F:
    """`-v NAME=VALUE` and `--var-file FILE`."""
    function = click.option(
        "--var-file",
        "var_files",
        multiple=True,
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Read variables from a TOML, JSON or YAML file.",
    )(function)
    return click.option(
        "-v",
        "--var",
        "values",
        multiple=True,
        metavar="NAME=VALUE",
        callback=_pairs,
        help="Set a variable.",
        shell_complete=complete_variables,
    )(function)


def selection(function: F) -> F:
    """`IMAGE...`, `--only SRC`, `--except SRC`."""
    for flag, target, text in (
        ("--except", "exclude", "Not from these sources."),
        ("--only", "only", "Only from these sources; * and ? match."),
    ):
        function = click.option(flag, target, multiple=True, metavar="SRC", help=text, shell_complete=complete_sources)(
            function
        )
    return click.argument("images", nargs=-1, metavar="[IMAGE]...", shell_complete=complete_images)(function)


def certificates(function: F) -> F:
    """`--tls-ca-file`, `--tls-cert`, `--tls-key`, as Dask's own commands have them."""
    path = click.Path(path_type=Path)
    for flag, text in (
        ("--tls-key", "Key of that certificate, PEM."),
        ("--tls-cert", "Our certificate, PEM."),
        ("--tls-ca-file", "Whom to trust in the cluster, PEM."),
    ):
        function = click.option(flag, type=path, metavar="FILE", help=text)(function)
    return function


def cluster_options(function: F) -> F:
    """`--on ADDRESS`, and the certificates for it."""
    return click.option(
        "--on",
        "on",
        metavar="ADDRESS",
        help="The cluster whose workers do it: tls://HOST:8786.",
    )(certificates(function))


def as_json(function: F) -> F:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def _pairs(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", ctx, param)
        pairs[name.strip()] = value
    return pairs
