"""Why steps would run or not, without running any: for `bake plan --explain` and `bake why`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bakery.build.context import BuildOptions
from bakery.build.job import Job, Jobs
from bakery.build.node_images import node_keys
from bakery.build.step_keys import base_key, look_up_steps
from bakery.build.verdict_key import holds, tests_key
from bakery.imagefile.builds import Build, ImageRef, Step
from bakery.smoke.job import builtin
from bakery.state.project import State
from bakery.state.versions import newest_meant
from bakery.util.context import WorkContext


@dataclass(frozen=True)
class Explained:
    """What would happen to one step.

    Args:
        step: the step.
        reasons: why it would run; empty when it is cached.
    """

    step: Step
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        """Write it as `cached`, or as `runs: files/site.conf changed`."""
        return f"runs: {'; '.join(self.reasons)}" if self.reasons else "cached"


def explain(jobs: Jobs, options: BuildOptions, state: State) -> Iterator[tuple[Build, list[Explained]]]:
    """Look up every step of every build. Makes nothing, asks no provider.

    Args:
        jobs: the builds.
        options: `cache` and `refresh` count.
        state: where the cache is.
    """
    anew: set[str] = set()
    for build in jobs.plan.builds:  # those that others stand on come first
        steps = _steps(jobs[build.name], options, state, anew)
        if _is_made_anew(build, steps, anew):
            anew.add(build.name)
        yield build, steps


def why_tested(job: Job, steps: Sequence[Explained], state: State) -> str:
    """Say why an image would be tested although no step runs; empty where its verdict holds, or where a step runs.

    Args:
        job: its build.
        steps: what was found of its steps.
        state: where images and the cache are.
    """
    kept = [image for image in state.images() if image.build == job.name]
    if any(step.reasons for step in steps) or not (job.tests or job.build.suites or builtin(job.options.builtin_tests)):
        return ""
    if not kept:
        return "no image of it is kept"
    image = newest_meant(kept)
    if image.verdict != "passed":
        return "its tests failed" if image.verdict == "failed" else "it was never tested"
    key = tests_key(job, state.cache)
    if key is None or image.data.get("tests") != key:
        return "a test or what it uses has changed"
    if image.data.get("nodes", {}) != node_keys(job.build, state):
        return "an image that it is tested beside has changed"
    return "" if holds(image.data, job, state.cache) else "what its tests have read has changed"


def _is_made_anew(build: Build, steps: list[Explained], anew: set[str]) -> bool:
    return any(step.reasons for step in steps) or any(name in anew for name in build.after)


def _steps(job: Job, options: BuildOptions, state: State, anew: set[str]) -> list[Explained]:
    base = job.build.boot.base
    if isinstance(base, ImageRef) and base.build in anew:
        first = (f"{base.build}, on which it stands, is made anew",)
        rest = ("a step before it runs",)
        return [Explained(step, rest if number else first) for number, step in enumerate(job.build.steps)]
    if isinstance(base, ImageRef):
        parent = _newest(base.build, state)
    else:
        parent = base_key(base, WorkContext(cache=state.cache, build=job.name))
    keys = look_up_steps(job, parent, options=options, state=state)
    return [Explained(step, keys.reasons(number)) for number, step in enumerate(job.build.steps)]


def _newest(build: str, state: State) -> str | None:
    """Return the key of the image that another build made last."""
    images = [image for image in state.images() if image.build == build]
    return base_key(newest_meant(images), WorkContext(cache=state.cache)) if images else None
