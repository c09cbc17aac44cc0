"""The driver contract's own tools: a journal that crashes at any line, a host that is odd, and what is read of it."""

from __future__ import annotations

import os
import resource as rlimits
import signal
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from bakery.drivers.base import Driver
from bakery.model import Resource
from bakery.testing.contract import DEFINED, RecordingLedger, Stop, begun_with, odd_host, odd_limit

FIRST, SECOND = (Resource(driver="d", kind="file", key=key, run="r", data={"cloud": "c"}) for key in ("a", "b"))


@dataclass
class Destroyer:
    """The part of a driver that a ledger uses: remembers what it was to destroy, wave by wave."""

    destroyed: list[Resource] = field(default_factory=list[Resource])
    waves: list[list[Resource]] = field(default_factory=list[list[Resource]])

    def destroy_batches(self, resources: Sequence[Resource]) -> Iterator[Sequence[Resource]]:
        for item in reversed(resources):
            self.waves.append([item])
            yield [item]

    def destroy(self, resource: Resource) -> None:
        self.destroyed.append(resource)


def undone(ledger: RecordingLedger) -> list[Resource]:
    driver = Destroyer()
    ledger.undo(cast("Driver[Any]", driver))
    return driver.destroyed


# ---- the journal ----------------------------------------------------------------------------------------------------


def test_what_was_made_replaces_what_was_intended_and_is_undone_last_first() -> None:
    ledger = RecordingLedger()
    ledger.intend(FIRST)
    ledger.made(replace(FIRST, id="1"))
    ledger.intend(SECOND)
    assert undone(ledger) == [SECOND, replace(FIRST, id="1")]
    assert undone(ledger) == []


def test_what_is_kept_is_not_undone() -> None:
    ledger = RecordingLedger()
    for resource in (FIRST, SECOND):
        ledger.intend(resource)
    ledger.kept(FIRST)
    ledger.kept(FIRST)
    assert undone(ledger) == [SECOND]


def test_what_was_handed_over_is_nobodys_to_undo() -> None:
    ledger = RecordingLedger()
    ledger.intend(FIRST)
    assert not ledger.committed
    ledger.commit()
    assert ledger.committed
    assert undone(ledger) == []


@pytest.mark.parametrize(
    ("stop_at", "known"),
    [(1, []), (2, [None]), (3, [None]), (4, ["1"]), (5, ["1"]), (6, []), (7, [])],
)
def test_each_line_has_a_point_before_and_one_after_it_is_written(stop_at: int, known: list[str | None]) -> None:
    ledger = RecordingLedger(stop_at)
    stopped = False
    try:
        ledger.intend(FIRST)
        ledger.made(replace(FIRST, id="1"))
        ledger.commit()
    except Stop:
        stopped = True
    assert stopped == (stop_at < 7)
    assert [resource.id for resource in undone(ledger)] == known


def test_records_go_through_json_as_in_another_process() -> None:
    ledger = RecordingLedger()
    ledger.intend(replace(FIRST, data={"ports": (1, 2)}))
    (resource,) = undone(ledger)
    assert resource.data == {"ports": [1, 2]}


# ---- an odd host ----------------------------------------------------------------------------------------------------


def attributes() -> tuple[object, ...]:
    umask = os.umask(0o022)
    os.umask(umask)
    limits = [rlimits.getrlimit(kind) for kind in (rlimits.RLIMIT_FSIZE, rlimits.RLIMIT_CORE)]
    return umask, limits, signal.getsignal(signal.SIGQUIT), signal.getsignal(signal.SIGUSR1)


def test_an_odd_host_is_odd() -> None:
    with odd_host():
        umask, limits, quit_, usr1 = attributes()
    assert umask == 0o077
    assert isinstance(limits, list)
    assert [soft for soft, _ in limits] == [odd_limit(hard) for _, hard in limits]
    assert quit_ is usr1 is signal.SIG_IGN


@pytest.mark.parametrize(("hard", "soft"), [(rlimits.RLIM_INFINITY, 1 << 40), (1 << 50, 1 << 40), (4096, 4096), (0, 0)])
def test_an_odd_limit_can_be_set_on_any_host(hard: int, soft: int) -> None:
    assert odd_limit(hard) == soft


@pytest.mark.parametrize("error", [None, ZeroDivisionError("in the block")])
def test_an_odd_host_is_then_as_before(error: Exception | None) -> None:
    def block() -> None:
        with odd_host():
            if error is not None:
                raise error

    before = attributes()
    with nullcontext() if error is None else pytest.raises(ZeroDivisionError):
        block()
    assert attributes() == before


SIGNAL = {10: 1 << 9, 17: 1 << 16, 32: 1 << 31, 33: 1 << 32, 34: 1 << 33}
"""The bit of a signal's number in a mask of /proc/PID/status: proc_pid_status(5)."""


def printed(
    *,
    umask: str = "0022",
    ignored: int = 0,
    blocked: int = 0,
    nice: str = "0",
    groups: str = "0",
    personality: int = 0,
) -> str:
    masks = [f"{ignored:016x}", f"{blocked:016x}"]
    lines = [umask, *masks, "0", nice, "unlimited", "0", "0", groups, f"{personality:08x}"]
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("mask", [0, SIGNAL[32], SIGNAL[33], SIGNAL[32] | SIGNAL[33]])
def test_libcs_own_signals_do_not_count(mask: int) -> None:
    assert begun_with(printed(ignored=mask, blocked=mask)) == DEFINED


@pytest.mark.parametrize(
    ("output", "place", "value"),
    [
        (printed(umask="0077"), 0, "0077"),
        (printed(ignored=SIGNAL[10]), 1, "0000000000000200"),
        (printed(ignored=SIGNAL[34] | SIGNAL[33]), 1, "0000000200000000"),
        (printed(blocked=SIGNAL[17]), 2, "0000000000010000"),
        (printed(nice="5"), 4, "5"),
        (printed(groups="0 27"), 8, "0 27"),
        (printed(personality=8), 9, "00000008"),
    ],
)
def test_whatever_else_a_task_begins_with_counts(output: str, place: int, value: str) -> None:
    begun = begun_with(output)
    assert begun[place] == value
    assert [here for here, (was, is_) in enumerate(zip(DEFINED, begun, strict=True)) if was != is_] == [place]
