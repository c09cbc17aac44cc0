"""What the global options chose: the imagefile, its state, how to speak."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from bakery.build.cluster.remote import Cluster
    from bakery.build.one_off import OneOffRun
    from bakery.drivers.registry import Registry
    from bakery.imagefile.builds import Plan
    from bakery.imagefile.recipe import Recipe
    from bakery.imagefile.variables import Settings
    from bakery.model import Artifact
    from bakery.redaction.redactor import Redactor
    from bakery.reporting.bus import Reporter
    from bakery.reporting.lines import Verbosity
    from bakery.state.project import State


CERTIFICATES: Final = {"ca": "ca_file", "cert": "cert", "key": "key"}
"""What `--tls-...` names, by what it is called inside."""


class Project:
    """One command line's view of the world. Everything costly is made when first asked for."""

    def __init__(self) -> None:
        self.file: str | None = None
        self.directory = Path()
        self.format: Literal["text", "json"] = "text"
        self.quiet = False
        self.verbose = False
        self.color: Literal["auto", "always", "never"] = "auto"
        self.began = time.time()
        self.environ: Mapping[str, str] = os.environ
        self._stack = ExitStack()

    @property
    def json(self) -> bool:
        """True where standard output is for programs."""
        return self.format == "json"

    @property
    def verbosity(self) -> Verbosity:
        """How much to tell."""
        return "quiet" if self.quiet else "verbose" if self.verbose else "normal"

    @property
    def folder(self) -> Path:
        """The folder that `-C` names, absolute.

        Raises:
            UsageError: the current folder was deleted.
        """
        from bakery.errors import UsageError

        try:
            return self.directory.resolve()
        except FileNotFoundError:
            raise UsageError(
                "the current folder is gone", why="it was deleted, or put there anew", hint='enter it again: cd "$PWD"'
            ) from None

    def path(self, path: str | Path | None) -> Path | None:
        """Return a path from the command line, absolute."""
        return None if path is None else self.folder / path

    def check_destinations(
        self,
        *,
        output: str | None = None,
        depfile: str | None = None,
        manifest: str | None = None,
        junit: str | None = None,
        picture: str | None = None,
    ) -> None:
        """Look at the places where the command line says to write.

        Raises:
            UsageError: one of them is no place for that, or holds something else.
        """
        from bakery.build import destinations as places

        kinds = (
            (places.image_file, output),
            (places.dependency_file, depfile),
            (places.manifest_file, manifest),
            (places.junit_file, junit),
            (places.picture_file, picture),
        )
        named = [kind(given, self.folder / given) for kind, given in kinds if given is not None]
        if not named:
            return
        cache = self.state.cache
        ours = (self.state.folder, *(() if self.folder.is_relative_to(cache) else (cache,)))
        places.check_all(named, ours)

    @cached_property
    def imagefile(self) -> Path:
        """The imagefile.

        Raises:
            UsageError: there is none.
        """
        from bakery.imagefile.loader import find

        return find(self.folder, self.file)

    @cached_property
    def recipe(self) -> Recipe:
        """The imagefile, loaded.

        Raises:
            ImagefileError: it is wrong.
        """
        from bakery.build.image_options import check_image_options
        from bakery.imagefile.loader import load

        recipe = load(self.imagefile)
        check_image_options(recipe)
        return recipe

    @cached_property
    def state(self) -> State:
        """The project's `.bakery`; also where the imagefile itself is broken."""
        from bakery.state.project import State

        return State.beside(self.imagefile, self.environ)

    @cached_property
    def drivers(self) -> Registry:
        """The drivers."""
        from bakery.drivers.registry import Registry

        return Registry()

    @cached_property
    def redactor(self) -> Redactor:
        """What knows the secrets; from now on logs and tracebacks of this process go through it."""
        from bakery.redaction.logs import guarded
        from bakery.redaction.redactor import Redactor

        redactor = Redactor()
        self._stack.enter_context(guarded(redactor))
        return redactor

    def redact(self, text: str) -> str:
        """Return text without secrets; free of cost where none is known."""
        return self.redactor(text) if "redactor" in vars(self) else text

    def settings(self, values: Mapping[str, str], files: Iterable[Path]) -> Settings:
        """Return the user's variables."""
        from bakery.imagefile.variables import Settings

        return Settings(values=values, files=tuple(self.folder / file for file in files), environ=self.environ)

    def plan(self, images: Iterable[str], only: Iterable[str], exclude: Iterable[str], settings: Settings) -> Plan:
        """Return the plan of what is selected.

        Raises:
            ImagefileError: the imagefile or a variable is wrong.
            UsageError: the selection names something that does not exist.
        """
        from bakery.imagefile.plan import Selection, plan

        select = Selection(images=tuple(images), only=tuple(only), exclude=tuple(exclude))
        return plan(self.recipe, settings, select)

    def image(self, name: str) -> Artifact:
        """Return a kept image by its name, its id, or the path of its file.

        Raises:
            UsageError: there is none, or images of several builds have that name.
        """
        from bakery.state.image_names import meant

        return meant(self.state.images(), self._id_of_file(name) or name)

    def images_named(self, name: str) -> list[Artifact]:
        """Return all kept images that a word may mean."""
        from bakery.state.image_names import all_meant

        return all_meant(self.state.images(), self._id_of_file(name) or name)

    def _id_of_file(self, name: str) -> str:
        """Return the id of the kept image whose file a word names; empty where it names none."""
        path = str((self.folder / name).resolve())
        return path if any(image.id == path for image in self.state.images()) else ""

    def cluster(self, given: Mapping[str, Any]) -> Cluster | None:
        """Return the cluster that `--on` or `BAKERY_CLUSTER` names; None where images are made here.

        Raises:
            UsageError: it is no address.
            PreflightError: no scheduler answers there.
        """
        on = given.get("on")
        address = on or self.environ.get("BAKERY_CLUSTER", "")
        if not address:
            return None
        from bakery.build.cluster.cluster_run import lease_of
        from bakery.build.cluster.connection import Connection
        from bakery.build.cluster.remote import Cluster
        from bakery.build.cluster.security import Certificates, check_address

        check_address(address, "--on" if on else "BAKERY_CLUSTER")
        lease = lease_of(self.environ)
        places = {name: self.path(given[f"tls_{word}"]) for name, word in CERTIFICATES.items()}
        return Cluster(Connection(address, Certificates(**places)), lease=lease)

    def one_off_run(
        self, plan: Plan, settings: Settings, readers: Sequence[Reporter], deadline: float | None = None
    ) -> OneOffRun:
        """Return what a visit to one machine needs of the project.

        Args:
            plan: all builds of the imagefile.
            settings: the variables that it was made with.
            readers: reporters.
            deadline: seconds for the whole visit; None for no limit.
        """
        from bakery.build.job import Jobs
        from bakery.build.one_off import OneOffRun

        return OneOffRun(
            jobs=Jobs(plan, self.recipe, settings),
            state=self.state,
            drivers=self.drivers,
            redactor=self.redactor,
            readers=readers,
            deadline=deadline,
        )

    def colors(self, terminal: bool) -> bool:
        """Say whether to use colours on a stream."""
        if self.color != "auto":
            return self.color == "always"
        return terminal and not self.environ.get("NO_COLOR") and self.environ.get("TERM") != "dumb"

    @property
    def stdout_colors(self) -> bool:
        """True where standard output may have colours."""
        return self.colors(sys.stdout.isatty())

    def close(self) -> None:
        """Undo what was installed in this process."""
        self._stack.close()
