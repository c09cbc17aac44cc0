"""A worker: a process of Dask's that takes builds, one for each slot, and stays when its scheduler goes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bakery.build.cluster.host import BuildHost
from bakery.build.cluster.offers import Offer
from bakery.build.cluster.security import Certificates, is_loopback, security
from bakery.errors import PreflightError
from bakery.model import Resource, from_json
from bakery.state.journal import lock

AGAIN: Final = 2.0
"""Seconds until a lost scheduler is looked for again."""
PATIENCE: Final = 30
"""Seconds that a scheduler may take to answer."""
CALM: Final = {"distributed": {"worker": {"profile": {"enabled": False}}, "admin": {"tick": {"interval": "500ms"}}}}
"""Defaults in place of Dask's: its profiler looks a hundred times a second at threads that only wait for builds."""


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """How a worker runs.

    Args:
        scheduler: its scheduler's address.
        certificates: for TLS.
        folder: its own.
        cache: the host's cache.
        offer: what its host can do.
        name: what it is called.
        host: the address on which it listens; None for one that the scheduler reaches.
        port: the port; 0 for any.
    """

    scheduler: str
    certificates: Certificates
    folder: Path
    cache: Path
    offer: Offer
    name: str
    host: str | None = None
    port: int = 0


def carry_out(text: str) -> str:
    """Make one image on the worker that runs this; what Dask calls there."""
    from distributed import Status, get_worker

    worker: Any = get_worker()
    host: BuildHost = worker.bakery_host  # put there below
    return host.carry_out(text, lambda: worker.status is not Status.running)


def serve(options: WorkerOptions, tell: Callable[[str], None]) -> None:
    """Take builds until a signal comes; then end what runs, and destroy what it made.

    Raises:
        PreflightError: no scheduler answers when it starts, or another worker has the folder.
    """
    try:
        held = lock(options.folder)
    except BlockingIOError:
        raise PreflightError(
            f"another worker has its things in {options.folder}", hint="--folder names another folder for this one"
        ) from None
    try:
        asyncio.run(_serve(options, tell))
    finally:
        os.close(held)


async def _serve(options: WorkerOptions, tell: Callable[[str], None]) -> None:
    host = BuildHost(options.folder, options.cache, options.offer.slots, tell)
    swept = await asyncio.to_thread(host.sweep)
    for resource in (from_json(Resource, data) for data in swept["destroyed"]):
        tell(f"destroyed {resource} of {resource.run}, which an earlier worker left")
    for text in swept["left"]:
        tell(f"something is left: {text}")
    loop = asyncio.get_running_loop()
    host.serve_on(loop)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    looking = asyncio.create_task(host.look_after())
    stopped = asyncio.create_task(stop.wait())
    first = True
    while not stop.is_set():
        await _one_life(options, host, stopped, tell, first=first)
        first = False
        if not stop.is_set():
            tell(f"the scheduler at {options.scheduler} is gone; looking for it again")
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), AGAIN)
    await host.stop()
    looking.cancel()
    host.templates.close()


async def _one_life(
    options: WorkerOptions, host: BuildHost, stopped: asyncio.Task[Any], tell: Callable[[str], None], *, first: bool
) -> None:
    """Serve one scheduler until it goes away or a signal comes."""
    import dask.config
    from distributed import Worker

    dask.config.update_defaults(CALM)
    listen = options.host or ("127.0.0.1" if is_loopback(options.scheduler) else None)
    worker: Any = Worker(
        options.scheduler,
        nthreads=options.offer.slots,
        name=options.name,
        resources=options.offer.resources(),
        security=security(options.scheduler, options.certificates),
        host=listen,
        port=options.port,
        local_directory=str(options.folder / "dask"),
        dashboard=False,
        memory_limit=0,
        death_timeout=PATIENCE,
        startup_information={"bakery": lambda _: _about(options)},
    )
    worker.handlers.update(host.handlers())
    worker.bakery_host = host  # where a task finds it
    try:
        await asyncio.wait_for(worker.start(), PATIENCE + 5)
    except (TimeoutError, OSError, ValueError) as error:
        with suppress(Exception):  # it never was there
            await worker.close(nanny=False)
        if first:
            raise PreflightError(
                f"no scheduler answers at {options.scheduler}",
                why=f"{type(error).__name__}: {error}",
                hint="start one: dask scheduler",
            ) from error
        return
    tell(f"takes builds for {options.scheduler}, at {worker.address}")
    finished = asyncio.create_task(worker.finished())
    await asyncio.wait({finished, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not finished.done():
        await host.stop()
        with suppress(Exception):  # the scheduler may be gone: nothing more depends on it
            await worker.close(nanny=False)
    finished.cancel()


def _about(options: WorkerOptions) -> dict[str, Any]:
    return {"host": os.uname().nodename, "pid": os.getpid(), "arch": options.offer.arch}
