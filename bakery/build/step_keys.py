"""Which steps of a build are still what they were: the chain of step keys, from the base to the image."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bakery.build.context import BuildOptions
from bakery.build.job import Job
from bakery.cache.steps import NEVER_RAN, Hit, Miss, Steps, artifact_key, first_parent
from bakery.disk.bases.base import Base
from bakery.imagefile.builds import Build, Step
from bakery.machine.build_names import FIXED, BuildNames
from bakery.model import Artifact, Json, to_json
from bakery.state.project import State
from bakery.util.context import WorkContext


@dataclass
class StepKeys:
    """The step keys of one build, as far as they are known.

    Args:
        steps: finds and records them.
        parent: the key of what the first step stands on; None when the base is not made yet.
        outcomes: for each step from the first, whether it need not run; ends with the first that must.
        why: the reason for the first one that must run, where the base itself is the reason.
    """

    steps: Steps
    parent: str | None
    outcomes: list[tuple[Step, Hit | Miss]] = field(default_factory=list[tuple[Step, "Hit | Miss"]])
    why: tuple[str, ...] = ()

    @property
    def hits(self) -> list[Hit]:
        """The steps that need not run, from the first."""
        return [outcome for _, outcome in self.outcomes if isinstance(outcome, Hit)]

    @property
    def keys(self) -> list[str]:
        """The key that the first step stands on, and those after each step that need not run; none without a base."""
        return [] if self.parent is None else [self.parent, *(hit.key for hit in self.hits)]

    @property
    def last(self) -> str | None:
        """The key after the last step that is known."""
        hits = self.hits
        return hits[-1].key if hits else self.parent

    def reasons(self, index: int) -> tuple[str, ...]:
        """Say why the step at that place must run; nothing when it need not."""
        if index < len(self.outcomes):
            outcome = self.outcomes[index][1]
            return outcome.reasons if isinstance(outcome, Miss) else ()
        misses = [outcome for _, outcome in self.outcomes if isinstance(outcome, Miss)]
        if self.outcomes and all(miss.reasons == (NEVER_RAN,) for miss in misses):
            return (NEVER_RAN,)  # as for the step before it
        return self.why or ("a step before it runs",)


def settings_of(build: Build) -> dict[str, Json]:
    """Return the source's settings, without its base, which has a key of its own."""
    shown = to_json(build.boot)
    return {name: value for name, value in shown.items() if name != "base"} if isinstance(shown, dict) else {}


def base_key(base: Any, work: WorkContext) -> str | None:
    """Return the content key of a base if it is known without making or asking anything."""
    if base is None or isinstance(base, str):
        return str(base)  # nothing, or an image that a provider knows by an id of its own
    if isinstance(base, Artifact):
        return base.key or base.sha256 or base.id
    return base.key(work) if isinstance(base, Base) else None


def first_key(job: Job, parent: str) -> str:
    """Return the key that a build's first step stands on: of its base, and of the machine's settings."""
    return first_parent(parent, driver=job.build.driver, **settings_of(job.build))


def look_up_steps(
    job: Job,
    parent: str | None,
    *,
    options: BuildOptions,
    state: State,
    notes: Sequence[str] = (),
) -> StepKeys:
    """Look up the steps of a build, up to the first that must run.

    Args:
        job: the build.
        parent: the base's content key.
        options: `cache`, `refresh`.
        state: where the cache is.
        notes: what other hosts wrote beside the checkpoints that a provider holds.
    """
    steps = Steps(state.cache, job.folder, build=job.name, environ=_environ(job.build))
    for note in notes:
        steps.learn(note)
    if parent is None:
        return StepKeys(steps=steps, parent=None, why=("the base is not made yet",))
    key = first_key(job, parent)
    keys = StepKeys(steps=steps, parent=key)
    for task in job.tasks:
        refused = _refused(task.step, options)
        outcome = refused or steps.find(keys.last or key, task.function, task.options, job.variables)
        keys.outcomes.append((task.step, outcome))
        if isinstance(outcome, Miss):
            break
    return keys


def _environ(build: Build) -> Mapping[str, str]:
    """Return the environment that steps see: this process's, and what scripts are told of their build."""
    fixed = BuildNames(image=build.image, source=build.source).environ()
    return {**os.environ, **{name: fixed[name] for name in FIXED}}


def _refused(step: Step, options: BuildOptions) -> Miss | None:
    """Say why a step runs whatever the cache holds."""
    if not options.cache:
        return Miss(("--no-cache",))
    if step.name in options.refresh or "*" in options.refresh:
        return Miss(("--refresh",))
    return None


def image_key(job: Job, last: str) -> str:
    """Return the key of the image that follows from a last step."""
    from bakery.machine.seal import Seal

    seal = job.options.seal or Seal()
    return artifact_key(last, to_json(seal), {"image": job.build.image, **settings_of(job.build)})
