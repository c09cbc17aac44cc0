"""The hygiene gate of a build: the captured image is looked into, offline, before it may be kept."""

from __future__ import annotations

import time
from collections.abc import Generator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace

from bakery.build.scope import Scope
from bakery.disk import foreign_formats
from bakery.disk.image_files import disks_of
from bakery.disk.inspect import Finding, Hygiene, inspect_disks
from bakery.errors import Interrupted, SmokeError
from bakery.events import Notice, TestEnded
from bakery.model import Artifact
from bakery.reporting.run_state import INSPECTION
from bakery.util.units import counted
from bakery.util.waiting import Cancel

FORMATS = frozenset({"qcow2", "raw", *foreign_formats.QEMU_NAMES})
NAME = INSPECTION


def inspect_image(scope: Scope, artifact: Artifact) -> None:
    """Look into a local disk image for keys, identities, leftovers and every secret of the build.

    An image that lives at a provider cannot be read from here; its smoke tests look for the same from inside.

    Raises:
        SmokeError: something was found, listed file by file.
    """
    run = scope.run
    options = scope.job.options.hygiene
    if artifact.format not in FORMATS or options is False or scope.build.publishes:
        return  # what is published was looked into when it was made
    hygiene = options if isinstance(options, Hygiene) else Hygiene()
    hygiene = replace(hygiene, folder=hygiene.folder or scope.run.folder.path)  # on the disk that has room for overlays
    with scope.phase("inspect"):
        started = time.monotonic()
        work = run.work(scope.build.name)
        with foreign_formats.readable(artifact.path, artifact.format, run.folder.path, work) as first:
            disks = [*first, *((path, artifact.format) for path in disks_of(artifact).values())]
            findings = inspect_disks(disks, run.redactor.patterns(), hygiene, work)
        _report(scope, findings, time.monotonic() - started)
        fatal = [finding for finding in findings if finding.fatal]
        if fatal:
            raise SmokeError(
                f"the image holds what no image may hold, in {counted(len(fatal), 'place')}",
                why="\n".join(f"{finding.path}: {finding.detail}" for finding in fatal),
                hint="remove them in a task, or allow a path: @bakery.image(hygiene=Hygiene(allow=(PATH,)))",
            )


@contextmanager
def ended_by(inspection: Future[None], cancel: Cancel) -> Generator[None]:
    """End what is done in the block as soon as an inspection that goes on beside it has failed.

    Args:
        inspection: its future.
        cancel: the run's token; all waits of the block look at it.

    Raises:
        SmokeError: what the inspection raised.
    """

    def look() -> str:
        return "the inspection failed" if inspection.done() and inspection.exception() else ""

    try:
        with cancel.watching(look):
            yield
    except Interrupted:
        if not cancel.reason and look():
            inspection.result()
        raise


def _report(scope: Scope, findings: tuple[Finding, ...], seconds: float) -> None:
    fatal = [finding for finding in findings if finding.fatal]
    for finding in fatal:
        name = f"{NAME}[{finding.kind} {finding.path}]"
        scope.emit(TestEnded(test=name, outcome="failed", seconds=seconds, text=f"{finding.path}: {finding.detail}"))
    for finding in findings:
        if not finding.fatal:
            scope.emit(Notice(message=f"{finding.kind}: {finding.path}: {finding.detail}"))
    if not fatal:
        scope.emit(TestEnded(test=NAME, outcome="passed", seconds=seconds))
