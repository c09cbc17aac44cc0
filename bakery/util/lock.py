"""One lock a file: what several processes would make at once is made once."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from bakery.errors import NotYet, PreflightError
from bakery.util.context import WorkContext
from bakery.util.waiting import until

PATIENCE = 6 * 3600.0


@contextmanager
def hold(path: Path, *, what: str, work: WorkContext, timeout: float = PATIENCE) -> Generator[None]:
    """Hold the lock file `path` while the block runs; it ends by itself when this process dies.

    The file's date says when it was last held, for `bake cache prune`.

    Args:
        path: made when it is not there; its folder too.
        what: what the other holder is doing, for the user who waits: "another bake is downloading debian.qcow2".
        work: says that we wait, and can end the wait.
        timeout: seconds.

    Raises:
        PreflightError: the other holder is not done in time.
        Interrupted: when cancelled.
    """
    from filelock import FileLock, Timeout  # slow to import, and `bake list` locks nothing

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, fallback_to_soft=False)

    def probe() -> None:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise NotYet(what) from None

    until(
        probe, what=f"the lock {path}", timeout=timeout, cancel=work.cancel, notify=work.waiting, error=PreflightError
    )
    try:
        os.utime(path)
        yield
    finally:
        lock.release()
