"""Ansible in memory: what it was called with, and what it tells while it runs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bakery.machine.access import MachineAccess
from bakery.model import Result
from bakery.provision.ansible_host import AnsibleProgram

OK: Mapping[str, int] = {"ok": 1, "failures": 0, "unreachable": 0}


def result(outcome: str = "ok", name: str = "task", *, host: str = "default", **said: Any) -> dict[str, Any]:
    """What is told of one task."""
    place = {"path": "/p/site.yml:3", "host": host, "implicit": False, "seconds": 0.1}
    return {"type": "result", "outcome": outcome, "name": name, **place, "said": said}


@dataclass(frozen=True)
class Call:
    """One call of ansible-NAME."""

    name: str
    words: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    timeout: float | None

    def after(self, option: str) -> list[str]:
        """The words that follow an option."""
        return [self.words[at + 1] for at, word in enumerate(self.words) if word == option]


@dataclass(frozen=True, kw_only=True)
class FakeAnsible(AnsibleProgram):
    """In place of the program of this host."""

    python: str = "/venv/bin/python3"
    folders: tuple[str, ...] = ("/venv/",)
    tells: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    ends: list[Result] = field(default_factory=list[Result])
    calls: list[Call] = field(default_factory=list[Call])
    does: list[Callable[[Call], object]] = field(default_factory=list[Callable[[Call], object]])

    def run(
        self,
        inside: MachineAccess,
        name: str,
        words: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        descriptor: int,
        timeout: float | None,
    ) -> Result:
        """Tell what a test says, and end as it says."""
        del inside
        call = Call(name, words, env, cwd, timeout)
        self.calls.append(call)
        for do in self.does:
            do(call)
        for message in self.tells:
            os.write(descriptor, json.dumps(message).encode())
        return self.ends.pop(0) if self.ends else Result(command=name, exited=0)
