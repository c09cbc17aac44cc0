"""What of the user's project the workers need: the folder, the values said outside it, and the secrets' whereabouts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bakery.build.cluster.archive import PackedProject, pack
from bakery.build.context import RunContext
from bakery.build.job import Job, Jobs
from bakery.cache.inputs.modules import users_files
from bakery.errors import UsageError
from bakery.events import Notice
from bakery.imagefile.variables import PREFIX, said_outside, secret_place
from bakery.model import to_json


@dataclass
class SentProject:
    """The project as it travels.

    Args:
        folder: the imagefile's.
        archive: it, packed.
        values: what was said outside the imagefile, but for secrets.
    """

    folder: Path
    archive: PackedProject
    values: dict[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def of(cls, run: RunContext) -> SentProject:
        """Pack the project of a run; files with secrets stay here.

        Raises:
            UsageError: it is too large, or a value cannot travel.
        """
        jobs, folder = run.jobs, run.imagefile.parent
        without = [run.state.folder, run.state.cache, *jobs.settings.files, *_secret_files(jobs, folder)]
        without += [path for path in (run.options.output, run.options.depfile, run.options.manifest) if path]
        archive = pack(folder, run.folder.path / "project.tar", without=without)
        for path in sorted(set(_outside(folder))):
            run.emit(
                Notice(
                    level="warning",
                    message=f"{path} is outside the imagefile's folder, and does not travel to the workers",
                    hint="put it beside the imagefile, or install it on each worker",
                )
            )
        return cls(folder, archive, _values(jobs))


def secret_environment(job: Job, name: str) -> str:
    """Return the environment variable in which a worker may have a secret of its own."""
    cls = job.recipe.variables
    return (secret_place(cls, name)[0] if cls else "") or f"{PREFIX}{name.upper()}"


def _values(jobs: Jobs) -> dict[str, Any]:
    if jobs.recipe.variables is None:
        return {}
    values = said_outside(jobs.recipe.variables, jobs.settings)
    for name, value in values.items():
        try:
            to_json(value)
        except TypeError as error:
            raise UsageError(
                f"the value of {name} cannot travel to another machine", why=str(error), hint="write it as text"
            ) from error
    return {name: to_json(value) for name, value in values.items()}


def _secret_files(jobs: Jobs, folder: Path) -> Iterator[Path]:
    cls = jobs.recipe.variables
    for build in jobs.plan.builds if cls is not None else ():
        for value in build.variables:
            if value.secret and cls is not None and (file := secret_place(cls, value.name)[1]):
                yield folder / file


def _outside(folder: Path) -> Iterator[Path]:
    """Yield modules of the user's that lie outside the project's folder, and are not installed."""
    for path in users_files(folder):
        installed = {"site-packages", "dist-packages"} & set(path.parts) or path.is_relative_to(sys.prefix)
        if not path.is_relative_to(folder) and not installed:
            yield path
