"""A plan as data: its builds, and the steps of each.

The JSON form is stable: `{"version": 1, "builds": [...], "warnings": [...]}`; see docs/plan.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bakery.imagefile.variables import Value
from bakery.model import Json, Source, to_json

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ImageRef:
    """A base that another build of the same plan makes."""

    build: str


@dataclass(frozen=True, kw_only=True)
class Step:
    """A task, test or post step of one build.

    Args:
        name: the function's name.
        index: its place in the image's list of that kind; that is how the function is found again.
        where: the function's line.
        doc: the first line of its docstring.
        options: the decorator's options, without `only` and `skip`.
    """

    name: str
    index: int
    where: str
    doc: str = ""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, kw_only=True)
class Build:
    """One image from one source.

    Args:
        name: `web[release=bookworm]@laptop`; unique in a plan.
        spec: the image function's name.
        image: the image's own name.
        source: the source function's name.
        driver: the driver that launches it.
        boot: the source: what is launched.
        axes: the matrix's values for it.
        variables: every variable's value and origin.
        steps, tests, post: what runs, in order.
        suites: pytest suites that run after the tests: paths and node ids.
        after: the build that makes what it stands on.
        nodes: names of machines that run beside the one that is tested, each with the build that makes its image.
        where: the image's line.
        labels: how many it takes of what `--limit` bounds.
        publishes: True where the image of the build that it stands on is taken to a provider as it is.
        because: why this driver was chosen; empty where the imagefile names it.
    """

    name: str
    spec: str
    image: str
    source: str
    driver: str
    boot: Source
    axes: Mapping[str, Any]
    variables: tuple[Value, ...]
    steps: tuple[Step, ...]
    tests: tuple[Step, ...]
    post: tuple[Step, ...]
    suites: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    nodes: Mapping[str, str] = field(default_factory=dict[str, str])
    where: str = ""
    publishes: bool = False
    labels: Mapping[str, int] = field(default_factory=dict[str, int])
    because: str = ""

    @property
    def needed(self) -> tuple[str, ...]:
        """The builds that must be done before."""
        return tuple(dict.fromkeys((*self.after, *self.nodes.values())))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All builds of a run, those that others stand on first.

    Args:
        builds: what is made, in order.
        warnings: what the user should know of, a sentence each.
        version: of the JSON form.
        variables: the object of each build's values, by the build's name, so that nobody resolves them again. No
            part of the data: neither shown nor compared.
    """

    builds: tuple[Build, ...]
    warnings: tuple[str, ...] = ()
    version: int = VERSION
    variables: Mapping[str, Any] = field(
        default_factory=dict[str, Any], repr=False, compare=False, metadata={"json": False}
    )

    def to_json(self) -> Json:
        """Return the stable JSON form."""
        return to_json(self)

    def build(self, name: str) -> Build:
        """Return the build of that name."""
        return next(build for build in self.builds if build.name == name)
