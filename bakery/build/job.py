"""A build, bound to the functions, variables and options that it runs with: once, and handed down from there."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from bakery.build.image_options import ImageOptions
from bakery.errors import ImagefileError, Location
from bakery.imagefile import loader
from bakery.imagefile.builds import Build, Plan, Step
from bakery.imagefile.marks import Function, location_of, name_of
from bakery.imagefile.recipe import Recipe
from bakery.imagefile.task_options import TaskOptions
from bakery.imagefile.variables import Cell, MissingSecret, Settings, own_copy, resolve
from bakery.redaction.secret import Secret


@dataclass(frozen=True, eq=False)
class BoundStep:
    """A test or a post step, with the function that it calls."""

    step: Step
    function: Function


@dataclass(frozen=True, eq=False)
class Task(BoundStep):
    """A task, with the function that it calls and how it runs."""

    options: TaskOptions

    @classmethod
    def of(cls, step: Step, functions: Sequence[Function]) -> Self:
        """Bind a task's step to its function.

        Raises:
            ImagefileError: the imagefile has none of that name any more.
        """
        return cls(step, function_of(functions, step), TaskOptions.of(step.options))


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """A build with all that it runs.

    Args:
        build: the plan's data.
        recipe: the imagefile that it is bound to.
        variables: the values that it was planned with. User code gets `own_variables`; None without any.
        options: the image's.
        tasks, tests, post: its functions, in order.
    """

    build: Build
    recipe: Recipe
    variables: Any
    options: ImageOptions
    tasks: tuple[Task, ...]
    tests: tuple[BoundStep, ...]
    post: tuple[BoundStep, ...]

    @classmethod
    def of(cls, build: Build, recipe: Recipe, variables: Any, done: tuple[Task, ...] = ()) -> Self:
        """Bind a build to an imagefile.

        Args:
            build: the plan's data.
            recipe: the imagefile.
            variables: the build's values.
            done: its first tasks, which have run: they stay as they were bound.

        Raises:
            ImagefileError: the imagefile has one of its functions no more.
        """
        image = recipe.image(build.spec)
        return cls(
            build=build,
            recipe=recipe,
            variables=variables,
            options=ImageOptions.of(image),
            tasks=(*done, *(Task.of(step, image.tasks) for step in build.steps[len(done) :])),
            tests=tuple(BoundStep(step, function_of(image.tests, step)) for step in build.tests),
            post=tuple(BoundStep(step, function_of(image.post, step)) for step in build.post),
        )

    @property
    def name(self) -> str:
        """The build's name."""
        return self.build.name

    @property
    def imagefile(self) -> Path:
        """The file that says all of this."""
        return self.recipe.file

    @property
    def folder(self) -> Path:
        """The imagefile's folder: what relative paths are relative to."""
        return self.recipe.folder

    @property
    def source_location(self) -> Location | None:
        """Where the source stands, in whose words a base, a machine and a provider's settings are written."""
        sources = self.recipe.image(self.build.spec).sources
        return next((location_of(each) for each in sources if name_of(each) == self.build.source), None)

    @property
    def secrets(self) -> dict[str, Secret]:
        """The secrets among the variables that somebody gave, by name."""
        held = {value.name: getattr(self.variables, value.name) for value in self.build.variables if value.secret}
        return {name: secret for name, secret in held.items() if isinstance(secret, Secret)}

    @property
    def missing_secrets(self) -> dict[str, ImagefileError]:
        """What is missing of the secrets that nobody gave, by name."""
        held = {value.name: getattr(self.variables, value.name) for value in self.build.variables if value.missing}
        return {name: secret.error for name, secret in held.items() if isinstance(secret, MissingSecret)}

    def own_variables(self) -> Any:
        """Return the values for user code, which may change a list among them: nobody else sees that."""
        return own_copy(self.variables)

    def task(self, step: Step) -> Task:
        """Return a task of it."""
        return self.tasks[self.build.steps.index(step)]


class Jobs:
    """The builds of a plan, each bound once; again only where the imagefile is read anew after a task has failed.

    Args:
        plan: the builds. Where it brings the variables that it was made with, none is resolved again.
        recipe: the imagefile.
        settings: the variables as the user gave them.
    """

    def __init__(self, plan: Plan, recipe: Recipe, settings: Settings) -> None:
        self.plan = plan
        self.recipe = recipe
        self.settings = settings
        self._variables = dict(plan.variables)
        self._cells: dict[str, list[Cell]] = {}
        self._jobs: dict[str, Job] = {}
        self._lock = threading.RLock()

    def __getitem__(self, name: str) -> Job:
        """Return a build that has not begun.

        Raises:
            ImagefileError: the imagefile was read again, and has it no more.
        """
        with self._lock:
            job = self._jobs.get(name)
            if job is None or job.recipe is not self.recipe:
                job = self._bind(self.plan.build(name))
            return job

    def latest(self, job: Job, step: Step) -> Job:
        """Return a build that has come to a task, bound to the imagefile as it was last read.

        Raises:
            ImagefileError: the imagefile has the build, the task or one after it no more.
        """
        with self._lock:
            if job.recipe is self.recipe:
                return job
            return self._bind(job.build, job.tasks[: job.build.steps.index(step)])

    def reload(self, job: Job, step: Step) -> Job:
        """Read the imagefile again, for all builds, and return the one whose task is to be tried again.

        Raises:
            ImagefileError, UsageError: it cannot be read, or does not fit that build; all stays as it was.
        """
        recipe = loader.load(self.recipe.file)
        with self._lock:
            before = self.recipe, self._variables, self._cells
            self.recipe, self._variables, self._cells = recipe, {}, {}
            try:
                return self.latest(job, step)
            except BaseException:
                self.recipe, self._variables, self._cells = before
                raise

    def _bind(self, build: Build, done: tuple[Task, ...] = ()) -> Job:
        job = self._jobs[build.name] = Job.of(build, self.recipe, self._variables_of(build), done)
        return job

    def _variables_of(self, build: Build) -> Any:
        if build.name in self._variables:
            return self._variables[build.name]
        image = next((image for image in self.recipe.images if image.name == build.spec), None)
        if image is not None and image.name not in self._cells:
            self._cells[image.name] = resolve(self.recipe.variables, image.matrix, self.settings, self.recipe.folder)
        for cell in self._cells[image.name] if image is not None else ():
            if dict(cell.axes) == dict(build.axes):
                return cell.variables
        raise ImagefileError(
            f"the imagefile no longer has the build {build.name}", where=image.where if image else None
        )


def function_of(functions: Sequence[Function], step: Step) -> Function:
    """Find a step's function, also in an imagefile that was changed and read again since the plan was made.

    Raises:
        ImagefileError: it is not there any more.
    """
    if step.index < len(functions) and name_of(functions[step.index]) == step.name:
        return functions[step.index]
    named = [function for function in functions if name_of(function) == step.name]
    if len(named) != 1:
        raise ImagefileError(
            f"the imagefile has no task {step.name} any more",
            why=f"it was read again; the plan names {step.where}",
            hint="put it back, or start a new build",
        )
    return named[0]
