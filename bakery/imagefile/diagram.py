"""A plan as a picture: which build stands on which base or build, as text that other tools draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass

from bakery.imagefile.builds import Build, ImageRef, Plan
from bakery.model import Artifact, Source
from bakery.util.units import counted


def mermaid(plan: Plan) -> str:
    """Draw a plan as a Mermaid flowchart, which GitHub and GitLab show in Markdown.

    Args:
        plan: what would be built.
    """
    lines = ["flowchart LR"]
    ids = NodeIds()
    lines += [f'    {ids.of(("base", base))}[("{_entities(base)}")]' for base in _bases(plan)]
    for build in plan.builds:
        shape = '>"{}"]' if build.publishes else '["{}"]'
        lines.append(f"    {ids.of(('build', build.name))}{shape.format('<br>'.join(map(_entities, _label(build))))}")
    lines += [f"    {ids.of(start)} --> {ids.of(end)}" for start, end in _arrows(plan)]
    return "\n".join(lines)


def dot(plan: Plan) -> str:
    """Draw a plan in Graphviz's language.

    Args:
        plan: what would be built.
    """
    lines = ["digraph bake {", "    rankdir=LR;", "    node [shape=box];"]
    ids = NodeIds()
    lines += [f'    {ids.of(("base", base))} [shape=cylinder, label="{_escaped(base)}"];' for base in _bases(plan)]
    for build in plan.builds:
        shape = "shape=cds, " if build.publishes else ""
        label = "\\n".join(map(_escaped, _label(build)))
        lines.append(f'    {ids.of(("build", build.name))} [{shape}label="{label}"];')
    lines += [f"    {ids.of(start)} -> {ids.of(end)};" for start, end in _arrows(plan)]
    return "\n".join([*lines, "}"])


Node = tuple[str, str]
"""What stands in the picture: `base` or `build`, and its text or name."""


class NodeIds:
    """Short names for nodes, as a build's own name has signs that mean something in both languages."""

    def __init__(self) -> None:
        self._ids: dict[Node, str] = {}

    def of(self, node: Node) -> str:
        return self._ids.setdefault(node, f"n{len(self._ids) + 1}")


def _label(build: Build) -> list[str]:
    """Return the lines that a build's box shows."""
    counts = [counted(len(build.steps), "task"), counted(len(build.tests), "test")]
    return [
        build.name,
        f"{build.driver}, published as it is" if build.publishes else ", ".join([build.driver, *counts]),
    ]


def _bases(plan: Plan) -> list[str]:
    """Return the bases that no build of the plan makes, each once."""
    return list(dict.fromkeys(text for build in plan.builds if (text := base_text(build.boot)) is not None))


def base_text(source: Source) -> str | None:
    """Say in a few words what a source starts from; None where another build makes it, or there is none."""
    base = source.base
    match base:
        case None | ImageRef():
            return None
        case str():
            return base
        case Artifact():
            return base.name
        case _ if is_dataclass(base):
            first = getattr(base, fields(base)[0].name) if fields(base) else ""
            return f"{type(base).__name__}({first})"
    return type(base).__name__


def _arrows(plan: Plan) -> list[tuple[Node, Node]]:
    """Return what leads to what: a base to its builds, a build to those that stand on it."""
    names = {build.name for build in plan.builds}
    arrows: list[tuple[Node, Node]] = []
    for build in plan.builds:
        here = ("build", build.name)
        base = base_text(build.boot)
        if base is not None:
            arrows.append((("base", base), here))
        arrows += [(("build", name), here) for name in build.after if name in names]
    return arrows


def _quoting(pairs: dict[str, str]) -> Callable[[str], str]:
    table = str.maketrans(pairs)
    return lambda text: text.translate(table)


_entities = _quoting({"&": "#amp;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "#": "#35;", "\n": " "})
"""Mermaid has no backslash in texts; it takes entities, begun with a number sign."""
_escaped = _quoting({"\\": "\\\\", '"': '\\"', "\n": " "})
