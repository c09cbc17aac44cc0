"""What every driver must hold to, as a class of tests: subclass it, say where the provider is, run pytest.

class TestMyDriver(DriverContract):
    driver_class = MyDriver

    @pytest.fixture
    def source(self): return MySource(...)

    @pytest.fixture
    def exists(self): return lambda: {names of all that exists at the provider}
"""

from __future__ import annotations

import itertools
import json
import os
import resource as rlimits
import signal
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from bakery.drivers.base import Driver
from bakery.machine.command import Command
from bakery.machine.transport.link import Link
from bakery.model import Artifact, Handle, Resource, Source, Where, from_json, to_json
from bakery.state.claim import Claim
from bakery.state.ssh_keys import make_keys

Exists = Callable[[], set[str]]


ATTRIBUTES = r"""
umask
sed -n 's/^Sig\(Ign\|Blk\):.//p' /proc/self/status
cat /proc/self/oom_score_adj
cut -d ' ' -f 19 /proc/self/stat
ulimit -f
ulimit -c
id -G root; id -G
cat /proc/self/personality 2>/dev/null || echo 00000000
"""
"""What a task is started with: umask, signals, the kernel's opinion, niceness, limits, groups, personality."""
DEFINED = ("0022", "0" * 16, "0" * 16, "0", "0", "unlimited", "0", "0", "0", "00000000")


@contextmanager
def odd_host() -> Generator[None]:
    """Make this process one whose children inherit an odd umask, limits and ignored signals, while the block runs."""
    signals = (signal.SIGQUIT, signal.SIGUSR1)
    handlers = [signal.signal(number, signal.SIG_IGN) for number in signals]
    before = [(kind, rlimits.getrlimit(kind)) for kind in (rlimits.RLIMIT_FSIZE, rlimits.RLIMIT_CORE)]
    umask = os.umask(0o077)
    for kind, (_, hard) in before:
        rlimits.setrlimit(kind, (odd_limit(hard), hard))
    try:
        yield
    finally:
        os.umask(umask)
        for kind, limits in before:
            rlimits.setrlimit(kind, limits)
        for number, handler in zip(signals, handlers, strict=True):
            signal.signal(number, handler)


def odd_limit(hard: int) -> int:
    """Return a soft limit that is no usual one, and not above a hard limit, which may be low on the tests' host."""
    return 1 << 40 if hard == rlimits.RLIM_INFINITY else min(1 << 40, hard)


def begun_with(output: str) -> tuple[str, ...]:
    """Read what ATTRIBUTES printed, to be compared with DEFINED.

    Signals 32 and 33, libc's own, are left out: glibc's posix_spawn, which make uses, ignores one and lets no one ask.
    Source: sysdeps/unix/sysv/linux/spawni.c of glibc; sigaction(2), as libc offers it, refuses these two.
    """
    umask, *rest = output.split("\n")[:-1]
    signals = (f"{int(mask, 16) & ~(0b11 << 31):016x}" for mask in rest[:2])
    return (umask, *signals, *rest[2:])


class Stop(Exception):  # noqa: N818  it stands for a crash
    """The ledger stops the driver here, as a crash would."""


@dataclass
class RecordingLedger:
    """A journal in memory that can crash its driver at any line.

    Args:
        stop_at: crash at this line, from 1; each line has two points, before and after it is written.
    """

    stop_at: int | None = None
    points: int = 0
    resources: dict[tuple[str, str], Resource] = field(default_factory=dict[tuple[str, str], Resource])
    committed: bool = False

    def intend(self, resource: Resource) -> None:
        """Take a line."""
        self._write(resource)

    def made(self, resource: Resource) -> None:
        """Take a line."""
        self._write(resource)

    def kept(self, resource: Resource) -> None:
        """Forget one: it is to stay."""
        self._point()
        self.resources.pop((resource.kind, resource.key), None)
        self._point()

    def commit(self) -> None:
        """Forget all: it is the user's."""
        self._point()
        self.resources.clear()
        self.committed = True
        self._point()

    def _write(self, resource: Resource) -> None:
        self._point()
        self.resources[resource.kind, resource.key] = resource
        self._point()

    def _point(self) -> None:
        self.points += 1
        if self.points == self.stop_at:
            raise Stop

    def undo(self, driver: Driver[Any]) -> None:
        """Destroy what is written down, from records that went through JSON, as a later process would: in its waves."""
        for wave in driver.destroy_batches(list(self.resources.values())):
            for resource in wave:
                data: dict[str, Any] = json.loads(json.dumps(to_json(resource)))
                data.pop("type")
                driver.destroy(Resource(**data))
        self.resources.clear()


