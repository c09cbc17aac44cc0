"""The shell lines that frame a command on a remote POSIX shell; dash, bash and busybox understand them all."""

from __future__ import annotations

import re
import shlex
from typing import Final

_MARK: Final = re.compile(rb"bakery-pid:(\d+)\n")

PROBE: Final = (
    "echo bakery-pid:$$ >&2; read -r s </proc/$$/stat; set -- ${s##*) }; "
    'if [ "$4" = $$ ]; then echo leader; elif command -v setsid >/dev/null 2>&1; then echo setsid; else echo bare; fi'
)
"""Says whether the shell of a channel leads a session of its own (OpenSSH), could (`setsid`), or neither.

Field 6 of `/proc/PID/stat` is the session; source: proc(5). The name in field 2 may hold anything, so it is cut off.
"""

LEFTOVERS: Final = (
    "echo bakery-pi''d:$$ >&2; for f in /proc/[0-9]*/cmdline; do p=${f%/cmdline}; "
    "grep -q 'bakery-pi[d]:[$][$]' \"$f\" 2>/dev/null && echo ${p#/proc/}; done; true"
)
"""Lists the process ids of framed commands that run: their shells have the frame in their command lines, this not."""

# The process $1, its descendants and, where it leads a session, all of that session: a program that went into the
# background has another parent, a program with a session of its own still has the parent.
_END: Final = """
root=$1 sig=$2 found=" $1 " more=1
while [ -n "$more" ]; do
  more=
  for f in /proc/[0-9]*/stat; do
    { read -r line <"$f"; } 2>/dev/null || continue
    pid=${line%% *}
    set -- ${line##*) }
    case $found in *" $pid "*) continue ;; esac
    case $found in *" $2 "*) ;; *) [ "$4" = "$root" ] || continue ;; esac
    found="$found$pid "
    more=1
  done
done
kill -s "$sig" $found 2>/dev/null
"""


def framed(command: str, own_session: str) -> str:
    """Frame a command so that its process id comes first on standard error, and a signal's death is an exit code.

    The command runs in a child of the shell: only so is a signal reported as 128+N (paramiko drops SSH's own message),
    and the shell's remark about it ("Killed ...", with the whole line) goes nowhere.

    Args:
        command: a line for the shell.
        own_session: what `PROBE` said.
    """
    line = f"echo bakery-pid:$$ >&2; exec 3>&2 2>/dev/null; (\n{command}\n) 2>&3 3>&-; exit $?"
    return f"exec setsid sh -c {shlex.quote(line)}" if own_session == "setsid" else line


def read_pid(head: bytes) -> tuple[int, bytes] | None:
    """Find the process id in what came first; return it and what is around it."""
    found = _MARK.search(head)
    return None if found is None else (int(found[1]), head[: found.start()] + head[found.end() :])


def end_line(pid: int, signal: str, *, sudo: bool) -> str:
    """Return the line that sends a signal to a command and to all that it started.

    Args:
        pid: the framed command's process id.
        signal: `TERM` or `KILL`.
        sudo: True where the login user may not signal what it started through sudo.
    """
    line = f"sh -c {shlex.quote(_END)} bakery-end {pid} {signal}"
    return f"sudo -n {line} 2>/dev/null || {line}" if sudo else line
