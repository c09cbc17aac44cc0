"""Step keys: what a step's result depends on, found by running it once and looking again later.

Before a step runs, its parent's key, its code and its options are known: together they are its *pre-key*. What it reads
is known afterwards. So under each pre-key there are records of earlier runs, each with all that the run took in, and a
record whose inputs are still the same is a hit: `key = hash(pre-key, inputs)`. Compiler caches work the same way
(ccache's manifests).
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from bakery.cache.inputs.code import Code, Follower
from bakery.cache.inputs.digest import Keyed, of_json
from bakery.cache.inputs.external import Input, LocalInput, World
from bakery.cache.inputs.tracer import Tracer, changed
from bakery.cache.inputs.values import Unstable
from bakery.cache.portable_records import Noted, read
from bakery.cache.records import Record, Records
from bakery.cache.why import differences
from bakery.imagefile.task_options import TaskOptions
from bakery.model import Json
from bakery.util.durations import is_young, seconds

VERSION: Final = 1
PREFIX: Final = "s1-"
NEVER_RAN: Final = "never ran"


@dataclass(frozen=True)
class Hit:
    """The step need not run: an earlier run took in the same.

    Args:
        key: its key; a checkpoint of that name may be in the store.
        record: the earlier run.
        files: the local files and folders that it depends on.
    """

    key: str
    record: Record
    files: tuple[LocalInput, ...] = ()


@dataclass(frozen=True)
class Miss:
    """The step must run, and why, in whole sentences, the most telling first."""

    reasons: tuple[str, ...]

    @property
    def reason(self) -> str:
        """All of them in one line."""
        return "; ".join(self.reasons)


@dataclass(frozen=True)
class Made:
    """A step that ran.

    Args:
        key: its key. One of its own, never to be met again, where the result must not be reused.
        reusable: False then.
        reasons: why it must not.
        files: the local files and folders that it depends on.
        record: what is remembered of it; None then.
        last: the same, or why it must not be reused: what the next look at this step is compared with.
    """

    key: str
    reusable: bool = True
    reasons: tuple[str, ...] = ()
    files: tuple[LocalInput, ...] = ()
    record: Record | None = field(default=None, compare=False, repr=False)
    last: Record | None = field(default=None, compare=False, repr=False)


class Steps:
    """The step keys of one build.

    Args:
        cache: the shared cache folder.
        root: the imagefile's folder.
        build: the build's name; only used to tell what changed since the last run.
        environ: the environment that steps see.
    """

    def __init__(self, cache: Path, root: Path, *, build: str = "", environ: Mapping[str, str] | None = None) -> None:
        self._root, self._build = root, build
        self._cache = cache
        self._environ = os.environ if environ is None else environ
        self._records = Records(cache)
        self._keyed = Keyed.of(cache)
        self._follower = Follower(root, self._keyed)
        self._notes: dict[str, list[Noted]] = {}

    def read_again(self) -> None:
        """Forget the source files: one was edited, and what it holds was imported anew."""
        self._follower = Follower(self._root, self._keyed)

    def learn(self, text: str) -> None:
        """Take in what another host noted beside a checkpoint: steps found here may turn out to have run there."""
        for noted in read(text):
            self._notes.setdefault(noted.prekey, []).append(noted)

    def tracer(self, task: Callable[..., Any], v: object) -> Tracer:
        """Watch one run of one step: `with steps.tracer(task, v) as t: task(machine, t.variables(v))`.

        The `with` must be entered in the thread that runs the task.
        """
        return Tracer(self._root, ignore=(self._cache,), before=self.code(task, v))

    def code(self, task: Callable[..., Any], v: object) -> Code:
        """Follow a task's code."""
        return self._follower.follow(task, v)

    def find(self, parent: str, task: Callable[..., Any], options: TaskOptions, v: object) -> Hit | Miss:
        """Look for an earlier run that took in what this one would.

        Args:
            parent: the key of the step before, or `first_parent(...)`.
            task: the function.
            options: how it runs; `max_age` and `cache` are obeyed.
            v: the variables' object of this build, or None.
        """
        if not options.cache:
            return Miss(("cache=False",))
        code = self.code(task, v)
        if code.problems:
            return Miss(_uncacheable(code.problems))
        prekey, world = _prekey(parent, code, options), World(self._root, self._keyed, v, self._environ)
        most = seconds(options.max_age) if options.max_age else None
        too_old = ""
        self._adopt(prekey, parent, world)
        for record in self._records.under(prekey):
            now = tuple(_safe(world, item) for item in record.inputs)
            if [item.digest for item in now] != [item.digest for item in record.inputs]:
                continue
            if most is None or is_young(record.made, most):
                if now != record.inputs:  # same content, other dates: the next look is quicker
                    self._records.add(prekey, replace(record, inputs=now))
                return Hit(record.key, record, self._files(record.inputs))
            ahead = record.made > time.time()
            too_old = "the clock was set back since it ran" if ahead else f"older than {options.max_age}"
        if too_old:
            return Miss((too_old,))
        return Miss(tuple(self._why(parent, task, options, code, world)))

    def _adopt(self, prekey: str, parent: str, world: World) -> None:
        """Remember a run of another host, where its inputs are the same here: then so is its key."""
        for noted in self._notes.pop(prekey, ()):
            inputs = tuple(_safe(world, Input(kind, name, "")) for kind, name in noted.inputs)
            if _key(prekey, inputs) == noted.key:
                record = Record(key=noted.key, parent=parent, inputs=inputs, made=noted.made, prekey=prekey)
                self._records.add(prekey, record)

    def record(self, parent: str, task: Callable[..., Any], options: TaskOptions, tracer: Tracer, v: object) -> Made:
        """Keep what a step took in, after it ran without failing.

        Args:
            parent: as for `find`.
            task: as for `find`.
            options: as for `find`.
            tracer: what watched it.
            v: as for `find`; the object itself, not the tracer's.
        """
        code = tracer.before or self.code(task, v)
        world = World(self._root, self._keyed, v, self._environ)
        inputs, problems = self._inputs(tracer, world)
        moved = (f"{label} was changed while the step ran" for label in self.code(task, v).changed_since(code))
        left = (f"it leaves {world.name_of(path)} on this host" for path in tracer.left_behind())
        problems = (*code.problems, *tracer.problems, *problems, *moved, *left)
        files = self._files(inputs)
        if problems or not options.cache:
            key = f"{PREFIX}{secrets.token_hex(20)}"
            last = Record(key=key, parent=parent, problems=problems, task=_name(task))
            self._records.set_last(self._slot(task), last)
            return Made(key, reusable=False, reasons=problems, files=files, last=last)
        prekey = _prekey(parent, code, options)
        key = _key(prekey, inputs)
        record = Record(
            key=key,
            parent=parent,
            options=options.result,
            code=code.items,
            shown=code.shown,
            inputs=inputs,
            prekey=prekey,
            task=_name(task),
        )
        self._records.add(prekey, record)
        self._records.set_last(self._slot(task), record)
        return Made(key, files=files, record=record, last=record)

    def used(self, task: Callable[..., Any], hit: Hit) -> None:
        """Remember that a hit was used, so that the next change is told against it."""
        self._records.set_last(self._slot(task), hit.record)

    def _inputs(self, tracer: Tracer, world: World) -> tuple[tuple[Input, ...], tuple[str, ...]]:
        inputs, problems = [], []
        for (kind, name), seen in sorted(tracer.read.items(), key=lambda item: item[0]):
            if kind == "env" and ("environ", "") in tracer.read:
                continue  # they are all in there
            if kind not in ("file", "tree", "listing"):
                stored = name
            else:
                stored = world.name_of(Path(name))
                if kind == "file" and changed(name, seen):
                    problems.append(f"{stored} was changed while the step ran")
            try:
                inputs.append(world.now(kind, stored))
            except Unstable as error:
                problems.append(f"variable {name}: {error}")
        return tuple(inputs), tuple(problems)

    def _why(self, parent: str, task: Callable[..., Any], options: TaskOptions, code: Code, world: World) -> list[str]:
        last = self._records.last(self._slot(task))
        if last is None:
            return [NEVER_RAN]
        if last.problems:
            return [*_uncacheable(last.problems)]
        now = tuple(_safe(world, item) for item in last.inputs)
        new = Record(key="", parent=parent, options=options.result, code=code.items, shown=code.shown, inputs=now)
        return differences(last, new, step_prefix=PREFIX)

    def _files(self, inputs: tuple[Input, ...]) -> tuple[LocalInput, ...]:
        return tuple(
            LocalInput(item.kind, self._root / item.name)
            for item in inputs
            if item.kind == "file" or item.kind == "tree" or item.kind == "listing"  # noqa: PLR1714  narrows the type
        )

    def _slot(self, task: Callable[..., Any]) -> str:
        return slot(self._root, self._build, _name(task))


