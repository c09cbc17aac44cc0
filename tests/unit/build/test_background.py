"""What goes on beside a build: in threads of its own, and gently where it shall not be in a machine's way."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from bakery.build.background import GENTLE, BackgroundTasks


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has a niceness for each thread")
def test_gentle_work_lets_all_else_go_first() -> None:
    before = niceness()

    tasks = BackgroundTasks()
    gentle, plain = tasks.start(niceness, gentle=True), tasks.start(niceness)
    tasks.wait()
    assert (gentle.result(), plain.result(), niceness()) == (max(before, GENTLE), before, before)


def test_whoever_waits_does_so_for_both() -> None:
    ended, tasks = [], BackgroundTasks()
    go = threading.Event()
    for gentle in (True, False):
        tasks.start(lambda gentle=gentle: (go.wait(10), ended.append(gentle)), gentle=gentle)
    go.set()
    tasks.wait()
    assert sorted(ended) == [False, True]
