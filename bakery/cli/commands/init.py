"""`bake init`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from bakery.cli import output
from bakery.cli.options import BakeCommand
from bakery.cli.project import Project
from bakery.errors import UsageError, near
from bakery.imagefile.loader import FILE

IGNORED = ".bakery/"

TEXT = '''"""Our images. `bake list` shows what is in this file, `bake` builds it."""

import bakery
from bakery import Host, Machine
from bakery.drivers import Debian, Qemu


@bakery.source
def laptop() -> Qemu:
    """A virtual machine on this computer."""
    return Qemu(base=Debian("bookworm"))


@bakery.task
def nginx(m: Machine) -> None:
    """Install nginx."""
    m.run("apt-get update && apt-get install --yes nginx", env={"DEBIAN_FRONTEND": "noninteractive"})


@bakery.test
def nginx_runs(host: Host) -> None:
    """nginx starts at boot. Runs on a fresh machine, booted from the finished image."""
    assert host.service("nginx").is_running
    assert host.socket("tcp://0.0.0.0:80").is_listening
'''


@click.command(
    cls=BakeCommand,
    epilog="""Examples:
    bake init && bake
    bake -C images init""",
)
@click.pass_obj
def init(project: Project) -> None:
    """Write a first imagefile here; never over one that exists."""
    file = project.folder / (project.file or FILE)
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(TEXT)
    except FileExistsError as error:
        raise UsageError(f"{near(str(file))} exists already", hint="`bake list` shows what is in it") from error
    except OSError as error:
        raise UsageError(f"cannot write {file}", why=error.strerror or str(error)) from error
    _ignore(file.parent)
    output.record(near(str(file)), {"did": "written", "file": str(file)}, project)
    output.note("next: `bake doctor` looks at this host, `bake` builds the image", project)


def _ignore(folder: Path) -> None:
    """Keep `.bakery/` out of git, where the folder is part of a repository."""
    if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return
    path = folder / ".gitignore"
    known = path.read_text(encoding="utf-8") if path.exists() else ""
    if IGNORED.rstrip("/") in {line.strip().rstrip("/") for line in known.splitlines()}:
        return
    newline = "" if not known or known.endswith(os.linesep) else "\n"
    path.write_text(f"{known}{newline}{IGNORED}\n", encoding="utf-8")
