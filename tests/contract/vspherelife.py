"""A whole life on vSphere without logging in: launch, capture, relaunch, keep; with ledgers that can crash."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest

from bakery.drivers.vsphere.driver import VSphereDriver
from bakery.drivers.vsphere.source import VSphere
from bakery.testing.contract import Stop
from tests.contract import cloudlife
from tests.contract.vcsim import VCenterStandIn

Front = TypeVar("Front", bound=VCenterStandIn)


class OneLedger(cloudlife.OneLedger):
    """One ledger for a whole life: images are handed over at the end, with the names of older ones."""

    handed: ClassVar[frozenset[str]] = frozenset({"image", "aside", "file", "library item", "library aside"})


@dataclass
class Life(cloudlife.CloudLife):
    """One build's life."""

    driver_class = VSphereDriver
    ledger: cloudlife.OneLedger = field(default_factory=OneLedger)


def borrow(shared: Front, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    """Yield a vCenter that several tests share, without faults; nothing may be left in it."""
    for name, value in shared.environment.items():
        monkeypatch.setenv(name, value)
    before = shared.exists()
    shared.calls.clear()
    shared.uploads.clear()
    shared.exports.forget()
    yield shared
    shared.fault = lambda _: None
    assert shared.exists() ^ before == set()


def lives(front: VCenterStandIn, folder: Path, **always: Any) -> Callable[..., Life]:
    """Return a maker of lives, one after the other.

    Args:
        front: the vCenter.
        folder: where their folders are.
        always: options that each source has.
    """
    numbers = itertools.count(1)

    def make(ledger: OneLedger | None = None, **changes: Any) -> Life:
        source = VSphere(**{**front.options, "settle": 0.0, "poll": 0.1, **always, **changes})
        return Life(source=source, folder=folder, ledger=ledger or OneLedger(), number=next(numbers))

    return make


def crash_everywhere(
    front: VCenterStandIn, begin: Callable[[OneLedger], Life], *, more_than: int, step: int = 1
) -> None:
    """Crash at lines of the journal on the way to an image, and see that each clean-up leaves nothing.

    Args:
        front: the vCenter.
        begin: returns a life with that ledger.
        more_than: points that there are at least, and one.
        step: 1 is every line, 3 one in three.
    """
    before = front.exists()
    for point in range(1, 100, step):
        one = begin(OneLedger(point))
        crashed = False
        try:
            one.image()
        except Stop:
            crashed = True
        finally:
            one.ledger.undo(VSphereDriver())
        assert front.exists() == before, f"leaked after a crash at point {point}"
        if not crashed:
            break
    assert point > more_than
