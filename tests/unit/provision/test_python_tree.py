"""Python packages put together on this host: what uv is asked, what is made of it, and when the machine must do it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bakery.errors import DriverError
from bakery.events import Event, Notice
from bakery.provision import python_tree as module
from bakery.provision.python_tree import FRESH, GuestPython, find_uv, foreign, python_tree, uv_settings
from bakery.util.context import WorkContext
from tests.unit.fake_tools import FakeTools

MAGIC = importlib.util.MAGIC_NUMBER.hex()
PYTHON = GuestPython(
    executable="/usr/bin/python3",
    version="3.11.2",
    implementation="cpython",
    machine="x86_64",
    libc="glibc 2.36",
    magic=MAGIC,
)
SITE = "lib/python3.11/site-packages"


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def work(tmp_path: Path, events: list[Event]) -> WorkContext:
    return WorkContext(cache=tmp_path / "cache", emit=events.append)


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    """Stand in for uv, which installs a package with a program, and for a Python that compiles."""
    monkeypatch.setattr(module, "find_uv", lambda: "uv")
    fake = FakeTools.install(monkeypatch).answer("uv pip install *", package())
    return fake.answer("*MAGIC_NUMBER*", f"{MAGIC}\n").answer("* compileall *")


def package(tag: str = "py3-none-any", program: str = "#!/venv/bin/python\nimport salt\n") -> Callable[..., None]:
    """Write what uv would, with the file that the words name as overrides in it."""

    def write(words: list[str]) -> None:
        site = Path(words[words.index("--target") + 1])
        overrides = Path(words[words.index("--overrides") + 1]).read_text()
        for name, text in {
            "salt/__init__.py": overrides,
            "salt-1.dist-info/WHEEL": f"Wheel-Version: 1.0\nTag: {tag}\n",
            "bin/salt-call": program,
            "bin/tool.sh": "#!/bin/sh\necho\n",
        }.items():
            (site / name).parent.mkdir(parents=True, exist_ok=True)
            (site / name).write_text(text)

    return write


def told(events: list[Event]) -> list[str]:
    return [event.message for event in events if isinstance(event, Notice)]


def test_uv_resolves_for_the_machines_python_and_its_c_library(work: WorkContext, tools: FakeTools) -> None:
    tree = python_tree(work, PYTHON, ["salt>=3007"], ["timelib"], None)
    assert tree is not None
    (line, *_) = tools.lines
    assert "--python-version 3.11.2 --python-platform x86_64-manylinux_2_36 " in line
    assert "--requirements -" in line
    assert "salt" not in line.partition("--requirements")[2]
    assert tools.options[0]["stdin"] == b"salt>=3007"
    assert (tree / SITE / "salt/__init__.py").read_text() == "timelib ; python_version < '3'\n"


def test_programs_get_a_first_line_that_the_machine_completes(work: WorkContext, tools: FakeTools) -> None:
    tree = python_tree(work, PYTHON, ["salt"], [], None)
    assert tree is not None
    assert (tree / "bin/salt-call").read_text() == "#!python\nimport salt\n"
    assert (tree / "bin/salt-call").stat().st_mode & 0o777 == 0o755
    assert (tree / "bin/tool.sh").read_text() == "#!/bin/sh\necho\n"
    tools.answer(
        "uv pip install *", package(program="#!/bin/sh\n'''exec' '/a b/python' \"$0\" \"$@\"\n' '''\nimport x\n")
    )
    tree = python_tree(work, PYTHON, ["other"], [], None)
    assert tree is not None
    assert (tree / "bin/salt-call").read_text() == "#!python\nimport x\n"


def test_bytecode_is_made_by_a_python_that_writes_the_machines(
    work: WorkContext, tools: FakeTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert python_tree(work, PYTHON, ["salt"], [], None)
    (line,) = [line for line in tools.lines if "compileall" in line]
    assert line.startswith(f"{sys.executable} -I -m compileall ")
    assert "--invalidation-mode unchecked-hash" in line
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    other = replace(PYTHON, version="3.9.2", magic="610d0d0a")
    tools.answer("/usr/bin/python3.9 *MAGIC*", "610d0d0a\n").ran.clear()
    assert python_tree(work, other, ["salt"], [], None)
    assert [line.split()[0] for line in tools.lines if "compileall" in line] == ["/usr/bin/python3.9"]
    for answer in ("00000000\n", DriverError("pyenv: python3.9: command not found")):
        tools.answer("/usr/bin/python3.9 *MAGIC*", answer).ran.clear()
        assert python_tree(work, replace(other, magic=f"ff{len(str(answer))}"), ["salt"], [], None)
        assert not any("compileall" in line for line in tools.lines)


def test_what_was_made_once_is_kept(work: WorkContext, tools: FakeTools) -> None:
    first = python_tree(work, PYTHON, ["salt"], [], None)
    assert python_tree(work, PYTHON, ["salt"], [], None) == first
    assert len([line for line in tools.lines if line.startswith("uv")]) == 1
    assert python_tree(work, replace(PYTHON, libc=""), ["salt"], [], None) != first
    assert python_tree(work, PYTHON, ["salt", "more"], [], None) != first


def age(tree: Path) -> None:
    """Make it as old as it may get."""
    date = tree.stat().st_mtime - FRESH
    os.utime(tree, (date, date))


def test_after_a_week_newer_versions_are_looked_for(work: WorkContext, tools: FakeTools, events: list[Event]) -> None:
    first = python_tree(work, PYTHON, ["salt"], [], None)
    assert first is not None
    age(first)
    offline = replace(work, offline=True)
    assert python_tree(offline, PYTHON, ["salt"], [], None) == first
    tools.answer(
        "uv pip install *",
        DriverError("installing failed", why="uv pip install ended with exit code 2\nno route\n  to host\n"),
    )
    assert python_tree(work, PYTHON, ["salt"], [], None) == first
    assert told(events) == ["installing failed: no route to host; so the packages that were found last are used"]
    tools.answer("uv pip install *", package())
    second = python_tree(work, PYTHON, ["salt"], [], None)
    assert second not in (None, first)
    assert second is not None
    assert first.is_dir()  # another bake may be sending it
    age(second)
    third = python_tree(work, PYTHON, ["salt"], [], None)
    assert sorted(path.name for path in first.parent.glob("tree-*")) == sorted(
        path.name for path in (second, third) if path
    )


def test_nothing_is_downloaded_offline(work: WorkContext, tools: FakeTools) -> None:
    python_tree(replace(work, offline=True), PYTHON, ["salt"], [], 30)
    assert tools.options[0]["env"]["UV_OFFLINE"] == "1"
    assert tools.options[0]["timeout"] == 30


def test_a_package_that_can_be_left_out_is_not_where_it_is_asked_for(work: WorkContext, tools: FakeTools) -> None:
    tree = python_tree(work, PYTHON, ["salt", "TimeLib==0.3"], ["timelib"], None)
    assert tree is not None
    assert (tree / SITE / "salt/__init__.py").read_text() == ""
    assert tools.options[0]["stdin"] == b"salt\nTimeLib==0.3"


@pytest.mark.parametrize(
    ("requirement", "reason"),
    [
        ("./here", "./here is no name with a version"),
        ("--index-url https://example.org", "is no name with a version"),
        ("salt @ file:///srv/salt.whl", "salt is asked for by its address"),
    ],
)
def test_what_may_mean_the_machines_own_files_is_left_to_pip_there(
    work: WorkContext, tools: FakeTools, events: list[Event], requirement: str, reason: str
) -> None:
    assert python_tree(work, PYTHON, [requirement], [], None) is None
    assert reason in told(events)[0]
    assert tools.ran == []


def test_compiled_code_that_was_built_here_is_not_sent(
    work: WorkContext, tools: FakeTools, events: list[Event], tmp_path: Path
) -> None:
    tools.answer("uv pip install *", package("cp311-cp311-linux_x86_64"))
    assert python_tree(work, PYTHON, ["salt"], [], None) is None
    assert told(events) == ["salt-1 has no wheel for the machine's Python; so pip installs salt on the machine"]
    package("cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64")(
        ["--target", str(tmp_path), "--overrides", os.devnull]
    )
    assert list(foreign(tmp_path)) == []


def test_without_uv_the_hint_says_how_to_get_it(
    work: WorkContext, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert python_tree(work, PYTHON, ["salt"], [], None) is None
    (notice,) = [event for event in events if isinstance(event, Notice)]
    assert notice.message == "there is no uv on this host; so pip installs salt on the machine"
    assert "[salt]" in notice.hint
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert find_uv() == "/usr/bin/uv"


@pytest.mark.parametrize(
    ("changes", "platform"),
    [
        ({}, "x86_64-manylinux_2_36"),
        ({"libc": "glibc 2.31"}, "x86_64-manylinux_2_31"),
        ({"libc": "glibc 2.30", "machine": "aarch64"}, "aarch64-manylinux_2_28"),
        ({"libc": "glibc 2.99"}, "x86_64-manylinux_2_40"),
        ({"libc": ""}, "x86_64-unknown-linux-musl"),
        ({"libc": "glibc 2.12"}, ""),
        ({"machine": ""}, ""),
        ({"machine": "s390x"}, ""),
        ({"implementation": "pypy"}, ""),
        ({"free_threaded": True}, ""),
    ],
)
def test_the_platform_is_no_newer_than_the_machines_c_library(
    changes: dict[str, str], platform: str, work: WorkContext, events: list[Event]
) -> None:
    python = replace(PYTHON, **changes)  # type: ignore[arg-type]  # of the right types
    assert python.platform == platform
    if not platform:
        assert python_tree(work, python, ["salt"], [], None) is None
        assert "no name for the platform" in told(events)[0]


def test_uv_reaches_the_index_as_pip_does_and_sees_nothing_else() -> None:
    pip = {
        "PIP_INDEX_URL": "https://example.org/simple",
        "PIP_TRUSTED_HOST": "example.org",
        "PIP_DEFAULT_TIMEOUT": "180",
        "PIP_CERT": "/ca.pem",
    }
    fixed = {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}
    assert uv_settings({**pip, "WEB_TOKEN": "hunter22", "PATH": "/bin"}) == {
        "UV_DEFAULT_INDEX": "https://example.org/simple",
        "UV_INSECURE_HOST": "example.org",
        "UV_HTTP_TIMEOUT": "180",
        "SSL_CERT_FILE": "/ca.pem",
        **fixed,
    }
    own = {"UV_DEFAULT_INDEX": "https://uv.example.org", "SSL_CERT_FILE": "/own.pem"}
    assert uv_settings({**pip, **own})["UV_DEFAULT_INDEX"] == "https://uv.example.org"
    assert uv_settings({**pip, **own})["SSL_CERT_FILE"] == "/own.pem"
    assert uv_settings({}) == fixed
