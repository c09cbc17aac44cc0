"""Real processes: whatever shell `bake` is called from, what it starts in a container begins alike."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bakery.testing.contract import ATTRIBUTES, DEFINED, begun_with

CHILD = """
import sys
from bakery.util.process_attributes import UMASK, begin, words
from bakery.util.process import run_process
from bakery.util.waiting import Cancel
begin()
done = run_process([*words(), "sh", "-c", sys.argv[1]], cancel=Cancel(), umask=UMASK, env={"PATH": "/usr/bin:/bin"})
sys.stdout.write(done.stdout)
sys.exit(done.exited)
"""
BLOCK = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGINT, signal.SIGTERM})
os.execv(sys.argv[1], sys.argv[1:])
"""
ODD = {
    "umask": "umask 077",
    "nohup": "trap '' HUP INT QUIT TERM USR1 USR2 TSTP TTOU",
    "no child signals": "trap '' CHLD",
    "limits": "ulimit -c 1000 && ulimit -S -f 2000000 && ulimit -n 100",
    "nice": "renice -n 7 $$ >/dev/null",
    "out of memory": "echo 300 >/proc/self/oom_score_adj",
    "another kind of processor": 'exec setarch linux32 --addr-no-randomize -- "$@"',
}


def begun(before: str) -> subprocess.CompletedProcess[str]:
    script = f'{before}\nexec "$@"'
    words = ["sh", "-c", script, "sh", sys.executable, "-c", CHILD, ATTRIBUTES]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can lower its niceness")
@pytest.mark.parametrize("before", ODD.values(), ids=ODD)
def test_a_task_begins_alike_whatever_shell_bake_is_called_from(before: str) -> None:
    done = begun(before)
    assert done.returncode == 0, done.stderr
    assert begun_with(done.stdout) == DEFINED


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can lower its niceness")
def test_blocked_signals_are_let_through_again() -> None:
    words = [sys.executable, "-c", BLOCK, sys.executable, "-c", CHILD, ATTRIBUTES]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert begun_with(done.stdout) == DEFINED


def test_a_command_that_fails_fails_also_where_the_end_of_children_is_ignored() -> None:
    script = CHILD.replace("sys.argv[1]", "'exit 7'")
    words = ["sh", "-c", "trap '' CHLD\nexec \"$@\"", "sh", sys.executable, "-c", script]
    assert subprocess.run(words, capture_output=True, check=False, timeout=60).returncode == 7
