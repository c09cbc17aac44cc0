"""The list of files that an image depends on, as a rule that Make reads (`--depfile`).

What GNU Make 4.3 takes from a rule was tried name by name: a space, `#`, `$` and `:` have an escape that works in both
places where a name stands; the other characters that mean something to it have none, and are written as `?`, which
matches them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from bakery.cache.checkpoints import inventory
from bakery.cache.inputs.external import LocalInput

_MEANS_SOMETHING: Final = re.compile(r"[\t\n\r%=;|*?\[\]]|\\$|^~")
_ARCHIVE: Final = re.compile(r"\(.+\)$", re.DOTALL)
"""What Make takes for a member of an archive, however it is written: such a file is told by its folder's date."""
_ESCAPED: Final = re.compile(r"(\\*)([ #:])")
_WORD: Final = re.compile(r"(?:\\.|\S)+")
_SPECIAL: Final = re.compile(
    r"\.[A-Z]|(define|undefine|endef|ifn?def|ifn?eq|else|endif|-?include|sinclude|-?load|vpath)\b"
    r"|(export|unexport|override|private)\b"
)
"""Beginnings of a line that are no name to Make: special targets, directives."""


def rule(targets: Iterable[str], prerequisites: Iterable[str]) -> str:
    """Write one rule, and an empty rule for each prerequisite so that a deleted one is no error.

    Args:
        targets: what depends on them, as the Makefile names it.
        prerequisites: the files and folders.
    """
    names = sorted({escaped(name) for name in prerequisites})
    head = " ".join(dict.fromkeys(escaped(name) for name in targets))
    return f"{head}: " + " \\\n  ".join(names) + "\n" + "".join(f"\n{name}:\n" for name in names)


def escaped(name: str) -> str:
    """Return a file's name as a rule writes it, on both sides of the colon."""
    text = _MEANS_SOMETHING.sub("?", name).replace("$", "$$")
    text = _ESCAPED.sub(lambda match: rf"{match[1]}{match[1]}\{match[2]}", text)
    return f"./{text}" if _SPECIAL.match(text) else text


def is_rule(text: str) -> bool:
    """Say whether a text is what `rule` writes, of whatever files: a rule, and an empty one for each of its names."""
    first, *others = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()] or [""]
    if not text:
        return True
    words = _WORD.findall(first)
    ends = [number for number, word in enumerate(words) if word.endswith(":") and not word.endswith("\\:")]
    empty = [line.removesuffix(":") for line in others]
    return bool(ends) and sorted(words[ends[0] + 1 :]) == sorted(empty) and all(line.endswith(":") for line in others)


def prerequisites(inputs: Iterable[LocalInput], without: Iterable[Path]) -> set[Path]:
    """Return the paths whose date tells that an input has changed.

    A folder's date tells that a name in it came or went, so each folder of a tree is listed with its files. What is
    not there is told by the folder in which it would be. Make takes a link's target for it, so that a link was pointed
    elsewhere is told by the folder that holds the link.

    Args:
        inputs: what was read.
        without: files of ours, and folders with all that is in them, that may lie in such a tree.
    """
    left_out = [*without]
    return {
        path
        for item in inputs
        for path in map(_there, _paths(item))
        if not any(path == ours or ours in path.parents for ours in left_out)
    }


def _paths(item: LocalInput) -> Iterator[Path]:
    yield item.path
    yield from {link.parent for link in _links(item.path)}
    if item.kind == "tree" and item.path.is_dir():
        yield from (item.path / name for name, _ in inventory.entries(item.path))


def _links(path: Path) -> set[Path]:
    """Return the symbolic links on the way to a file: of its own name, of its folders', and of those that they name."""
    links, todo = set[Path](), [path]
    while todo:
        way = todo.pop()
        for link in {step for step in (way, *way.parents) if step.is_symlink()} - links:
            links.add(link)
            todo.append(Path(os.path.normpath(link.parent / link.readlink())))
    return links


def _there(path: Path) -> Path:
    """Return the path that tells of it: itself, or the nearest folder above that exists and that Make can name."""
    told = path.parent if _ARCHIVE.search(str(path)) else path
    return next((known for known in (told, *told.parents) if known.exists()), told)


def near(path: Path, folder: Path) -> str:
    """Return a path as a Makefile in a folder names it: relative where it is below, else absolute."""
    return os.path.relpath(path, folder) if path.is_relative_to(folder) else str(path)
