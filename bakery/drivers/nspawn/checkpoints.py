"""Saving a running container's layer: frozen for as long as the copy takes."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from bakery.drivers.nspawn.layers import Saver, plant
from bakery.errors import NotYet
from bakery.util.waiting import Cancel, until

LAYER = "layer"
"""The layer's name in a checkpoint's folder."""
NAMES = "names.json"
"""In a checkpoint's folder: the files that have several names."""
EARLIER = "earlier.json"
"""In the container's folder: the layer that was saved last, and when that was begun."""


def save(container: Path, leader: int, below: Path | None, folder: Path, cancel: Cancel) -> None:
    """Save what the container has changed since its base.

    Files that have not changed since the last save from this container are linked to that one, not copied.

    Args:
        container: the container's folder.
        leader: its process 1.
        below: the saved layer that it was restored from.
        folder: the checkpoint's folder; it exists, is empty, and keeps its name.
        cancel: ends the wait for the freeze.

    Raises:
        OSError: the disk is full.
    """
    layer, note = folder / LAYER, container / EARLIER
    known = json.loads(note.read_text()) if note.exists() else {}
    earlier = Path(known["layer"]) if known else None
    with frozen(leader, cancel):
        begun = time.time_ns()
        since = known.get("since", 0)
        if since > begun:  # the clock was set back: dates of changes tell nothing
            since = 0
        names = Saver(below=below, earlier=earlier, since=since).save(container / "upper", layer)
    (folder / NAMES).write_text(json.dumps(names))
    note.write_text(json.dumps({"layer": str(layer), "since": begun}))


def plant_names(folder: Path, upper: Path) -> None:
    """Prepare the empty layer of a machine that is restored from a checkpoint; see `layers.plant`."""
    plant(folder / LAYER, json.loads((folder / NAMES).read_text()), upper)


@contextmanager
def frozen(leader: int, cancel: Cancel) -> Generator[None]:
    """Stop all processes of a container while the block runs; do nothing where it has no control group of its own."""
    group = _payload(leader)
    if group is None or not (group / "cgroup.freeze").exists():
        yield
        return
    try:
        (group / "cgroup.freeze").write_text("1")
        until(
            lambda: _require_frozen(group),
            what="freezing the container",
            timeout=30,
            cancel=cancel,
            every=(0.001, 0.05),
        )
        yield
    finally:
        (group / "cgroup.freeze").write_text("0")


def _require_frozen(group: Path) -> None:
    if "frozen 1" not in (group / "cgroup.events").read_text():
        raise NotYet("a process in the container is busy in the kernel")


def _payload(leader: int) -> Path | None:
    """Return the unified control group above systemd's own `init.scope`: all of the container is in it."""
    groups = dict(line.split(":", 2)[1:] for line in Path(f"/proc/{leader}/cgroup").read_text().splitlines())
    path = Path(groups.get("", "/"))
    if path.name != "init.scope":
        return None
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if line.partition(" - ")[2].startswith("cgroup2 "):
            return Path(line.split(" ")[4]) / path.parent.relative_to("/")
    return None
