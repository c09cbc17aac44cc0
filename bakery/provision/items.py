"""What configuration management tools apply to a machine, item by item, whatever they call them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from bakery.errors import TaskError
from bakery.util.changes import note_change

if TYPE_CHECKING:
    from bakery.machine.access import MachineAccess

ItemOutcome: TypeAlias = Literal["ok", "changed", "skipped", "failed", "ignored", "unreachable"]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One item: an Ansible task, a Puppet resource, a Salt state.

    Args:
        name: what the tool calls it.
        outcome: what became of it; `ignored` is a failure that its author foresaw.
        seconds: how long it took.
        location: `FILE:LINE` on this host, where that is known.
        text: why it failed, or what changed.
        host: where, if not on the machine that is built.
    """

    name: str
    outcome: ItemOutcome
    seconds: float = 0.0
    location: str = ""
    text: str = ""
    host: str = ""


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What one call of a tool did.

    Args:
        items: all of them, in order.
    """

    items: tuple[Item, ...]

    @property
    def changed(self) -> tuple[Item, ...]:
        """Those that changed the machine."""
        return self.of("changed")

    def of(self, *outcomes: ItemOutcome) -> tuple[Item, ...]:
        """Those with one of these outcomes."""
        return tuple(item for item in self.items if item.outcome in outcomes)

    def __str__(self) -> str:
        """`12 ok, 3 changed`."""
        counts = Counter(item.outcome for item in self.items)
        return ", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "nothing"


def announce(inside: MachineAccess, tool: str, item: Item) -> None:
    """Tell the user of an item; from any thread."""
    from bakery.events import ItemApplied

    inside.work.emit(
        ItemApplied(
            build=inside.work.build,
            step=inside.step,
            tool=tool,
            item=item.name,
            outcome=item.outcome,
            seconds=item.seconds,
            location=item.location,
            text=item.text,
        )
    )


def settle(inside: MachineAccess, tool: str, items: Sequence[Item]) -> Applied:
    """Say what was done in one line, and tell who watches the step of each change; from the step's own thread."""
    from bakery.events import Output

    applied = Applied(items=tuple(items))
    for item in applied.changed:
        note_change(f"{tool}: {item.name}")
    inside.work.emit(Output(build=inside.work.build, step=inside.step, text=f"{tool}: {applied}"))
    return applied


def require(condition: object, what: str, *, why: str = "", hint: str = "") -> None:
    """Raise `TaskError` with the user's line where a condition does not hold."""
    from bakery.machine.output import caller

    if not condition:
        raise TaskError(what, why=why, hint=hint, where=caller())
