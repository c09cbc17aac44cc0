"""`bake worker`."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bakery.cli import output
from bakery.cli.options import BakeCommand, Size, certificates
from bakery.cli.project import CERTIFICATES, Project

if TYPE_CHECKING:
    from bakery.build.cluster.offers import Offer


@click.command(
    cls=BakeCommand,
    epilog="""Examples:
    bake worker --scheduler tcp://127.0.0.1:8786
    bake worker --scheduler tls://scheduler:8786 --tls-ca-file ca.pem --tls-cert worker.pem --tls-key worker.key
    bake worker --scheduler tls://scheduler:8786 --label kvm:2 --label arm64 --memory 48G --slots 4""",
)
@click.option("--scheduler", required=True, metavar="ADDRESS", help="The scheduler's address: tls://HOST:8786.")
@certificates
@click.option("--slots", type=click.IntRange(min=1), metavar="N", help="Builds at once; a processor each if not given.")
@click.option("--memory", type=Size(), metavar="SIZE", help="Memory for machines; all but 512 MiB if not given.")
@click.option("--cpus", type=click.IntRange(min=1), metavar="N", help="Processors for machines; twice what there is.")
@click.option("--label", "labels", multiple=True, metavar="LABEL:N", help="What this host has of a label: kvm:2.")
@click.option("--driver", "drivers", multiple=True, metavar="D", help="Only these drivers; all that load if not given.")
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    metavar="VARIABLE",
    help="An environment variable of this worker that builds may have as a secret.",
)
@click.option("--name", metavar="NAME", help="What it is called; the host's name and its process if not given.")
@click.option("--host", metavar="ADDRESS", help="Listen on this address only.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="Listen on this port; any if not given."
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where it has its things; below the cache if not given.",
)
@click.pass_obj
def worker(project: Project, /, **given: Any) -> None:
    """Take builds of a cluster on this host, until a signal ends it.

    What it makes for a client that goes away is destroyed, also what an earlier worker in the same folder left.
    """
    from bakery.build.cluster.security import Certificates, check_address, is_encrypted, is_loopback
    from bakery.build.cluster.worker import WorkerOptions, serve
    from bakery.cache.shared.place import VARIABLE, checked
    from bakery.state.project import cache_folder

    scheduler = check_address(given["scheduler"], "--scheduler")
    if store := project.environ.get(VARIABLE, "").strip():
        checked(store)  # now, and not at the first build
    offer = _offer(project, given)
    if not is_encrypted(scheduler) and not is_loopback(scheduler):
        output.note(
            f"warning: whoever reaches {scheduler}, or a worker of it, can run programs here as this user; use tls://",
            project,
        )
    cache = cache_folder(project.environ)
    certs = {name: project.path(given[f"tls_{word}"]) for name, word in CERTIFICATES.items()}
    options = WorkerOptions(
        scheduler=scheduler,
        certificates=Certificates(**certs),
        folder=project.path(given["folder"]) or cache / "worker",
        cache=cache,
        offer=offer,
        name=given["name"] or f"{os.uname().nodename}-{os.getpid()}",
        host=given["host"],
        port=given["port"],
    )
    serve(options, lambda text: output.note(text, project))


def _offer(project: Project, given: dict[str, Any]) -> Offer:
    """Return what this host has, and what of it is offered."""
    from bakery.build import capacity
    from bakery.build.cluster.offers import Offer
    from bakery.drivers.qemu.acceleration import absent
    from bakery.errors import UsageError
    from bakery.imagefile.labels import counts

    try:
        labels = counts(given["labels"])
    except ValueError as error:
        raise UsageError(f"--label: {error}") from error
    for variable in given["secrets"]:
        if variable not in project.environ:
            raise UsageError(f"--secret {variable}: there is no such variable in this environment")
    memory: int | None = given["memory"]
    return Offer(
        slots=given["slots"] or capacity.cpus(),
        memory=max(0, capacity.memory() - capacity.RESERVE) if memory is None else memory,
        cpus=given["cpus"] or max(2, 2 * capacity.cpus()),
        labels=labels,
        drivers=_usable(project, given["drivers"]),
        arch=platform.machine(),
        secrets=given["secrets"],
        accel="tcg" if absent("kvm") else "kvm",
    )


def _usable(project: Project, named: tuple[str, ...]) -> tuple[str, ...]:
    """Return the drivers that work here, at first sight; those that were named whatever that says."""
    from bakery.build.cluster.offers import is_usable

    project.drivers.check(named)
    return named or tuple(name for name in project.drivers.names() if is_usable(name))
