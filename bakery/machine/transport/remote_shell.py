"""The shell lines that look after commands on a machine; dash, bash and busybox understand them all."""

from __future__ import annotations

import shlex
from typing import Final

PROBE: Final = (
    'read -r s </proc/$$/stat; set -- ${s##*) }; if [ "$4" = $$ ]; then echo leader; '
    'elif command -v setsid >/dev/null 2>&1; then echo setsid; else echo bare; fi; echo "$SHELL"'
)
"""Says whether the shell of a channel leads a session of its own (OpenSSH), could (`setsid`), or neither; and the
user's login shell.

Field 6 of `/proc/PID/stat` is the session; source: proc(5). The name in field 2 may hold anything, so it is cut off.
"""

LEFTOVERS: Final = (
    "for f in /proc/[0-9]*/cmdline; do p=${f%/cmdline}; "
    "grep -q 'bakery-ru[n]' \"$f\" 2>/dev/null && echo ${p#/proc/}; done; true"
)
"""Lists the process ids of framed commands that run: their shells have the frame's name in their command lines."""

# The process $1, its descendants and, where it leads a session, all of that session: a program that went into the
# background has another parent, a program with a session of its own still has the parent.
_END: Final = """
root=$1 found=" $1 " more=1 left=30
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
kill -s TERM $found 2>/dev/null
while [ $left -gt 0 ]; do
  sleep 0.1 2>/dev/null || { sleep 1; left=$((left - 9)); }
  alive=
  for pid in $found; do
    { read -r line <"/proc/$pid/stat"; } 2>/dev/null || continue
    set -- ${line##*) }
    [ "$1" = Z ] || alive="$alive $pid"
  done
  found=$alive left=$((left - 1))
  [ -n "$found" ] || exit 0
done
kill -s KILL $found 2>/dev/null
"""


def end_line(pid: int, *, sudo: bool) -> str:
    """Return the line that ends a command and all that it started: by SIGTERM, and SIGKILL for what is left after 3 s.

    Args:
        pid: the framed command's process id.
        sudo: True where the login user may not signal what it started through sudo.
    """
    line = f"sh -c {shlex.quote(_END)} bakery-end {pid}"
    return f"sudo -n {line} 2>/dev/null || {line}" if sudo else line
