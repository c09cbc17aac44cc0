"""What provisioners need of a machine besides its commands: the way to it, and whom to tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bakery.machine.build_names import BuildNames
    from bakery.machine.machine import Machine
    from bakery.machine.transport.link import Link
    from bakery.util.context import WorkContext


@dataclass(frozen=True, kw_only=True)
class MachineAccess:
    """The inside of a machine, for code that reaches it by a program of this host.

    Args:
        link: the way to it.
        folder: the imagefile's folder.
        work: how to be cancelled, and who hears what happens.
        names: of the build.
        step: the step that works on it.
        user: who runs commands where a call does not say.
        alive: raises `DriverError` when it is dead.
        limit: the seconds that something may take: what is asked for, and no longer than the step has left.
    """

    link: Link
    folder: Path
    work: WorkContext
    names: BuildNames
    step: str
    user: str
    alive: Callable[[], object]
    limit: Callable[[float | None], float | None]


def access(machine: Machine) -> MachineAccess:
    """Look inside a machine."""
    m = machine
    return MachineAccess(
        link=m._link,  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  this room's own, here and below
        folder=m._folder,  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        work=m._work,  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        names=m._names,  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        step=m._step,  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        user=m._user,  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        alive=m._alive,  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        limit=m._limit,  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    )
