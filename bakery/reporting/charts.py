"""Where bars and ticks stand on a page, as parts of a hundred."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bakery.events import BootTimed
from bakery.reporting.formatting import duration

STEPS: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400)
"""Seconds between two ticks, of which the first is taken that gives few enough."""
TICKS: Final = 7
NARROWEST: Final = 0.4
"""Percent of the width that the shortest bar has: it must be seen."""


@dataclass(frozen=True)
class Tick:
    """A line across a chart: where, and what stands above it."""

    left: float
    text: str


@dataclass(frozen=True)
class Bar:
    """A bar in a chart."""

    name: str
    left: float
    width: float
    text: str
    kind: str = ""


def ticks(total: float) -> list[Tick]:
    """Return the ticks of an axis from 0 to so many seconds."""
    step = next((step for step in STEPS if total / step <= TICKS), STEPS[-1])
    count = int(total / step + 1e-9)
    return [Tick(100 * number * step / total, _short(number * step)) for number in range(count + 1)]


def _short(seconds: float) -> str:
    if seconds == 0:
        return "0"
    return f"{seconds:g} s" if seconds < 60 else duration(seconds)  # noqa: PLR2004  a minute


def bar(name: str, began: float, seconds: float, total: float, *, kind: str = "") -> Bar:
    """Place a bar.

    Args:
        name: what it stands for.
        began: seconds from the chart's left edge.
        seconds: how long it is.
        total: seconds of the whole chart.
        kind: its style.
    """
    width = min(100.0, max(NARROWEST, 100 * seconds / total))
    left = min(100.0 - width, max(0.0, 100 * began / total))
    return Bar(name=name, left=round(left, 2), width=round(width, 2), text=duration(seconds), kind=kind)


@dataclass(frozen=True)
class BootChart:
    """A boot: its stages one after the other, and the units of its last stage."""

    total: float
    stages: list[Bar]
    units: list[Bar]
    ticks: list[Tick]


def boot_chart(boot: BootTimed) -> BootChart:
    """Lay out how a machine booted; units count from the kernel's start, which comes after firmware and loader."""
    total = max(0.001, sum(seconds for _, seconds in boot.stages))
    stages: list[Bar] = []
    at = kernel = 0.0
    for name, seconds in boot.stages:
        kernel = at if name == "kernel" else kernel
        stages.append(bar(name, at, seconds, total, kind=name))
        at += seconds
    units = [bar(name, kernel + began, seconds, total, kind="unit") for name, began, seconds in boot.units]
    return BootChart(total=total, stages=stages, units=units, ticks=ticks(total))
