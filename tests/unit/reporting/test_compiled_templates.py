"""The report's templates are compiled once, and never taken for others."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from jinja2 import DictLoader, Environment

from bakery.reporting.compiled_templates import CompiledTemplates


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    return tmp_path


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.jinja"))


def shown(text: str) -> str:
    return (
        Environment(autoescape=True, loader=DictLoader({"page": text}), bytecode_cache=CompiledTemplates())
        .get_template("page")
        .render()
    )


def refuse(self: Environment, *_: object, **__: object) -> None:
    raise AssertionError("compiled again")


def test_a_template_is_compiled_once(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown("{{ 1 + 1 }}") == "2"
    assert len(files(kept)) == 1
    monkeypatch.setattr(Environment, "_parse", refuse)
    assert shown("{{ 1 + 1 }}") == "2"


def test_one_that_was_edited_or_is_torn_is_compiled_again(kept: Path) -> None:
    assert shown("old") == "old"
    assert shown("new") == "new"
    [file] = files(kept)
    for content in (b"", b"j2", file.read_bytes()[:-9], b"x" * 300):
        file.write_bytes(content)
        assert shown("new") == "new"


def test_another_jinja_compiles_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert shown("same") == "same"
    other = tmp_path / "compiler.py"
    other.write_text("another one")
    monkeypatch.setattr("jinja2.compiler.__file__", str(other))
    monkeypatch.setattr(Environment, "_parse", refuse)
    with pytest.raises(AssertionError, match="compiled again"):
        shown("same")


def test_where_nothing_may_be_written_it_is_compiled_each_time(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert shown("a") == "a"
    assert files(kept) == []
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", str(Path(__file__)))  # a file is no folder
    assert shown("b") == "b"
