"""`bake gc --on`: what dead builds left on the workers, destroyed there by their journals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bakery.build.cluster.connection import Connection
from bakery.errors import CleanupError, DriverError
from bakery.model import Resource, from_json
from bakery.state.gc import Swept

LONGEST: Final = 600.0
"""Seconds that a worker may take to destroy what it finds."""


def sweep_workers(connection: Connection, run: str = "", *, dry_run: bool, notify: Callable[[str], None]) -> Swept:
    """Have each worker destroy what dead builds left on it.

    Args:
        connection: to the cluster.
        run: only of this run.
        dry_run: only say what would go.
        notify: told of workers that do not answer.

    Raises:
        DriverError: the scheduler does not answer.
    """
    swept = Swept()
    for worker in connection.workers():
        place = f"{worker.name} on {worker.host}"
        try:
            told = connection.call(worker.address, "bake_gc", run=run, dry_run=dry_run, patience=LONGEST)
        except DriverError as error:
            notify(f"{place} does not answer, and was left out: it cleans up when it starts again ({error.why})")
            continue
        swept.destroyed += [from_json(Resource, data) for data in told["destroyed"]]
        swept.alive += [name for name in dict.fromkeys(told["alive"]) if name not in swept.alive]
        swept.left += [CleanupError(f"something is left on {place}", why=text) for text in told["left"]]
    return swept
