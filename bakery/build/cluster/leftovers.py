"""What a lost try has left at a provider: destroyed from the client's journal, once nothing can make more of it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from bakery.build.cluster.cluster_run import ClusterRun
from bakery.build.cluster.tries import Try, is_of_its_host
from bakery.build.context import RunContext
from bakery.events import Notice, Waiting
from bakery.state.destroy import destroy_all

MARGIN: Final = 5.0
"""Seconds added to a lease before what it covered counts as ended: a late answer, a clock that runs slowly."""


def destroy_leftovers(cluster: ClusterRun, run: RunContext, tries: Iterable[Try], granted: Try | None) -> None:
    """Destroy what tries of a build left at a provider whose hosts did not say that it is gone.

    Args:
        cluster: where they were.
        run: the run, whose journal knows of it.
        tries: all of one build.
        granted: the one that was allowed to keep its image; what it kept and nobody took goes too.
    """
    for one in tries:
        left = [resource for resource in one.left(kept=one is granted) if not is_of_its_host(resource)]
        if not left or cluster.followers is None:
            continue
        if one.done is None:
            cluster.followers.give_up(one.number)
            until = cluster.followers.sent.get(one.number, 0.0) + cluster.lease + MARGIN
            run.emit(Waiting(build=left[0].build, what=f"the end of the lease of {one.place}"))
            time.sleep(max(0.0, until - time.monotonic()))
        for error in destroy_all(left, driver=run.drivers.get, journal=run.journal, cancel=run.cancel):
            run.emit(Notice(build=left[0].build, level="warning", message=str(error)))
