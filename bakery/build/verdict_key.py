"""Whether a verdict still holds: what the smoke tests of an image are, and what they took in on this host."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from bakery.build.job import Job
from bakery.cache.inputs import modules
from bakery.cache.inputs.code import Follower
from bakery.cache.inputs.digest import Keyed, of_json
from bakery.cache.inputs.external import Input, Kind, LocalInput, World
from bakery.cache.inputs.tracer import changed
from bakery.cache.inputs.values import Unstable
from bakery.imagefile.marks import location_of
from bakery.imagefile.recipe import Recipe
from bakery.imagefile.suites import Suites
from bakery.model import Json, to_json
from bakery.smoke.job import Read, builtin
from bakery.smoke.shared_fixtures import needed_fixtures


def tests_key(job: Job, cache: Path) -> str | None:
    """Return the key of an image's tests: when only that has changed, the image stays and is tested again.

    Args:
        job: the image's build.
        cache: the shared cache folder.

    Returns:
        None where some code cannot be followed.
    """
    tests = [test.function for test in job.tests]
    rebooting = [test.step.name for test in job.tests if test.step.options.get("reboot", False)]
    deciding = [job.options.strict_host, job.options.login, job.options.hygiene, *rebooting]
    parts: list[Any] = [*tests, *_fixtures(job.recipe, tests), deciding]
    follower = Follower(job.folder, Keyed.of(cache))
    codes = [follower.follow(part, job.variables) for part in parts]
    if any(code.problems for code in codes):
        return None
    wanted = builtin(job.options.builtin_tests)
    own: list[Json] = [*sorted(wanted), modules.package("bakery")] if wanted else []
    suites = [_suites(job)] if job.build.suites else []
    return of_json([[code.digest for code in codes], own, *suites])


def _suites(job: Job) -> Json:
    """Return what decides on suites beside what they read: which they are, how they run, which files there are."""
    options = job.options.suites or Suites()
    files = sorted(str(file) for suite in job.build.suites for file in _files(job.folder, suite.partition("::")[0]))
    return [[*job.build.suites], to_json(options), [*files], modules.package("bakery"), modules.package("pytest")]


def _files(folder: Path, suite: str) -> Iterator[Path]:
    """Yield the files below a suite's folder by their names: one more may be one more test. Caches do not count."""
    for place, folders, names in os.walk(folder / suite):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__pycache__"]
        for name in names:
            if not name.startswith(".") and not name.endswith((".pyc", "~")):
                yield Path(place, name).relative_to(folder / suite)


def _fixtures(recipe: Recipe, tests: Iterable[Any]) -> Iterator[Any]:
    """Yield the fixtures that tests use of the files that they stand in."""
    for file in dict.fromkeys(location_of(test).file for test in tests):
        module = _module(file, recipe.module)
        yield from needed_fixtures([test for test in tests if location_of(test).file == file], module)
        yield [getattr(module, name, None) for name in ("pytestmark", "pytest_plugins")]


def _module(file: Path, imagefile: ModuleType) -> ModuleType:
    """Find the imported module of a file; the imagefile's own for functions made by a library."""
    candidates = [imagefile, *list(sys.modules.values())]
    return next((module for module in candidates if getattr(module, "__file__", None) == str(file)), imagefile)


def noted(read: Iterable[Read], job: Job, cache: Path) -> list[Json] | None:
    """Return what tests took in, with digests, as it is written onto their image.

    Args:
        read: what they took in.
        job: the image's build.
        cache: the shared cache folder.

    Returns:
        None where something has changed since, or cannot be compared.
    """
    world = _world(job, cache)
    try:
        inputs = [
            world.now(kind, world.name_of(Path(name)) if _is_path(kind) else name)
            for kind, name, look in read
            if not (_is_path(kind) and changed(name, look))
        ]
    except Unstable:
        return None
    return [item.to_json() for item in inputs] if len(inputs) == len([*read]) else None


def holds(data: Mapping[str, Any], job: Job, cache: Path) -> bool:
    """Say whether what an image's tests took in is as it was.

    Args:
        data: the image's.
        job: its build.
        cache: the shared cache folder.
    """
    world = _world(job, cache)
    try:
        return all(world.now(item.kind, item.name, item).digest == item.digest for item in _items(data))
    except Unstable:
        return False


def files_of(data: Mapping[str, Any], folder: Path) -> Iterator[LocalInput]:
    """Yield the local files and folders that an image's tests took in."""
    for item in _items(data):
        if item.kind == "file" or item.kind == "listing" or item.kind == "tree":  # noqa: PLR1714  narrows the type
            yield LocalInput(item.kind, folder / item.name)


def _items(data: Mapping[str, Any]) -> Iterator[Input]:
    yield from (Input.from_json(item) for item in cast("list[list[Json]]", data.get("tests_read") or []))


def _world(job: Job, cache: Path) -> World:
    return World(job.folder, Keyed.of(cache), job.variables, os.environ)


def _is_path(kind: Kind) -> bool:
    return kind in ("file", "listing", "tree")
