"""The client's side of a cluster: a connection to Dask's scheduler, and questions to its workers."""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from bakery.build.cluster.offers import makes_images
from bakery.build.cluster.security import Certificates, security
from bakery.build.cluster.worker import carry_out
from bakery.errors import DriverError, PreflightError

PATIENCE: Final = 15.0
"""Seconds that a scheduler or a worker may take to answer."""
LOOK: Final = 0.5
"""Seconds between two looks at which workers there are."""
SILENT: Final = 5.0
"""Seconds without an answer after which a worker counts as not reachable for now."""
WAIT: Final = 1.0
"""Seconds that a worker waits for news before it answers that there are none."""


@dataclass(frozen=True, kw_only=True)
class KnownWorker:
    """A worker of the cluster.

    Args:
        address: Dask's.
        name: what its owner called it.
        host: the host's name.
        offer: Dask's resources of it.
        used: those that are taken now.
        running: builds that it works on, as Dask knows it.
    """

    address: str
    name: str
    host: str
    offer: Mapping[str, float]
    used: Mapping[str, float] = field(default_factory=dict[str, float])
    running: int = 0


class Connection:
    """A connection to a cluster. Used from many threads; Dask's own event loop does the work.

    Args:
        address: the scheduler's.
        certificates: for TLS.

    Raises:
        PreflightError: it does not answer.
    """

    def __init__(self, address: str, certificates: Certificates) -> None:
        self.address = address
        self._security = security(address, certificates)
        self._client = self._connect()

    def _connect(self) -> Any:
        from distributed import Client

        parts = urlsplit(self.address)
        try:
            with socket.create_connection((parts.hostname or "", parts.port or 0), PATIENCE):
                pass  # Dask would try again and again, and say less of why it fails
            return Client(
                self.address,
                security=self._security,
                timeout=PATIENCE,
                set_as_default=False,
                name="bake",
                heartbeat_interval="2s",
            )
        except (OSError, TimeoutError, ValueError, RuntimeError) as error:
            raise PreflightError(
                f"no scheduler answers at {self.address}",
                why=f"{type(error).__name__}: {error}",
                hint="start one with `dask scheduler`, or build here: leave --on and BAKERY_CLUSTER away",
            ) from error

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Dask's event loop, which runs in a thread of its own."""
        loop: asyncio.AbstractEventLoop = self._client.loop.asyncio_loop
        return loop

    def submit(
        self, text: str, *, key: str, resources: Mapping[str, float], workers: Sequence[str], strictly: bool
    ) -> Any:
        """Have a build made, and return Dask's future.

        Args:
            text: the assignment.
            key: Dask's name of it, which its dashboard shows.
            resources: what it takes.
            workers: addresses where it would best be; empty where that does not matter.
            strictly: only there.
        """
        place: dict[str, Any] = {"workers": list(workers), "allow_other_workers": not strictly} if workers else {}
        return self._client.submit(carry_out, text, key=key, pure=False, resources=dict(resources), **place)

    def workers(self) -> list[KnownWorker]:
        """Return the workers that make images.

        Raises:
            DriverError: the scheduler does not answer.
        """
        return list(self.wait(self.look()))

    async def look(self) -> list[KnownWorker]:
        """Return the workers that make images."""
        told = await self._client.scheduler.identity(n_workers=-1)  # its default names five of them
        return [
            KnownWorker(
                address=address,
                name=str(worker["name"]),
                host=str(worker.get("bakery", {}).get("host", worker["host"])),
                offer=worker["resources"],
            )
            for address, worker in told["workers"].items()
            if makes_images(worker["resources"])
        ]

    def waiting(self, prefix: str) -> list[str]:
        """Return the keys of tasks that no worker has begun, by how they begin.

        Raises:
            DriverError: the scheduler does not answer.
        """

        async def look() -> list[str]:
            stacks, processing = await asyncio.gather(
                self._client.scheduler.call_stack(keys=None), self._client.scheduler.processing(workers=None)
            )
            begun = {key for worker in stacks.values() for key in worker}
            waiting = [key for keys in processing.values() for key in keys if key not in begun]
            return sorted(str(key) for key in waiting if str(key).startswith(prefix))

        return list(self.wait(look()))

    async def ask(self, worker: str, question: str, *, patience: float = PATIENCE, **what: Any) -> Any:
        """Ask a worker something, directly; wait for so many seconds."""
        return await asyncio.wait_for(getattr(self._client.rpc(worker), question)(**what), patience)

    def call(self, worker: str, question: str, *, patience: float = PATIENCE, **what: Any) -> Any:
        """Ask a worker something, from another thread.

        Raises:
            DriverError: it does not answer in so many seconds.
        """
        return self.wait(self.ask(worker, question, patience=patience, **what), 2 * patience)

    def wait(self, coroutine: Any, seconds: float = 2 * PATIENCE) -> Any:
        """Run something on Dask's loop, and return what it returns.

        Raises:
            DriverError: the cluster does not answer.
        """
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result(seconds)
        except (OSError, TimeoutError, concurrent.futures.TimeoutError) as error:
            future.cancel()
            raise DriverError(
                f"the cluster at {self.address} does not answer", why=f"{type(error).__name__}: {error}"
            ) from error

    def close(self) -> None:
        """Let go of the cluster; what still waits there is forgotten."""
        with suppress(OSError, TimeoutError):
            self._client.close(timeout=5)


