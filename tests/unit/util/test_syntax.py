"""Parsing from many threads, as builds do that run at the same time."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bakery.util import syntax


class Garbage:
    """Python code that the collector runs in the middle of whatever makes objects: then threads take turns."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        for _ in range(50):
            pass


@pytest.fixture
def hasty() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty")
def test_threads_that_parse_at_once_all_get_a_tree() -> None:
    text = Path(syntax.__file__).read_text(encoding="utf-8").replace("from __future__ import annotations", "") * 20

    def tree(_: int) -> str:
        Garbage()
        return ast.dump(syntax.parse(text))

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(tree, range(100)))) == 1


def test_one_that_somebody_else_disturbed_is_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    real, disturbed = ast.parse, [True, True]

    def parse(text: str, name: str) -> ast.Module:
        if disturbed:
            disturbed.pop()
            raise SystemError("AST constructor recursion depth mismatch (before=54, after=48)")
        return real(text, name)

    monkeypatch.setattr(ast, "parse", parse)
    assert ast.dump(syntax.parse("a = 1")) == ast.dump(real("a = 1"))


def test_what_is_no_python_is_said_at_once() -> None:
    with pytest.raises(SyntaxError):
        syntax.parse("def (:")
