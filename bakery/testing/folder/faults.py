"""Faults that the folder cloud can inject at every call."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from bakery.util.files import write_whole

Fault = Literal[
    "throttled",  # refused for now, nothing done
    "server-error",  # 503, nothing done
    "answer-lost",  # done, but the caller sees a time-out
    "invisible",  # done, but not to be seen for the next few looks
    "immortal",  # it refuses to be deleted, for good
    "quota",  # refused for good
    "denied",  # refused for good
    "dies",  # the machine dies a moment after it was started
    "stuck",  # it never reaches the state that is waited for
    "broken",  # it reaches a state from which nothing comes any more
]


@dataclass(kw_only=True)
class Injection:
    """Inject a fault into some calls.

    Args:
        call: the cloud's method.
        fault: what happens.
        first: the number of the first call of that kind that it hits, from 1.
        times: how many in a row.
    """

    call: str
    fault: Fault
    first: int = 1
    times: int = 1


class Faults:
    """What is to go wrong, and how often each call was made; kept in the cloud's folder, so that processes share it."""

    def __init__(self, cloud: Path) -> None:
        self._plan = cloud / "faults.json"
        self._count = cloud / "calls.json"

    def inject(self, *injections: Injection) -> None:
        """Plan faults, and count calls from now."""
        write_whole(self._plan, json.dumps([asdict(injection) for injection in injections]))
        self._count.unlink(missing_ok=True)

    def clear(self) -> None:
        """Let all go well from now on."""
        self._plan.unlink(missing_ok=True)
        self._count.unlink(missing_ok=True)

    def at(self, call: str) -> Fault | None:
        """Count a call, and say what happens to it. Called under the cloud's lock."""
        if not self._plan.exists():
            return None
        counts: dict[str, int] = json.loads(self._count.read_text(encoding="utf-8")) if self._count.exists() else {}
        number = counts[call] = counts.get(call, 0) + 1
        write_whole(self._count, json.dumps(counts))
        for injection in json.loads(self._plan.read_text(encoding="utf-8")):
            first, times = injection["first"], injection["times"]
            if injection["call"] == call and first <= number < first + times:
                fault: Fault = injection["fault"]
                return fault
        return None
