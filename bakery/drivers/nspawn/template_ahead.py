"""The base's disk, made while the first machine of the base is worked on: its capture then finds it in the cache."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

from bakery.disk.layout import Layout
from bakery.drivers.nspawn import base_template
from bakery.errors import BakeryError
from bakery.util.context import WorkContext


class TemplateAhead:
    """A thread that makes a base's disk, until its machine is gone.

    A failure is not told here: a capture that finds no disk makes it, and tells what is wrong.

    Args:
        tree: the base's files.
        layout: of the disk.
        work: where the cache is; what ends the build ends this, too.
    """

    def __init__(self, tree: Path, layout: Layout, work: WorkContext) -> None:
        self._gone = threading.Event()
        silent = WorkContext(cache=work.cache, cancel=work.cancel, build=work.build)
        self._thread = threading.Thread(
            target=self._make, args=(tree, layout, silent), name="bakery-base-disk", daemon=True
        )
        self._thread.start()

    def _make(self, tree: Path, layout: Layout, work: WorkContext) -> None:
        gone = work.cancel.watching(lambda: "the machine is gone" if self._gone.is_set() else "")
        with suppress(BakeryError, OSError), gone:
            base_template.prepare(tree, layout, work)

    def stop(self) -> None:
        """End it, with all programs that it runs; nothing happens when it is done."""
        self._gone.set()
        self._thread.join()


def begin(tree: Path, layout: Layout, folder: Path, work: WorkContext) -> TemplateAhead | None:
    """Begin to make a base's disk; None where it is there, or where a capture would have no use for it.

    Args:
        tree: the base's files.
        layout: of the disk.
        folder: where the image will be written.
        work: where the cache is.
    """
    if base_template.unusable((), folder) or base_template.place(tree, layout, work).folder.exists():
        return None
    return TemplateAhead(tree, layout, work)
