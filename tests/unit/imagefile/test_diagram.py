"""The plan as a picture: every base once, an arrow for each dependence, and texts that end no shape."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import pytest

from bakery.imagefile.builds import Build, ImageRef, Plan, Step
from bakery.imagefile.diagram import dot, mermaid
from bakery.model import Source


@dataclass(frozen=True)
class Release:
    """A base by name."""

    name: str
    mirror: str = "somewhere"


def build(
    name: str, base: object = None, *, after: tuple[str, ...] = (), tasks: int = 0, publishes: bool = False
) -> Build:
    step = Step(name="x", index=0, where="imagefile.py:1")
    return Build(
        name=name,
        spec=name,
        image=name,
        source="here",
        driver="qemu",
        boot=Source(base=base),
        axes={},
        variables=(),
        steps=(step,) * tasks,
        tests=(step,),
        post=(),
        after=after,
        publishes=publishes,
    )


GOLDEN = build("golden@here", Release("bookworm"), tasks=2)
WEB = build("web@here", ImageRef(build="golden@here"), after=("golden@here",), tasks=1)
CLOUD = build("web@cloud", None, after=("web@here",), publishes=True)


def test_mermaid_shows_bases_builds_and_what_stands_on_what() -> None:
    assert mermaid(Plan(builds=(GOLDEN, WEB, CLOUD))).splitlines() == [
        "flowchart LR",
        '    n1[("Release(bookworm)")]',
        '    n2["golden@here<br>qemu, 2 tasks, 1 test"]',
        '    n3["web@here<br>qemu, 1 task, 1 test"]',
        '    n4>"web@cloud<br>qemu, published as it is"]',
        "    n1 --> n2",
        "    n2 --> n3",
        "    n3 --> n4",
    ]


def test_graphviz_shows_the_same() -> None:
    assert dot(Plan(builds=(GOLDEN, WEB))).splitlines() == [
        "digraph bake {",
        "    rankdir=LR;",
        "    node [shape=box];",
        '    n1 [shape=cylinder, label="Release(bookworm)"];',
        '    n2 [label="golden@here\\nqemu, 2 tasks, 1 test"];',
        '    n3 [label="web@here\\nqemu, 1 task, 1 test"];',
        "    n1 -> n2;",
        "    n2 -> n3;",
        "}",
    ]


def test_a_base_of_two_images_is_drawn_once() -> None:
    text = mermaid(Plan(builds=(GOLDEN, replace(GOLDEN, name="other@here"))))
    assert text.count("Release(bookworm)") == 1
    assert text.count("n1 -->") == 2


def test_a_build_that_was_left_out_of_the_plan_has_no_arrow() -> None:
    assert "-->" not in mermaid(Plan(builds=(WEB,)))


@pytest.mark.parametrize(
    ("base", "shown"),
    [
        ("ami-123", "ami-123"),
        (Release('a "b" <c> #1 & d'), "Release(a #quot;b#quot; #lt;c#gt; #35;1 #amp; d)"),
        (Release("line\nbreak"), "Release(line break)"),
        (object(), "object"),
    ],
)
def test_texts_of_the_users_end_no_shape_in_mermaid(base: object, shown: str) -> None:
    line = mermaid(Plan(builds=(build("web@here", base),))).splitlines()[1]
    assert line == f'    n1[("{shown}")]'


@pytest.mark.parametrize("text", ['a "b"', "back\\slash", "new\nline", 'all \\" of\n"them"'])
def test_texts_of_the_users_end_no_string_in_graphviz(text: str) -> None:
    line = dot(Plan(builds=(build("web@here", text),))).splitlines()[3]
    quoted = re.fullmatch(r'    n1 \[shape=cylinder, label="((?:[^"\\]|\\.)*)"\];', line)
    assert quoted
    assert quoted[1].replace('\\"', '"').replace("\\\\", "\\") == text.replace("\n", " ")
