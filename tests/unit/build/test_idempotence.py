"""`idempotent=True`: what a second run changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bakery.build import idempotence
from bakery.errors import TaskError
from bakery.imagefile.task_options import TaskOptions
from bakery.testing import FakeMachine
from bakery.testing.machine import Ran
from bakery.util.changes import note_change


def machine(*listings: str) -> FakeMachine:
    left = list(listings)
    answer: Callable[[Ran], str] = lambda _: left.pop(0)  # noqa: E731  an answer is a function
    return FakeMachine({"sh -c *find*": answer, "date *": "1700000000.5\n"})


def nothing() -> None:
    """Change nothing."""


def test_a_second_run_that_changes_nothing_is_fine() -> None:
    listing = "/etc/a mode 644 root:root\nd1  /etc/a\n/etc/l link a\n"
    m = machine(listing, listing)
    idempotence.run_twice(m, nothing)
    assert m.commands[-1].endswith("bakery-touched 1700000000.5")


def test_what_differs_is_named() -> None:
    before = "/etc/a mode 644 root:root\nd1  /etc/a\n/etc/b mode 644 root:root\nd2  /etc/b\n/etc/l link a\n"
    before += "/etc/gone link x\n"
    after = (
        "/etc/a mode 600 root:root\nd1  /etc/a\n/etc/b mode 644 root:root\nd3  /etc/b\n/etc/l link b\n/etc/new link x\n"
    )
    with pytest.raises(TaskError, match="it is not idempotent: a second run changed 5 things") as caught:
        idempotence.run_twice(machine(before, after), nothing)
    assert caught.value.why.splitlines() == [
        "/etc/a: mode or owner, 644 root:root to 600 root:root",
        "/etc/b: content",
        "/etc/gone: removed",
        "/etc/l: content",
        "/etc/new: written",
    ]


def test_what_a_tool_calls_a_change_counts() -> None:
    with pytest.raises(TaskError, match="changed 1 thing\n") as caught:
        idempotence.run_twice(machine("", ""), lambda: note_change("ansible: restart nginx"))
    assert caught.value.why == "ansible: restart nginx"


def test_a_task_that_becomes_idempotent_by_its_word_is_run_again_to_be_seen() -> None:
    assert TaskOptions(idempotent=True).result != TaskOptions().result
    assert TaskOptions(idempotent=True, user="app").result == {"user": "app", "idempotent": True}


def test_many_differences_are_cut_short() -> None:
    many = "".join(f"/etc/{n} link x\n" for n in range(30))
    with pytest.raises(TaskError) as caught:
        idempotence.run_twice(machine("", many), nothing)
    assert caught.value.why.splitlines()[-1] == "... and 10 more"