class Followers:
    """Asks each worker of the cluster for what the builds of one run say, and hands it on.

    Args:
        connection: to the cluster.
        run: the run.
        deliver: gets each try's answer: the worker, the worker's clock less ours in seconds, and what it said.
    """

    def __init__(
        self, connection: Connection, run: str, deliver: Callable[[KnownWorker, float, Mapping[str, Any]], None]
    ) -> None:
        self._connection = connection
        self._run = run
        self._deliver = deliver
        self._lock = threading.Lock()
        self._after: dict[str, dict[str, int]] = {}
        self._over: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._main: concurrent.futures.Future[None] | None = None
        self.sent: dict[str, float] = {}
        """When a try was last asked after, which may have renewed its lease; in `time.monotonic`."""
        self.workers: list[KnownWorker] = []
        self.heard: dict[str, float] = {}
        """When a worker last answered, by its address; in the same."""
        self.seen = 0.0
        """When the scheduler last said which workers there are."""

    def start(self) -> None:
        """Begin."""
        self._main = asyncio.run_coroutine_threadsafe(self._watch(), self._connection.loop)

    def stop(self) -> None:
        """End; nothing is delivered afterwards."""
        if self._main is not None:
            self._main.cancel()
            with suppress(concurrent.futures.CancelledError, concurrent.futures.TimeoutError):
                self._main.result(PATIENCE)

    def answers(self, worker: KnownWorker) -> bool:
        """Say whether a worker has answered just now."""
        return time.monotonic() - self.heard.get(worker.address, 0.0) < SILENT

    def give_up(self, attempt: str) -> None:
        """Ask no more after a try: its lease runs out from now on."""
        with self._lock:
            for after in self._after.values():
                if attempt in after:
                    after[attempt] = -1

    def forget(self, attempt: str) -> None:
        """Think no more of a try: its worker knows nothing of it any more."""
        with self._lock:
            self._over.add(attempt)
            for after in self._after.values():
                after.pop(attempt, None)
            self.sent.pop(attempt, None)

    async def _watch(self) -> None:
        """Look which workers there are, and follow each."""
        try:
            while True:
                with suppress(OSError, TimeoutError):
                    self.workers = await asyncio.wait_for(self._connection.look(), PATIENCE)
                    self.seen = time.monotonic()
                there = {worker.address: worker for worker in self.workers}
                for address, worker in there.items():
                    if address not in self._tasks or self._tasks[address].done():
                        self._tasks[address] = asyncio.create_task(self._follow(worker))
                await asyncio.sleep(LOOK)
        finally:
            for task in self._tasks.values():
                task.cancel()

    async def _follow(self, worker: KnownWorker) -> None:
        """Ask one worker again and again; one that does not answer is asked for as long as it may hold a build."""
        failures = 0
        while failures == 0 or self._may_hold(worker):
            with self._lock:
                after = dict(self._after.setdefault(worker.address, {}))
                self.sent |= dict.fromkeys((name for name, number in after.items() if number >= 0), time.monotonic())
            try:
                answer = await self._connection.ask(worker.address, "bake_poll", run=self._run, after=after, wait=WAIT)
            except (OSError, TimeoutError):
                failures += 1
                await asyncio.sleep(LOOK)
                continue
            failures = 0
            self.heard[worker.address] = time.monotonic()
            self._take(worker, answer)

    def _may_hold(self, worker: KnownWorker) -> bool:
        return any(other.address == worker.address for other in self.workers)

    def _take(self, worker: KnownWorker, answer: Mapping[str, Any]) -> None:
        for told in answer["attempts"]:
            with self._lock:
                after = self._after.setdefault(worker.address, {})
                known = after.get(told["attempt"], 0)
                if known < 0 or told["attempt"] in self._over:
                    continue
                fresh = told["messages"][max(0, known - told["first"]) :]
                after[told["attempt"]] = max(known, told["first"] + len(told["messages"]))
            self._deliver(worker, answer["now"] - time.time(), {**told, "messages": fresh})
