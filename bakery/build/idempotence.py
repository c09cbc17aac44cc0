"""`@bakery.task(idempotent=True)`: a second run must change nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from bakery.errors import TaskError
from bakery.util.changes import collected_changes
from bakery.util.lasting import lasting
from bakery.util.units import counted

if TYPE_CHECKING:
    from bakery.machine.machine import Machine

SHOWN: Final = 20
"""Differences that an error names."""
_CLOCK: Final = "date +%s.%N"
# $1: seconds since the epoch. Lists what was touched since, where it is not in a place that changes by itself: mode,
# owner, a link's target; and the digest of files. Needs GNU find: busybox's knows no -newerct.
_TOUCHED: Final = r"""
find --version 2>/dev/null | grep -q GNU || { echo 'find is not the one of GNU' >&2; exit 3; }
find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /var/tmp \
    -o -path /var/log -o -path /var/cache -o -path /var/lib/apt/lists -o -path /var/lib/systemd \) -prune \
  -o -newerct "@$1" \( -type l -printf '%p link %l\n' -o -type f -printf '%p mode %m %U:%G\n' -exec sha256sum {} + \)
"""


def run_twice(machine: Machine, run: Callable[[], object]) -> None:
    """Run a step, then once more, and see that the second run changes nothing.

    What Ansible, Puppet and Salt call a change counts, and so does every file whose content, mode or owner differs.

    Args:
        machine: where it runs.
        run: runs the step.

    Raises:
        TaskError: something changed; says what.
    """
    with lasting():  # what the first run borrowed need not be installed once more for the second
        found = _changed(machine, run)
    if found:
        more = [f"... and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        raise TaskError(
            f"it is not idempotent: a second run changed {counted(len(found), 'thing')}",
            why="\n".join([*found[:SHOWN], *more]),
            hint="look before you change, or leave idempotent=True out",
        )


def _changed(machine: Machine, run: Callable[[], object]) -> list[str]:
    """Run a step twice; return what the second run changed."""
    began = machine.run(_CLOCK, user="root", hide=True).stdout.strip()
    run()
    before = _touched(machine, began)
    with collected_changes() as changes:
        run()
    after = _touched(machine, began)
    files = [f"{name}: {_what(before.get(name), after.get(name))}" for name in sorted(before.keys() | after.keys())]
    return [*changes, *(line for line in files if not line.endswith(": "))]


def _touched(machine: Machine, began: str) -> dict[str, tuple[str, str]]:
    """Return digest or target, and mode with owner, of what was touched since."""
    lines = machine.run(["sh", "-c", _TOUCHED, "bakery-touched", began], user="root", hide=True).stdout.splitlines()
    digests: dict[str, str] = {}
    modes: dict[str, str] = {}
    for line in lines:
        if " mode " in line:
            name, _, mode = line.partition(" mode ")
            modes[name] = mode
        elif " link " in line:
            name, _, target = line.partition(" link ")
            digests[name] = f"-> {target}"
        else:
            digest, _, name = line.partition("  ")
            digests[name] = digest
    return {name: (digests.get(name, ""), modes.get(name, "")) for name in digests.keys() | modes.keys()}


def _what(before: tuple[str, str] | None, after: tuple[str, str] | None) -> str:
    if before == after:
        return ""
    if before is None or after is None:
        return "written" if before is None else "removed"
    return "content" if before[0] != after[0] else f"mode or owner, {before[1]} to {after[1]}"
