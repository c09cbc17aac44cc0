"""The group of commands: each one's module is imported only when it is the one that runs."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

import click

from bakery.cli import output
from bakery.cli.options import global_options
from bakery.cli.project import Project
from bakery.cli.streams import Streams, guarded
from bakery.errors import BakeryError, Interrupted, PostError, UsageError
from bakery.imagefile.process_end import refuse_at_exit
from bakery.util.host_errors import trouble
from bakery.util.suggestions import nearest

COMMANDS: Final = {  # name: (module, one line of help), so that `bake --help` imports none of them
    "build": ("build", "Build, test and keep images; what `bake` alone does."),
    "list": ("list", "Show the images, sources, tasks, tests and variables of the imagefile."),
    "validate": ("validate", "Look for mistakes in the imagefile; make nothing, ask nobody."),
    "plan": ("plan", "Show what a build would do, and where each value came from."),
    "test": ("test", "Run the smoke tests against an image or a host that exists."),
    "mutate": ("mutate", "Break one thing after the other, and list what the tests do not notice."),
    "images": ("images", "Show what has been built here."),
    "rm": ("images", "Delete images that were built here."),
    "prune": ("images", "Delete all but the newest images of each name."),
    "rollback": ("images", "Make an older version of an image the current one."),
    "gc": ("gc", "Destroy what dead runs left behind."),
    "ssh": ("ssh", "Open a shell on a throw-away machine of an image, or on one that was kept."),
    "why": ("why", "Say which input makes a step run again."),
    "report": ("report", "Show how a run went, and why it failed."),
    "logs": ("logs", "Show what a run said, or is saying."),
    "screenshot": ("screen", "Write what a machine that runs shows on its screen."),
    "vnc": ("screen", "Show the screen of a machine that runs to a VNC viewer."),
    "cache": ("cache", "Show or shrink the cache of bases and steps."),
    "graph": ("graph", "Draw which image stands on which, for Mermaid or Graphviz."),
    "worker": ("worker", "Take builds of a cluster on this host."),
    "cluster": ("cluster", "Show a cluster's workers, and what they build."),
    "doctor": ("doctor", "Say what this host can do, and what is missing."),
    "init": ("init", "Write a first imagefile."),
    "man": ("man", "Print a manual page, or write them all."),
    "completion": ("completion", "Print what makes bash, zsh or fish complete `bake`."),
}
DEFAULT: Final = "build"
COMPLETING: Final = "_BAKE_COMPLETE"
"""In the environment of a `bake` that a shell asks what may follow; its name is click's."""
LEAVE: Final = frozenset({"-h", "--help", "--version"})


class Bake(click.Group):
    """Finds commands lazily, and takes `bake web` for `bake build web`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, in the order of the manual."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command's module."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"bakery.cli.commands.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("list", "list_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List them without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Offer commands, options, and what `bake build` would offer."""
        from click.shell_completion import CompletionItem

        names = [CompletionItem(name, help=line) for name, (_, line) in COMMANDS.items() if name.startswith(incomplete)]
        from bakery.cli.completion import images

        return [*names, *images(ctx, None, incomplete), *click.Command.shell_complete(self, ctx, incomplete)]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `build` before the first word that is neither a global option nor a command."""
        at = self._first_word(args)
        alone = at == len(args) and not ctx.resilient_parsing  # a shell that completes may still type a command
        if (alone or (at < len(args) and args[at] not in COMMANDS)) and not LEAVE & set(args[:at]):
            args = [*args[:at], DEFAULT, *args[at:]]
        return super().parse_args(ctx, args)

    def _first_word(self, args: list[str]) -> int:
        """Skip global options and their values."""
        options = {name: p for p in self.params if isinstance(p, click.Option) for name in p.opts}
        at = 0
        while at < len(args):
            name, joined, _ = args[at].partition("=")
            if name not in options and not name.startswith("--"):
                name, joined = name[:2], name[2:]  # -fFILE
            option = options.get(name)
            if option is None and name not in LEAVE:
                return at
            at += 1 if joined or option is None or option.is_flag else 2
        return min(at, len(args))


@click.group(
    cls=Bake,
    name="bake",
    no_args_is_help=False,
    params=[*global_options()],
    subcommand_metavar="[COMMAND] [IMAGE]...",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`bake` alone builds everything in the imagefile.py found here or in a folder above; `bake web` is `bake "
    "build web`. Results go to standard output, progress to standard error.",
)
@click.version_option(package_name="imagebakery", prog_name="bake")
@click.pass_context
def bake(ctx: click.Context) -> None:
    """Machine images as code: built, booted and smoke tested before anyone relies on them."""
    ctx.ensure_object(Project)


def run(args: Sequence[str] | None = None) -> int:
    """Run a command line; every way to end becomes an exit code and, where it failed, an explanation."""
    words = list(sys.argv[1:] if args is None else args)
    project = Project()
    with guarded() as streams:
        code = _code(words, project, streams)
        refuse_at_exit()
        streams.out.flush()
        if streams.lost is not None:
            told = output.error(_lost(streams.lost), project)
            code = code or told
    return code


def _lost(failure: BaseException) -> BakeryError:
    return PostError(
        "the results cannot be written to standard output",
        why=str(failure),
        hint="what was made is kept: `bake images` shows it",
    )


def _code(words: list[str], project: Project, streams: Streams) -> int:
    try:
        try:
            code = bake.main(words, prog_name="bake", standalone_mode=False, obj=project)
        finally:
            streams.install()
    except click.exceptions.Exit as done:
        code = done.exit_code
    except click.ClickException as error:
        code = output.usage(error, project)
    except (click.Abort, KeyboardInterrupt):
        code = output.error(Interrupted("interrupted"), project)
    except BakeryError as error:
        code = output.error(_meant(words, error), project)
    except SystemExit as end:
        if COMPLETING not in os.environ:
            return output.defect(end, project)
        code = end.code if isinstance(end.code, int) else 1  # click's way to end when a shell asked what may follow
    except BaseException as error:  # a defect of ours: say so, and keep the traceback for the report
        known = trouble(error)
        code = output.error(known, project) if known else output.defect(error, project)
    finally:
        project.close()
    return code if isinstance(code, int) else 0


def _meant(words: Sequence[str], error: BakeryError) -> BakeryError:
    """Suggest a command where an image is not found: the word may have been meant for one."""
    for word in words if isinstance(error, UsageError) and error.what.startswith("no image matches") else ():
        near = nearest(word, COMMANDS)
        if word not in COMMANDS and near and repr(word) in error.what:
            error.hint = f"did you mean the command `bake {near}`? ({error.hint})"
    return error
