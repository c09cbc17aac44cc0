"""`bake completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from bakery.cli.app import COMPLETING
from bakery.cli.options import BakeCommand
from bakery.cli.project import Project


@click.command(
    cls=BakeCommand,
    epilog="""Examples:
    source <(bake completion bash)                         # in ~/.bashrc
    source <(bake completion zsh)                          # in ~/.zshrc, after compinit
    bake completion fish > ~/.config/fish/completions/bake.fish""",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_obj
def completion(project: Project, /, *, shell: str) -> None:
    """Print what makes a shell complete commands, options, images, sources, variables and runs."""
    del project
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101  click brings all three
    click.echo(kind(click.Command("bake"), {}, "bake", COMPLETING).source())
