"""A suite's process: pytest with our plugin, in this process, on a machine in memory."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from testinfra.host import Host

from bakery.imagefile.suites import Suites
from bakery.machine.transport.base import Transport
from bakery.model import Endpoint
from bakery.smoke import SmokeJob, SuiteRun, wire
from bakery.smoke.job import CloneAccess
from bakery.smoke.suites import machine, plugin
from bakery.smoke.suites.machine import LOGIN_SHELL
from bakery.smoke.suites.runner import SuiteStart
from bakery.state.ssh_keys import make_keys
from tests.unit.smoke.pipes import Answer, FakePipes

KEYS = make_keys("bakery-test")


@dataclass
class SuiteChild:
    """One run of the child, in a folder with a suite."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    answers: dict[str, Answer] = field(default_factory=dict[str, Answer])
    options: Suites = field(default_factory=Suites)
    secrets: dict[str, str] = field(default_factory=dict[str, str])
    clones: int = 0
    nodes: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    error: Exception | None = None
    asked: list[str] = field(default_factory=list[str])
    logins: list[bool] = field(default_factory=list[bool])

    def answer(self, command: str) -> Answer | None:
        self.asked.append(command)
        if command == LOGIN_SHELL:
            return b"/bin/zsh", b"", 0
        return next((answer for part, answer in self.answers.items() if part in command), (b"", b"", 0))

    def connect(self, *_: object) -> Transport:
        if self.error:
            raise self.error
        return cast("Transport", self)

    def open_shell(self, *, as_root: bool = True) -> FakePipes:
        self.logins.append(as_root)
        return FakePipes(self.answer, 1000)

    def close(self) -> None:
        """Nothing is held."""

    def write(self, **files: str) -> None:
        """Write files of the suite: `conftest="..."` is tests/conftest.py, `ini="..."` the settings."""
        for name, text in files.items():
            path = self.folder / ("pytest.ini" if name == "ini" else f"tests/{name}.py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(textwrap.dedent(text))

    def run(self, *words: str, collect_only: bool = False) -> list[dict[str, Any]]:
        """Run the suite, with paths and arguments, and return the events that the parent gets."""
        paths = tuple(word for word in words if (self.folder / word.partition("::")[0]).exists())
        suite = SuiteRun(
            paths=paths or ("tests",),
            arguments=tuple(word for word in words if word not in paths),
            names=("web-1", "web", "laptop"),
            nodes=(*self.nodes, *self.absent),
            options=self.options,
            cache=self.folder / "cache",
            collect_only=collect_only,
        )
        job = SmokeJob(
            imagefile=self.folder / "imagefile.py",
            tests=(),
            endpoint=Endpoint(host="192.0.2.7"),
            keys=KEYS,
            secrets=self.secrets,
            junit=Path(),
            suite=suite,
            clones=(CloneAccess(endpoint=Endpoint(host="192.0.2.8"), keys=KEYS),) * self.clones,
            name="web",
            nodes={name: CloneAccess(endpoint=Endpoint(host=name), keys=KEYS) for name in self.nodes},
            absent=self.absent,
        )
        inbox, job_in = os.pipe()
        events = self.folder / "events"  # no pipe: nobody reads it while the child runs
        outlet = os.open(events, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.write(job_in, wire.dump(job))
        command = SuiteStart(folder=self.folder, suite=suite).words(inbox, outlet)
        self.monkeypatch.chdir(self.folder)
        self.monkeypatch.setattr("sys.path", [*sys.path])
        Host._hosts_cache.clear()
        before = set(sys.modules)
        pytest.main(command[command.index("pytest") + 1 :])
        for name in set(sys.modules) - before:
            if str(self.folder) in (getattr(sys.modules[name], "__file__", "") or ""):
                del sys.modules[name]  # the next suite has modules of the same names
        for fd in (outlet, job_in, inbox):
            os.close(fd)
        return [json.loads(line) for line in events.read_text().splitlines()]


def make_child(folder: Path, monkeypatch: pytest.MonkeyPatch) -> SuiteChild:
    """Return a child whose machine is in memory."""
    child = SuiteChild(folder, monkeypatch)
    for name in [*os.environ]:
        if name.startswith("PYTEST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setattr(machine, "connect", child.connect)
    monkeypatch.setattr(plugin, "watch_parent", lambda _: None)
    return child


def ends(events: list[dict[str, Any]]) -> dict[str, str]:
    """Return how each test ended."""
    return {event["test"]: event["outcome"] for event in events if event["type"] == "test"}


def of_type(events: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """Return the only event of a type."""
    (event,) = [event for event in events if event["type"] == kind]
    return event
