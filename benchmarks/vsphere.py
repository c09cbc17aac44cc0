"""What a bake in a vCenter takes besides its guests' own boots: vcsim over TLS, a QEMU guest behind each machine.

Not among the cases that run without an argument, as it needs what vcsim is built from: `apt install golang-go
golang-github-vmware-govmomi-dev`. Packer 1.6.6's vsphere-clone never ends here: it waits for an address in
`guest.net`, which vcsim does not fill.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from bakery.testing.aws.tiny import tiny_guest
from benchmarks.bench import Aim, Project, Row
from tests.contract.vcsim import CACHE, Reply, SoapRequest, VCenterStandIn

IMAGEFILE = """
import bakery
from bakery.drivers import VSphere

@bakery.source
def center() -> VSphere:
    return VSphere(base="tiny", cluster="DC0_C0", poll=0.2)

@bakery.task
def hello(m):
    m.run("echo hello >/root/hello")

@bakery.test
def said_hello(host):
    assert host.file("/root/hello").contains("hello")

@bakery.image(builtin_tests=False)
def timed_ours(): ...
"""
ROUNDS = int(os.environ.get("BAKERY_BENCH_ROUNDS", "1"))
READY = b"rig-guest-ready"
"""What the tiny guest says on its console once its SSH server runs."""
LOOK = 0.02
AIM = 3.0
"""Seconds that a bake may take besides its guests' own boots."""


@dataclass
class GuestWatch:
    """Watches the guests of a rig, without talking to them; a context manager.

    Args:
        rig: the folder of their files.
        boots: seconds of each start: from the request to power on until the guest's SSH server runs.
        offs: seconds of each end: from the request to shut down until QEMU has ended.
    """

    rig: Path
    boots: list[float] = field(default_factory=list[float])
    offs: list[float] = field(default_factory=list[float])
    _started: dict[str, float] = field(default_factory=dict[str, float])
    _asked: dict[str, float] = field(default_factory=dict[str, float])
    _seen: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._stop.set()
        self._thread.join()

    def hear(self, call: SoapRequest) -> Reply | None:
        """Note when a guest is asked to start, and to shut down."""
        if call.method == "PowerOnVM_Task":
            self._started[call.moid] = time.time()
        if call.method == "ShutdownGuest":
            self._asked[call.moid] = time.monotonic()
        return None

    def _run(self) -> None:
        while not self._stop.wait(LOOK):
            for console in self.rig.glob("*.console"):
                self._look(console)
            for guest, asked in list(self._asked.items()):
                if not _runs(self.rig / f"{guest}.pid"):
                    self.offs.append(time.monotonic() - asked)
                    del self._asked[guest]

    def _look(self, console: Path) -> None:
        try:
            at = console.with_suffix(".pid").stat()  # QEMU writes it when it starts
            key = (console.stem, at.st_mtime_ns)
            if key in self._seen or READY not in console.read_bytes():
                return
        except OSError:  # the guest is just made, or gone
            return
        self._seen.add(key)
        self.boots.append(time.time() - self._started[console.stem])


def _runs(pid: Path) -> bool:
    try:
        return Path(f"/proc/{int(pid.read_text())}").exists()
    except (OSError, ValueError):
        return False


def run(folder: Path) -> list[Row]:
    """Measure builds without and with smoke tests."""
    with VCenterStandIn(folder / "front", guests=tiny_guest(CACHE)) as front:
        project = Project(folder / "ours", environ=front.environment)
        project.write(IMAGEFILE)
        project.bake("--no-cache")  # Python's bytecode is there for both
        return [
            _best("vSphere, no smoke test", front, project, "--no-test"),
            _best("vSphere, with smoke tests", front, project),
        ]


def _best(case: str, front: VCenterStandIn, project: Project, *words: str) -> Row:
    """Return the run that took the least besides its guests' boots."""
    found: list[tuple[float, Row]] = []
    for _ in range(ROUNDS):
        with GuestWatch(front.rig) as guests:
            front.fault = guests.hear
            ours = project.bake("--no-cache", *words)
        boots, offs = sum(guests.boots), sum(guests.offs)
        more = ours - boots
        note = f"{more:.1f} s more; in it the guest's shutdown, {offs:.1f} s; {project.phases()}"
        row = Row(case, f"{len(guests.boots)} guests' own boots", ours, boots, Aim(AIM, "more"), note)
        found.append((more, row))
    return min(found, key=lambda one: one[0])[1]
