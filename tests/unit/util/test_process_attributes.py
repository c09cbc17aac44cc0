"""What stands in front of a command so that it inherits nothing of this host's shell."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace

import pytest

from bakery.util.process_attributes import (
    CAP_SETGID,
    CAP_SYS_NICE,
    CAP_SYS_RESOURCE,
    LIMITS,
    NO_LIMIT,
    Inherited,
    kept,
    words,
)

BY_MEMORY = {"nproc": (500, 500), "sigpending": (500, 500)}
ALL = frozenset({CAP_SETGID, CAP_SYS_NICE, CAP_SYS_RESOURCE})
PLAIN = Inherited(limits={**LIMITS, **BY_MEMORY}, threads=1000, capabilities=ALL)


def test_where_nothing_is_odd_nothing_stands_in_front() -> None:
    assert words(PLAIN) == []


@pytest.mark.parametrize(
    ("odd", "expected"),
    [
        ({"ignored": frozenset({signal.SIGHUP})}, ["env", "--default-signal"]),
        ({"niceness": 5}, ["nice", "--adjustment=-5"]),
        ({"oom_score": 500}, ["choom", "-n", "0", "--"]),
        ({"groups": frozenset({27, 998})}, ["setpriv", "--clear-groups", "--"]),
        ({"normal": False}, ["chrt", "--other", "0"]),
        ({"personality": 0x40008}, ["setarch", "linux64" if sys.maxsize > 1 << 32 else "linux32", "--"]),
    ],
)
def test_what_is_odd_is_put_right(odd: dict[str, object], expected: list[str]) -> None:
    assert words(replace(PLAIN, **odd)) == expected  # type: ignore[arg-type]  # whichever field it is


def test_a_limit_that_differs_is_set_and_no_other() -> None:
    odd = replace(PLAIN, limits={**PLAIN.limits, "fsize": (1000, 2000), "core": (NO_LIMIT, NO_LIMIT)})
    assert words(odd) == ["prlimit", "--core=0:unlimited", "--fsize=unlimited:unlimited"]


def test_without_the_right_to_do_it_a_limit_is_raised_as_far_as_the_hard_one_and_what_is_kept_is_said() -> None:
    odd = replace(PLAIN, limits={**PLAIN.limits, "fsize": (1000, 2000)}, capabilities=frozenset())
    assert words(odd) == ["prlimit", "--fsize=2000:2000"]
    assert kept(odd) == ["fsize is 2000"]
    assert kept(replace(odd, capabilities=ALL)) == []
    assert kept(replace(PLAIN, capabilities=frozenset())) == []


def test_without_the_right_to_do_it_nothing_is_tried_that_would_fail() -> None:
    odd = replace(PLAIN, niceness=5, groups=frozenset({27}), normal=False, capabilities=frozenset())
    assert words(odd) == []
    assert words(replace(odd, niceness=-5, oom_score=-500)) == ["choom", "-n", "0", "--", "nice", "--adjustment=5"]
