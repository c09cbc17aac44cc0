"""The real uv, with wheels of our own: what it takes for another Python, and an environment that runs."""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bakery.events import Event, Notice
from bakery.provision.guest_python import ARRANGE
from bakery.provision.python_tree import GuestPython, python_tree
from bakery.util.context import WorkContext

HERE = GuestPython(
    executable=sys.executable,
    version=platform.python_version(),
    implementation="cpython",
    machine="x86_64",
    libc="glibc 2.36",
    magic=importlib.util.MAGIC_NUMBER.hex(),
)
OLD = GuestPython(
    executable="/usr/bin/python3",
    version="3.9.2",
    implementation="cpython",
    machine="aarch64",
    libc="glibc 2.31",
    magic="610d0d0a",
)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of PyPI."""
    for name in list(os.environ):
        if name.startswith(("UV_", "PIP_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "shop"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    (tmp_path / "shop").mkdir()
    return tmp_path / "shop"


def wheel(shop: Path, name: str, tag: str = "py3-none-any", *, needs: tuple[str, ...] = (), version: str = "1") -> None:
    """Put a wheel there; its module says its tag, and it has a program of its name."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{name}/__init__.py": f"def main():\n    print({name + ' ' + tag!r})\n",
        f"{info}/METADATA": metadata + "".join(f"Requires-Dist: {need}\n" for need in needs),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(shop / f"{name}-{version}-{tag}.whl", "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def work(tmp_path: Path, events: list[Event]) -> WorkContext:
    return WorkContext(cache=tmp_path / "cache", emit=events.append)


def modules(tree: Path | None) -> set[str]:
    assert tree is not None
    return {path.parent.name for path in tree.glob("lib/*/site-packages/*/__init__.py")}


def test_an_environment_runs_where_it_is_put(shop: Path, work: WorkContext, tmp_path: Path) -> None:
    wheel(shop, "tool", needs=("part>=1", "heavy"))
    wheel(shop, "part")
    tree = python_tree(work, HERE, ["tool"], ["heavy"], None)
    assert modules(tree) == {"tool", "part"}
    assert tree is not None
    there = tmp_path / "venv"
    subprocess.run(["cp", "-r", "--", tree, there], check=True)
    subprocess.run(["sh", "-c", ARRANGE, "arrange", there, sys.executable, HERE.version], check=True)
    assert (there / "bin/tool").read_text().splitlines()[0] == f"#!{there}/bin/python"
    for source in there.glob("lib/*/site-packages/tool/__init__.py"):
        source.write_text("broken(")  # the bytecode that was sent along is what counts
    said = subprocess.run([there / "bin/tool"], capture_output=True, text=True, check=True)
    assert said.stdout == "tool py3-none-any\n"


def test_what_is_taken_is_for_the_machines_python_and_not_for_this_one(shop: Path, work: WorkContext) -> None:
    wheel(shop, "tool", needs=("old; python_version < '3.10'", "new; python_version >= '3.10'", "arm"))
    for name in ("old", "new"):
        wheel(shop, name)
    wheel(shop, "arm", "cp39-cp39-manylinux_2_31_aarch64")
    wheel(shop, "arm", "cp39-cp39-manylinux_2_34_aarch64", version="2")  # for a newer C library
    tree = python_tree(work, OLD, ["tool"], [], None)
    assert modules(tree) == {"tool", "old", "arm"}
    assert tree is not None
    assert [path.name for path in tree.glob("lib/python3.9/site-packages/arm-*")] == ["arm-1.dist-info"]


def test_what_uv_cannot_find_is_said_and_left_to_the_machine(
    shop: Path, work: WorkContext, events: list[Event]
) -> None:
    wheel(shop, "tool", needs=("gone",))
    assert python_tree(work, HERE, ["tool"], [], None) is None
    (notice,) = [event for event in events if isinstance(event, Notice)]
    assert "gone was not found" in notice.message
    assert notice.message.endswith("so pip installs tool on the machine")
