"""Unit tests cannot reach a network, start a process, or see a home folder."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest


@pytest.fixture(autouse=True)
def outside_is_impossible(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever tries to leave the process fails the test that did it."""

    def refuse(*args: Any, **_: Any) -> NoReturn:
        pytest.fail(f"a unit test tried to leave the process: {args[1:2] or args}")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("bakery.drivers.local._why_emulated", lambda _: "there is no /dev/kvm")
    monkeypatch.setattr(sys, "path", [*sys.path])  # each imagefile that is loaded puts its folder in front
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(Path, "home", lambda: home)
    for name in ("BAKERY_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def imported_is_forgotten(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Imagefiles and their helpers leave with their test: what a build depends on is asked of all modules."""
    before = set(sys.modules)
    yield
    folders = str(tmp_path_factory.getbasetemp().parent)
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if isinstance(file, str) and file.startswith(folders):
            del sys.modules[name]
