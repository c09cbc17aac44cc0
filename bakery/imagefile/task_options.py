"""How a task runs, as `@bakery.task(...)` says: typed, in place of look-ups by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from bakery.model import Json


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """How a task runs.

    Args:
        retries: how often it is run again after a failure.
        timeout: seconds after which it is stopped; None for no limit.
        user: who its commands run as; None where nobody said, which means root.
        cache: False runs it on every build.
        max_age: `30m`, `12h`, `7d`: a result that is older is not used again; None for one that never ages.
        checkpoint: whether the machine is saved after it; None where that depends on what it costs.
        idempotent: True runs it a second time, which must change nothing.
    """

    retries: int = 0
    timeout: float | None = None
    user: str | None = None
    cache: bool = True
    max_age: str | None = None
    checkpoint: bool | None = None
    idempotent: bool = False

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Type the decorator's options, which were checked when the task was marked.

        Args:
            options: what the user wrote, without `only` and `skip`.
        """
        return cls(**options)

    @property
    def result(self) -> dict[str, Json]:
        """Return what decides what the task leaves behind, and what was seen of it, as step keys hold it.

        Only what the user wrote is in it, so that a new option makes no step run again.
        """
        user: dict[str, Json] = {} if self.user is None else {"user": self.user}
        return {**user, "idempotent": True} if self.idempotent else user
