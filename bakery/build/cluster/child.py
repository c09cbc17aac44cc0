"""The process on a worker that makes one image: as `bake` does, but that its events and its questions go elsewhere."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Generator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

from bakery.build.bake import bake
from bakery.build.cluster.assignment import Assignment, packed_error, unpacked_options
from bakery.build.cluster.messages import AskedNaming, EventSender, SentPrints, WorkerLine
from bakery.build.context import RunContext
from bakery.build.image_options import check_image_options
from bakery.build.job import Job, Jobs
from bakery.build.preflight import check_builds
from bakery.drivers.ec2.api.host_poller import VARIABLE as POLLS
from bakery.drivers.registry import Registry
from bakery.errors import BakeryError, PreflightError
from bakery.imagefile import loader
from bakery.imagefile.builds import Plan
from bakery.imagefile.plan import Selection, plan
from bakery.imagefile.recipe import Recipe
from bakery.imagefile.user_code import out_of_imagefile, text_of
from bakery.imagefile.variables import PREFIX, Settings
from bakery.model import Artifact, Resource, to_json
from bakery.redaction.logs import guarded
from bakery.redaction.redactor import Redactor
from bakery.reporting.bus import Bus
from bakery.state.journal import Journal
from bakery.state.project import RunFolder, State
from bakery.util.host_errors import no_space, trouble
from bakery.util.process_attributes import begin
from bakery.util.waiting import Cancel


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where a build on a worker has its things.

    Args:
        project: the unpacked project.
        state: its own `.bakery`.
        cache: the host's cache.
        polls: where builds of this worker share what providers answer.
        values: the file with variables that were said outside the imagefile; empty where none were.
        base_file: the file of the image that it stands on; empty where there is none.
    """

    project: str
    state: str
    cache: str
    polls: str
    values: str = ""
    base_file: str = ""


@dataclass(frozen=True)
class ReadProject:
    """An imagefile that was read before, and its plan without the secrets that a client sends."""

    recipe: Recipe
    plan: Plan


@dataclass(frozen=True, kw_only=True)
class HeldBuild:
    """All that the process knows of its build."""

    assignment: Assignment
    places: Places
    attempt: str
    secrets: Mapping[str, str]
    line: WorkerLine
    redactor: Redactor
    cancel: Cancel
    read: ReadProject | None = None


def main(connection: Connection, text: str, places: Places, attempt: str, read: ReadProject | None = None) -> None:
    """Make one image. The first thing that comes through the pipe are the secrets.

    Args:
        connection: to the worker.
        text: the assignment.
        places: where things are.
        attempt: tells this try from others.
        read: the project, where it was read before.
    """
    begin()
    cancel = Cancel()
    _mind_signals(cancel)
    secrets = json.loads(connection.recv_bytes())
    redactor = Redactor()
    for name, value in secrets.items():
        redactor.add(value, name)
    made = HeldBuild(
        assignment=Assignment.from_json(json.loads(text)),
        places=places,
        attempt=attempt,
        secrets=secrets,
        line=WorkerLine(connection, cancel),
        redactor=redactor,
        cancel=cancel,
        read=read,
    )
    made.line.listen()
    os.chdir(places.project)
    os.environ[POLLS] = places.polls
    prints = SentPrints(made.line, redactor)
    with guarded(redactor), redirect_stdout(prints), redirect_stderr(prints):
        error = _baked(made)
        prints.finish()
    made.line.say("done", error=error)


def _mind_signals(cancel: Cancel) -> None:
    """Leave a Ctrl-C at the worker's terminal to the worker; a SIGTERM ends this build alone."""

    def term(_number: int, _frame: FrameType | None) -> None:
        cancel.set("interrupted by SIGTERM on its worker")

    signal.signal(signal.SIGINT, lambda _number, _frame: None)
    signal.signal(signal.SIGTERM, term)


