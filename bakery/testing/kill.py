"""The kill matrix: SIGKILL a build before and after every line of its journal, then see what `bake gc` leaves.

Ready for any driver: give it a project folder with an imagefile, and a function that describes all that exists at the
provider. After each kill and a `bake gc` in a new process, the description must be the one from before, or that of a
build that had already handed its tested image over.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bakery.errors import BakeryError


@dataclass(frozen=True, kw_only=True)
class Killed:
    """One point of the matrix.

    Args:
        point: its number, from 1; two for each line of the journal.
        place: `before intend folder machine ...`.
        exit_code: of the build: -9.
        gc_code: of `bake gc`.
        left: what differs from before; empty when nothing leaked.
        output: what both printed.
    """

    point: int
    place: str
    exit_code: int
    gc_code: int
    left: tuple[str, ...]
    output: str


@dataclass(kw_only=True)
class KillMatrix:
    """A build to be killed at every point.

    Args:
        project: folder with the imagefile.
        exists: describes all that exists at the provider, one text for each thing; kept images included.
        image: tells the texts that are kept images, which a build killed after the hand-over may leave.
        words: arguments of `bake build`.
        environ: for the child processes.
        timeout: seconds for one process.
        after_kill: called after each kill, before anything is cleaned up: looks at what the dead processes left.
    """

    project: Path
    exists: Callable[[], set[str]]
    image: Callable[[str], bool] = lambda _: False
    words: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict[str, str])
    timeout: float = 600.0
    after_kill: Callable[[], object] = lambda: None

    def places(self) -> list[str]:
        """Run the build once, unharmed, and return its points in order.

        Raises:
            BakeryError: the build fails already without being killed.
        """
        trace = self.project / "points.txt"
        trace.unlink(missing_ok=True)
        done = self._bake("build", *self.words, BAKERY_CRASH_AT="0", BAKERY_CRASH_TRACE=str(trace))
        if done.returncode != 0:
            raise BakeryError("the build fails without being killed", why=done.stdout + done.stderr)
        return [line.partition(" ")[2] for line in trace.read_text(encoding="utf-8").splitlines()]

    def kill_at(self, point: int) -> Killed:
        """Kill the build at one point, let `bake gc` clean up, and compare."""
        before = self.exists()
        trace = self.project / "points.txt"
        trace.unlink(missing_ok=True)
        killed = self._bake("build", *self.words, BAKERY_CRASH_AT=str(point), BAKERY_CRASH_TRACE=str(trace))
        self.after_kill()
        swept = self._bake("gc")
        after = self.exists()
        lines = trace.read_text(encoding="utf-8").splitlines()
        left = {thing for thing in after - before if not self.image(thing)}
        left |= {f"lost: {thing}" for thing in before - after if not self.image(thing)}
        return Killed(
            point=point,
            place=lines[-1].partition(" ")[2] if lines else "",
            exit_code=killed.returncode,
            gc_code=swept.returncode,
            left=tuple(sorted(left)),
            output=killed.stdout + killed.stderr + swept.stdout + swept.stderr,
        )

    def run(self, points: Iterator[int] | None = None) -> Iterator[Killed]:
        """Kill at all points, or at some of them."""
        for point in points or iter(range(1, len(self.places()) + 1)):
            yield self.kill_at(point)

    def _bake(self, *words: str, **environ: str) -> subprocess.CompletedProcess[Any]:
        return subprocess.run(
            [sys.executable, "-m", "bakery", "-C", str(self.project), *words],
            check=False,
            capture_output=True,
            text=True,
            timeout=self.timeout,
            env={**os.environ, **self.environ, **environ},
            stdin=subprocess.DEVNULL,
        )