class DriverContract:
    """Tests that every driver passes. Subclasses give `driver_class`, `source` and `exists`."""

    driver_class: ClassVar[type[Driver[Any]]]
    marker: ClassVar[str] = "/root/bakery-contract"

    # ---- to be given -------------------------------------------------------------------------------------------

    @pytest.fixture
    def source(self) -> Source:
        """Return a source whose machine comes up and lets us in."""
        raise NotImplementedError

    @pytest.fixture
    def exists(self) -> Exists:
        """Return a function that names everything that exists at the provider."""
        raise NotImplementedError

    @pytest.fixture
    def where(self) -> Where:
        """Return where `find` must look."""
        return Where()

    @pytest.fixture
    def crash_points(self) -> Iterable[int]:
        """Return after which lines of the journal a launch crashes, counted from 1; the last is past its end."""
        return itertools.count(1)

    # ---- helpers -----------------------------------------------------------------------------------------------

    @pytest.fixture
    def driver(self) -> Driver[Any]:
        """Return a driver."""
        return self.driver_class()

    @pytest.fixture
    def claim(self, tmp_path: Path) -> Callable[..., Claim]:
        """Return a maker of claims, each with its own ledger."""
        count = iter(range(1, 1000))

        def make(ledger: RecordingLedger | None = None, role: str = "build") -> Claim:
            number = next(count)
            folder = tmp_path / "machines" / str(number)
            folder.mkdir(parents=True)
            images = tmp_path / "images"
            images.mkdir(exist_ok=True)
            run = f"contract-{tmp_path.name}"
            return Claim(
                cache=tmp_path / "cache",
                run=run,
                build="image@here",
                role=role,
                name=f"bakery-{run}-{number}",
                folder=folder,
                keys=make_keys("contract"),
                images=images,
                ledger=ledger or RecordingLedger(),
                driver=self.driver_class.name,
                tags={"bakery:run": run, "bakery:build": "image@here", "bakery:expires": "2100-01-01T00:00:00Z"},
            )

        return make

    @contextmanager
    def machine(self, driver: Driver[Any], boot: Any, claim: Claim) -> Generator[tuple[Handle, Link]]:
        """Launch, connect, and destroy."""
        ledger = claim.ledger
        assert isinstance(ledger, RecordingLedger)
        try:
            handle = driver.launch(boot, claim)
            link = Link(lambda: driver.endpoint(handle), claim.keys, claim, console=lambda: driver.console(handle))
            try:
                link.open()
                yield handle, link
            finally:
                link.close()
        finally:
            ledger.undo(driver)

    # ---- the tests ---------------------------------------------------------------------------------------------

    def test_it_says_what_it_is_called_and_what_users_return(self, source: Source) -> None:
        assert self.driver_class.name
        assert issubclass(self.driver_class.source, Source)
        assert isinstance(source, self.driver_class.source)
        assert source.driver == self.driver_class.name

    def test_a_source_is_data_that_a_plan_can_show(self, source: Source) -> None:
        assert json.loads(json.dumps(to_json(source)))["type"] == type(source).__name__

    def test_pre_flight_finds_nothing_wrong_and_makes_nothing(
        self, driver: Driver[Any], source: Source, exists: Exists
    ) -> None:
        before = exists()
        assert [problem for problem in driver.check(source) if problem.fatal] == []
        assert exists() == before

    def test_what_was_done_on_a_machine_is_in_its_image_and_nothing_else_is_left(
        self, driver: Driver[Any], source: Source, exists: Exists, claim: Callable[..., Claim]
    ) -> None:
        before = exists()
        image_ledger = RecordingLedger()
        with odd_host(), self.machine(driver, source, claim()) as (handle, link):
            assert link.open().run(f"echo baked > {self.marker}; sync").ok
            line, _ = Command(command=ATTRIBUTES).line(link.open().user)
            begun = begun_with(link.open().run(line).stdout)
            assert begun == DEFINED, begun
            link.close()
            artifact = driver.capture(handle, "contract", claim(image_ledger, "image"))
        artifact = Artifact.from_json(json.loads(json.dumps(to_json(artifact))))
        assert exists() != before, "the image must exist"
        with self.machine(driver, artifact, claim(role="smoke")) as (_, link):
            assert link.open().run(f"cat {self.marker}").stdout == "baked\n"
        kept = driver.keep(artifact, "contract", claim(image_ledger, "keep"))
        image_ledger.commit()
        assert driver.intact(kept)
        driver.delete(kept)
        assert not driver.intact(kept)
        assert exists() == before

    def test_another_process_reaches_a_machine_by_its_handle_and_makes_an_image_of_it(
        self, driver: Driver[Any], source: Source, exists: Exists, claim: Callable[..., Claim]
    ) -> None:
        before = exists()
        ledger, image_ledger = RecordingLedger(), RecordingLedger()
        made = claim(ledger)
        try:
            handle = driver.launch(source, made)
            Link(lambda: driver.endpoint(handle), made.keys, made).open().close()
            other = self.driver_class()  # as in another process, after this one was killed
            known = from_json(Handle, json.loads(json.dumps(to_json(handle))))
            link = Link(lambda: other.endpoint(known), made.keys, made, console=lambda: other.console(known))
            link.open().end_leftovers()
            assert link.open().run("echo here").stdout == "here\n"
            link.close()
            artifact = other.capture(known, "contract", claim(image_ledger, "image"))
            assert artifact.id
        finally:
            ledger.undo(self.driver_class())
            image_ledger.undo(self.driver_class())
        assert exists() == before

    def test_a_crash_at_any_line_of_the_launch_leaves_nothing_that_the_journal_does_not_know(
        self, source: Source, exists: Exists, claim: Callable[..., Claim], crash_points: Iterable[int]
    ) -> None:
        before = exists()
        for stop_at in crash_points:
            driver, ledger = self.driver_class(), RecordingLedger(stop_at)
            try:
                driver.launch(source, claim(ledger))
            except Stop:
                crashed = True
            else:
                crashed = False
            ledger.undo(self.driver_class())  # another instance, as in another process
            assert exists() == before, f"leaked after a crash at point {stop_at}"
            if not crashed:
                return

    def test_destroying_twice_and_destroying_what_never_was_are_no_errors(
        self, driver: Driver[Any], source: Source, exists: Exists, claim: Callable[..., Claim]
    ) -> None:
        before = exists()
        ledger = RecordingLedger()
        driver.launch(source, claim(ledger))
        resources = list(ledger.resources.values())
        ledger.undo(driver)
        for resource in reversed(resources):
            driver.destroy(resource)
        never = claim(RecordingLedger())
        for resource in resources:
            driver.destroy(
                Resource(driver=resource.driver, kind=resource.kind, key=f"{never.name}-never", data=resource.data)
            )
        assert exists() == before

    def test_what_exists_is_found_by_its_tags_and_what_is_gone_is_not(
        self, driver: Driver[Any], source: Source, claim: Callable[..., Claim], where: Where
    ) -> None:
        ledger = RecordingLedger()
        made = claim(ledger)
        try:
            handle = driver.launch(source, made)
            found = list(driver.find(Where(run=made.run, settings=where.settings)))
            assert any(handle.id in (resource.id, resource.key) for resource in found), found
            assert list(driver.find(Where(run="another-run", settings=where.settings))) == []
            for resource in reversed(found):
                driver.destroy(resource)
            assert list(driver.find(Where(run=made.run, settings=where.settings))) == []
        finally:
            ledger.undo(driver)