def remember(cache: Path, root: Path, build: str, record: Record) -> None:
    """Take in a run of a step on another host: it is found again, and what changes next is told against it.

    Args:
        cache: the shared cache folder.
        root: the imagefile's folder.
        build: the build's name.
        record: what the step took in there.
    """
    records = Records(cache)
    if record.prekey:
        records.add(record.prekey, record)
    if record.task:
        records.set_last(slot(root, build, record.task), record)


def slot(root: Path, build: str, task: str) -> str:
    """Return the name under which the last run of a step of a build is kept."""
    return f"{root}\n{build}\n{task}"


def _name(task: Callable[..., Any]) -> str:
    return getattr(task, "__qualname__", repr(type(task)))


def first_parent(base: str, **settings: Json) -> str:
    """Return the parent of the first step: the base's content key, and what else decides how the machine is set up.

    Args:
        base: `BaseDisk.key`, or the key of the image that it stands on.
        **settings: JSON data: the driver's name, and those of the source's settings that the system inside can see.
    """
    return f"base-{of_json([VERSION, base, dict(settings)])[:40]}"


def artifact_key(last_step: str, seal: Json, settings: Mapping[str, Json]) -> str:
    """Return the key of a finished image: its last step, how it is sealed, how it is captured (format, disk size)."""
    return f"i1-{of_json([VERSION, last_step, seal, dict(settings)])[:40]}"


def _prekey(parent: str, code: Code, options: TaskOptions) -> str:
    return of_json([VERSION, parent, code.digest, options.result])


def _key(prekey: str, inputs: tuple[Input, ...]) -> str:
    return PREFIX + of_json([prekey, [[item.kind, item.name, item.digest] for item in inputs]])[:40]


def _uncacheable(problems: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"it cannot be cached: {problem}" for problem in problems)


def _safe(world: World, known: Input) -> Input:
    try:
        return world.now(known.kind, known.name, known)
    except Unstable:
        return Input(known.kind, known.name, "unstable")
