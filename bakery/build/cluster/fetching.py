"""Bringing a build's image here, and what else it leaves: package list, records for the cache, traces of a failure."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from bakery.build.cluster.sending import Transfers
from bakery.build.cluster.tries import Try
from bakery.build.context import RunContext
from bakery.build.job import Job
from bakery.build.kept_images import write_down
from bakery.build.versions import link_current
from bakery.cache import steps
from bakery.cache.inputs.external import LocalInput, OnDisk
from bakery.cache.records import Record
from bakery.errors import BakeryError
from bakery.events import Notice
from bakery.model import Artifact, to_json

TRACE: Final = 4 << 20
"""Bytes of the largest file that is fetched to explain a failure."""


def fetch_image(one: Try, run: RunContext, transfers: Transfers) -> Artifact:
    """Bring an image here; one at a provider is there already.

    Raises:
        DriverError: it does not come whole.
    """
    assert one.artifact is not None  # noqa: S101  the caller has looked
    there = one.artifact
    artifact = Artifact.from_json(json.loads(one.here(json.dumps(to_json(there)), run)))
    for file in _files(one):
        first, _, rest = str(file["path"]).partition("/")
        to = {"images": run.state.images_folder, "packages": run.state.folder / "packages"}.get(first)
        if to is None or Path(rest).name.startswith("."):
            continue
        known = there.sha256 if there.id == f"{one.state}/{file['path']}" else ""
        transfers.fetch(
            one.worker.address, one.number, str(file["path"]), to / rest, sha256=known, size=int(file["size"])
        )
    if artifact.id.startswith("/") and "mtime" in artifact.data:
        mtime = int(artifact.data["mtime"])
        os.utime(artifact.path, ns=(mtime, mtime))
    return artifact


def write_into_catalogue(one: Try, run: RunContext, artifact: Artifact) -> None:
    """Make an image the user's: from here on it counts.

    Raises:
        PostError: it cannot be written into the catalogue.
    """
    write_down(run, artifact, f"artifact-{one.number}.json")
    if problem := link_current(artifact):
        run.emit(Notice(build=artifact.build, level="warning", message=problem))


def fetch_traces(one: Try, run: RunContext, transfers: Transfers) -> None:
    """Bring what explains a failure here: consoles, logs. A file less is no failure of its own."""
    prefix = f"runs/{run.folder.id}/"
    for file in _files(one):
        name = str(file["path"])
        to = run.folder.path / name.removeprefix(prefix)
        if not name.startswith(prefix) or int(file["size"]) > TRACE or to.exists():
            continue
        try:
            transfers.fetch(one.worker.address, one.number, name, to, size=int(file["size"]))
        except (BakeryError, OSError):
            continue


def _files(one: Try) -> list[Mapping[str, Any]]:
    """Return what a build left, by paths below the project's state: `images//etc/x` would be `/etc/x` to pathlib."""
    done = one.done or {}
    files = [{**file, "path": Path(str(file["path"])).as_posix()} for file in done.get("files", ())]
    return [file for file in files if ".." not in Path(file["path"]).parts]


def remember(run: RunContext, job: Job, message: Mapping[str, Any]) -> None:
    """Take in what the steps depended on, so that the next `bake` knows here that nothing has changed."""
    for data in message["records"]:
        steps.remember(run.state.cache, job.folder, job.name, Record.from_json(data))
    for kind, name in message["inputs"]:
        run.inputs.add(LocalInput(cast("OnDisk", kind), job.folder / name))
