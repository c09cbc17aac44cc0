"""`bake cluster`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bakery.cli import output
from bakery.cli.options import BakeCommand, as_json, cluster_options
from bakery.cli.project import Project
from bakery.errors import UsageError
from bakery.util.units import counted, format_size

if TYPE_CHECKING:
    from bakery.build.cluster.overview import Overview, WorkerOverview


@click.command(
    cls=BakeCommand,
    epilog="""Examples:
    bake cluster --on tcp://127.0.0.1:8786
    bake cluster --json                     with BAKERY_CLUSTER in the environment""",
)
@cluster_options
@as_json
@click.pass_obj
def cluster(
    project: Project,
    /,
    *,
    on: str | None,
    tls_ca_file: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    as_json: bool,
) -> None:
    """Show a cluster's workers, what each builds, and what waits for a worker."""
    from bakery.build.cluster.overview import overview

    given: dict[str, Any] = {"on": on, "tls_ca_file": tls_ca_file, "tls_cert": tls_cert, "tls_key": tls_key}
    chosen = project.cluster(given)
    if chosen is None:
        raise UsageError("which cluster?", hint="--on tls://HOST:8786 names one, or BAKERY_CLUSTER in the environment")
    try:
        seen = overview(chosen.connection)
    finally:
        chosen.connection.close()
    if as_json or project.json:
        output.out_json(seen.to_json(), project)
    else:
        _show(seen, project)


def _show(seen: Overview, project: Project) -> None:
    if not seen.workers:
        output.note("no worker makes images here: `bake worker --scheduler ADDRESS` starts one", project)
    for worker in seen.workers:
        output.out(_line(worker), project)
        for build in worker.builds:
            output.out(f"    {build['build']} of {build['run']}", project)
    for key in seen.waiting:
        output.out(f"waits: {key}", project)


def _line(worker: WorkerOverview) -> str:
    labels = ", ".join(f"{name}:{count}" for name, count in sorted(worker.labels.items()))
    arch = " with ".join(filter(None, (worker.arch, worker.accel)))
    parts = [f"{worker.name} on {worker.host}", arch, f"{len(worker.builds)} of {worker.slots} slots"]
    parts += [f"{format_size(worker.memory)} of memory", f"{worker.cpus} processors", labels, " ".join(worker.drivers)]
    parts += [counted(len(worker.bases), "base")] if worker.bases else []
    parts += [] if worker.answers else ["does not answer"]
    return "; ".join(filter(None, parts))