def _baked(held: HeldBuild) -> dict[str, Any] | None:
    """Make the image; return what went wrong."""
    root = Path(held.places.project)
    try:
        with _run(held) as run:
            job = run.jobs[held.assignment.build]
            _learn(job, held.redactor)
            _check(run, job)
            artifact = bake(replace(job, post=()), run, _base(held.assignment, held.places))
            held.line.say("kept", artifact=to_json(artifact), **_taken_in(run, job, root))
    except BaseException as error:  # the last frame of this process: whatever it is, it is this build's
        raised = error if isinstance(error, BakeryError) else out_of_imagefile(error, root) or trouble(error)
        raised = raised or _defect(error, held.redactor)
        if no_space(Path(held.places.state)) and "full" not in raised.what:
            raised.hint = f"the disk of the worker on {os.uname().nodename} is full. {raised.hint}".strip()
        return packed_error(raised)
    return None


@contextmanager
def _run(held: HeldBuild) -> Generator[RunContext]:
    """Open the journal, and bind the builds to the imagefile."""
    assignment, line = held.assignment, held.line
    state = State(Path(held.places.state), Path(held.places.cache))
    state.prepare()
    folder = RunFolder(state.runs_folder / assignment.run)
    bus = Bus(assignment.run, held.redactor)
    bus.add(EventSender(line))

    def journaled(op: str, resource: Resource) -> None:
        line.say("journal", op=op, resource=to_json(resource))  # the client tells of it, and may write it down

    with Journal(folder.path, observe=journaled) as journal:
        try:
            yield RunContext(
                jobs=_jobs(held),
                options=unpacked_options(assignment.options),
                state=state,
                folder=folder,
                journal=journal,
                bus=bus,
                redactor=held.redactor,
                drivers=Registry(),
                cancel=held.cancel,
                naming=AskedNaming(line, assignment.image),
                attempt=held.attempt,
            )
        finally:
            bus.close()


def _jobs(held: HeldBuild) -> Jobs:
    """Read and plan what was not read before; secrets are known only now."""
    read, places = held.read, held.places
    recipe = read.recipe if read else loader.load(Path(places.project) / held.assignment.imagefile)
    check_image_options(recipe)
    environ = {**os.environ, **{f"{PREFIX}{name.upper()}": value for name, value in held.secrets.items()}}
    settings = Settings(files=(Path(places.values),) if places.values else (), environ=environ)
    made = read.plan if read and not held.secrets else plan(recipe, settings, Selection())
    return Jobs(made, recipe, settings)


def _learn(job: Job, redactor: Redactor) -> None:
    """Know the secrets before anything else can print them."""
    for error in job.missing_secrets.values():
        raise error
    for name, secret in job.secrets.items():
        redactor.add(secret, name)


def _check(run: RunContext, job: Job) -> None:
    try:
        check_builds(run, [job.build])
    except PreflightError as error:
        error.why = "\n".join(filter(None, (error.why, f"so says the worker on {os.uname().nodename}")))
        raise


def _base(assignment: Assignment, places: Places) -> Artifact | None:
    """Return the image that the build stands on, with its file where it is on this host."""
    if assignment.base is None:
        return None
    base = Artifact.from_json(assignment.base)
    if not places.base_file:
        return base
    mtime = Path(places.base_file).stat().st_mtime_ns
    return replace(base, id=places.base_file, data={**base.data, "mtime": mtime})


def _taken_in(run: RunContext, job: Job, root: Path) -> dict[str, Any]:
    """Return what the image depends on: for the client's cache, and for its dependency file."""
    inputs = [
        [item.kind, str(item.path.relative_to(root))] for item in sorted(run.inputs) if item.path.is_relative_to(root)
    ]
    return {"records": [record.to_json() for record in run.records.get(job.name, ())], "inputs": inputs}


def _defect(error: BaseException, redactor: Redactor) -> BakeryError:
    text = redactor("".join(traceback.format_exception(error)))
    sys.stderr.write(text)
    return BakeryError(
        f"bakery has a defect: {type(error).__name__}: {redactor(text_of(error))}",
        why=text,
        hint="please report it with this text",
    )
