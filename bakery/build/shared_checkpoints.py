"""Checkpoints that a build shares with other hosts: fetched where this one has none, sent while the build goes on."""

from __future__ import annotations

import threading
from functools import partial

from bakery.build.scope import Scope
from bakery.build.step_keys import first_key
from bakery.cache.shared.checkpoints import SharedCheckpoints
from bakery.errors import DriverError, Interrupted
from bakery.events import Notice
from bakery.model import Checkpoint


class CheckpointSharing:
    """What a build shares. Where the place does not answer, the build takes longer, and does not fail.

    Args:
        scope: the build's life.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._first = ""
        self._shared: SharedCheckpoints | None = None

    def begin(self, parent: str | None) -> tuple[str, ...]:
        """Look what is there, and return what other hosts noted of this build's steps.

        Args:
            parent: the base's content key.

        Raises:
            UsageError: the place's address is wrong.
        """
        run, job = self._scope.run, self._scope.job
        if parent is None or not run.options.cache or not job.tasks:
            return ()
        try:
            if run.shared_place is None:
                return ()
            self._first = first_key(job, parent)
            store = run.store(job.name)
            self._shared = SharedCheckpoints(run.shared_place, store, job.name, threading.Lock())
            return () if "*" in run.options.refresh else self._shared.notes(self._first)
        except DriverError as error:
            self._give_up(error)
            return ()

    def fetch(self, key: str) -> Checkpoint | None:
        """Return a checkpoint that another host made; None where there is none."""
        if self._shared is None:
            return None
        try:
            return self._shared.fetch(key, self._scope.lease)
        except DriverError as error:
            self._tell(error)
            return None

    def send(self, checkpoint: Checkpoint, note: str) -> None:
        """Send a checkpoint while the build goes on; the build's end waits for it."""
        if self._shared is not None and checkpoint.folder is not None and note:
            self._scope.in_background(partial(self._send, checkpoint.key, note))

    def _send(self, key: str, note: str) -> None:
        if self._shared is None:
            return
        try:
            self._shared.send(key, self._first, note)
        except DriverError as error:
            self._give_up(error)
        except Interrupted:
            return  # the build tells of that

    def _give_up(self, error: DriverError) -> None:
        self._shared = None
        self._tell(error)

    def _tell(self, error: DriverError) -> None:
        self._scope.emit(
            Notice(
                level="warning",
                message=f"{error.what}: {error.why}",
                hint="the build goes on without what other hosts have; it takes longer, perhaps",
            )
        )
