"""What a test does beside asking the machine: it may change the machine by another way, so states are asked anew.

A test sends an HTTP request, runs a program on this host, or sleeps; then it asks what came of it. An answer that was
fetched before that would be older than what plain testinfra says. Python tells an audit hook of connections and
programs, and from 3.13 on of `time.sleep`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import cache, wraps
from typing import Any, Final

from bakery.smoke.prefetch import PrefetchedFacts
from bakery.smoke.shell import Shell

LASTING: Final = frozenset(
    {
        "os.exec",
        "os.fork",
        "os.posix_spawn",
        "os.spawn",
        "os.system",
        "pty.spawn",
        "socket.connect",
        "socket.sendmsg",
        "socket.sendto",
        "subprocess.Popen",
    }
)
"""Events after which more may go on unseen: what is sent over an open connection tells nobody."""
_WATCHED: Final[list[tuple[Shell, PrefetchedFacts]]] = []


def watch(shell: Shell, facts: PrefetchedFacts) -> None:
    """Forget facts whenever this process does something that may change the machine, but for asking it.

    Args:
        shell: asks it.
        facts: what is known of it.
    """
    _WATCHED.append((shell, facts))
    _install()


def change(facts: PrefetchedFacts) -> None:
    """Forget what is known of a machine before a command that may change something, and of all others: it reaches them.

    Args:
        facts: of the machine that it runs on.
    """
    facts.change()
    for _, others in _WATCHED:
        others.forget()


def _heard(event: str, _: object = ()) -> None:
    """Take an audit event."""
    if event not in LASTING and event != "time.sleep":
        return
    if any(shell.busy for shell, _ in _WATCHED):
        return  # it connects once more, or waits
    for _, facts in _WATCHED:
        if event in LASTING:
            facts.forget()
            facts.believe_states = False
        else:
            facts.forget_states()


@cache
def _install() -> None:
    """Listen, once: Python has no way to stop."""
    sys.addaudithook(_heard)
    if sys.version_info < (3, 13):
        time.sleep = _telling(time.sleep)


def _telling(sleep: Callable[[Any], None]) -> Callable[[Any], None]:
    @wraps(sleep)
    def told(seconds: Any, /) -> None:
        sleep(seconds)
        _heard("time.sleep")

    return told
