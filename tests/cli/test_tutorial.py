"""docs/tutorial.md, executed: every command with its exit code and the output that is shown, in order.

Only what its source returns is another: a machine in the folder cloud, which needs a second where Debian needs minutes.
Where a line of the page has `...`, anything may stand, also nothing; between two lines there may be others.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .conftest import Place

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
END = "# imagefile.py, the end\n"


@dataclass
class Command:
    """A command of the page, and what it shows."""

    line: str
    code: int = 0
    shown: list[str] = field(default_factory=list[str])


def steps() -> Iterator[tuple[str, str] | Command]:
    """Yield the page's files, as name and text, and its commands."""
    for kind, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if kind != "console":
            head, _, body = text.partition("\n")
            yield head.removeprefix("# "), body
            continue
        command: Command | None = None
        for line in text.splitlines():
            if line.startswith("$ "):
                if command:
                    yield command
                words, _, code = line.removeprefix("$ ").partition("# exit code")
                command = Command(words.strip(), int(code or 0))
            elif command:
                command.shown.append(line)
        if command:
            yield command


def on_the_folder_cloud(text: str, cloud: Path) -> str:
    """Return the imagefile with another source."""
    for old, new in (
        ("from bakery.drivers import Debian, Local", "from bakery.testing.folder.driver import Folder"),
        ("-> Local:", "-> Folder:"),
        ('Local(base=Debian("bookworm"))', f'Folder(cloud={str(cloud)!r}, disk="qcow2")'),
    ):
        assert old in text
        text = text.replace(old, new)
    return text


def write(place: Place, name: str, text: str, cloud: Path) -> None:
    path = place.folder / "imagefile.py"
    if name == "imagefile.py":
        path.write_text(on_the_folder_cloud(text, cloud))
    elif name.startswith("imagefile.py, the end"):
        before, _, _ = path.read_text().partition("@bakery.image\n")
        path.write_text(before + text)
    else:
        (place.folder / name).write_text(text)


def pattern(shown: list[str]) -> re.Pattern[str]:
    """Return what output looks like that has these lines."""
    return re.compile("".join(f"(?:.*\n)*?{_line(line)}\n" for line in shown if line != "..."))


def _line(line: str) -> str:
    words = " ".join(line.split())
    return r"[ \t]*" + re.escape(words).replace(re.escape("..."), ".*").replace(r"\ ", r"[ \t]+").replace(
        r".*[ \t]+", r".*?[ \t]*"
    )


@pytest.fixture
def tutorial(empty: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Place, Path]:
    """The folder in which it is done; the machines of the folder cloud are no whole systems to be tested by ours."""
    monkeypatch.setattr("bakery.build.smoke_tests.builtin", lambda _: frozenset())
    return empty, tmp_path / "cloud"


def test_the_tutorial_does_what_it_says(tutorial: tuple[Place, Path]) -> None:
    place, cloud = tutorial
    done = 0
    for step in steps():
        if isinstance(step, tuple):
            write(place, *step, cloud)
            continue
        assert step.line.startswith("bake")
        ended = place.bake(*shlex.split(step.line)[1:])
        told = ended.out + ended.err
        assert ended.code == step.code, f"{step.line}\n{told}"
        output = "".join(f"{line.rstrip()}\n" for line in told.splitlines())
        if step.shown != ["..."]:
            assert pattern(step.shown).match(output), f"{step.line}\n{output}\n---\n" + "\n".join(step.shown)
        done += 1
    assert done >= 20
    assert (place.folder / "greeter.qcow2").stat().st_size > 0
    assert '"bakery-manifest"' in (place.folder / "greeter.json").read_text()


@pytest.mark.parametrize(
    ("shown", "output", "fits"),
    [
        (["a ... c"], "a b c\n", True),
        (["a ... c"], "x\na b c\ny\n", True),
        (["a ... c"], "a b d\n", False),
        (["a", "...", "b"], "a\n1\n2\nb\n", True),
        (["a", "b"], "a\n1\nb\n", True),
        (["a", "b"], "b\na\n", False),
        (["a", "b"], "a\n", False),
        (["a  b"], "  a b\n", True),
    ],
)
def test_what_is_shown_is_compared(shown: list[str], output: str, fits: bool) -> None:
    assert bool(pattern(shown).match(output)) == fits
