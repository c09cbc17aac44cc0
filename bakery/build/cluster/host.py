"""All tries of builds on this worker, and what a client may ask of it."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from bakery.build.cluster.attempt import AT_ONCE, Attempt
from bakery.build.cluster.content import CHUNK, ContentStore
from bakery.build.cluster.processes import BuildTemplates
from bakery.cache import bases
from bakery.cache.checkpoints.store import Store
from bakery.drivers.registry import Registry
from bakery.errors import BakeryError, CleanupError, UsageError
from bakery.model import Json, to_json
from bakery.state.gc import collect
from bakery.state.project import State
from bakery.util.context import WorkContext
from bakery.util.files import write_whole
from bakery.util.waiting import Cancel

LONGEST: Final = 2.0
"""Seconds that a question waits for something new."""
TOGETHER: Final = 0.1
"""Seconds in which news are gathered that nobody waits for, so that they travel together."""
CLOSING: Final = 0.5
"""Seconds between two looks at whether Dask's worker closes."""
BASES: Final = "bases.json"
"""The file of the bases that builds have started from here."""
REMEMBERED: Final = 1000
"""Runs that are over, and begin nothing here any more; tries that clients have taken."""


class BuildHost:
    """The tries of builds on this worker. It outlives the connection to a scheduler.

    Args:
        folder: the worker's own: projects, content, a folder for each try.
        cache: the host's cache of bases and checkpoints.
        slots: builds at once, also where a new scheduler does not know of those that still go on.
        tell: told what a person at the worker should know.
    """

    def __init__(self, folder: Path, cache: Path, slots: int, tell: Callable[[str], None]) -> None:
        self.folder = folder
        self.cache = cache
        self.content = ContentStore(folder / "content")
        self.attempts: dict[str, Attempt] = {}
        self._over: list[str] = []
        self._settled: list[str] = []
        self._tell = tell
        self._slots = threading.Semaphore(slots)
        self._lock = threading.Lock()
        self.templates = BuildTemplates()
        self._news: dict[str, asyncio.Event] = {}
        self._due: set[str] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def serve_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer on this event loop from now on."""
        self._loop = loop

    def handlers(self) -> dict[str, Callable[..., Any]]:
        """Return what a client may call, by its name."""
        return {
            "bake_poll": self.poll,
            "bake_put": self.put,
            "bake_get": self.get,
            "bake_secrets": self.give_secrets,
            "bake_answer": self.answer,
            "bake_end": self.end,
            "bake_settle": self.settle,
            "bake_over": self.over,
            "bake_attempts": self.describe,
            "bake_holdings": self.holdings,
            "bake_gc": self.gc,
        }

    # ---- in a thread of Dask's -----------------------------------------------------------------------------------

    def carry_out(self, text: str, is_closing: Callable[[], bool]) -> str:
        """Make one image; returns the try's number once nothing of it runs any more, or once Dask's worker closes.

        A build is not Dask's: it goes on while its scheduler is restarted.
        """
        number = secrets.token_hex(3)
        attempt = Attempt(
            number,
            text,
            folder=self.folder / "attempts" / number,
            content=self.content,
            cache=self.cache,
            projects=self.folder / "projects",
            templates=self.templates,
            changed=lambda prompt: self._changed(attempt.assignment.run, prompt),
        )
        with self._lock:
            if attempt.assignment.run in self._over:
                return ""
            self.attempts[number] = attempt
        thread = threading.Thread(target=self._run, args=(attempt,), name=f"build-{number}")
        thread.start()
        while thread.is_alive() and not is_closing():
            thread.join(CLOSING)
        return number

    def _run(self, attempt: Attempt) -> None:
        build = f"{attempt.assignment.build} of {attempt.assignment.run}"
        with self._slots:
            self._tell(f"{build} begins ({attempt.number})")
            attempt.run()
            if attempt.made:
                self._learn_base(attempt.assignment.base_digest)
            self._tell(f"{build} has ended ({attempt.number})")

    def _changed(self, run: str, prompt: bool) -> None:
        """There is news of a run: now, or a little later together with what comes until then."""
        loop = self._loop
        if loop is None or loop.is_closed() or (not prompt and run in self._due):
            return
        if not prompt:
            self._due.add(run)
        loop.call_soon_threadsafe(self._tell_news if prompt else self._tell_news_later, run)

    def _tell_news_later(self, run: str) -> None:
        if self._loop is not None:
            self._loop.call_later(TOGETHER, self._tell_news, run)

    def _tell_news(self, run: str) -> None:
        self._due.discard(run)
        self._news_of(run).set()

    def _news_of(self, run: str) -> asyncio.Event:
        return self._news.setdefault(run, asyncio.Event())

    # ---- what a client calls ---------------------------------------------------------------------------------------

    async def poll(self, run: str, after: Mapping[str, int], wait: float) -> dict[str, Any]:
        """Return what the tries of a run said; waits a little where there is nothing new. Renews their leases.

        Args:
            run: the client's run.
            after: try to how many of its messages the client has; -1 for one that it gave up, whose lease runs out.
            wait: seconds to wait at most.
        """
        news, before = self._news_of(run), {attempt.number for attempt in self._of(run)}
        if before <= after.keys():  # of another one the client does not know anything yet
            with suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), min(wait, LONGEST))
        news.clear()
        told: list[dict[str, Any]] = [
            {"attempt": attempt.number, "build": attempt.assignment.build, "first": first, "messages": messages}
            for attempt in self._of(run)
            if after.get(attempt.number, 0) >= 0
            for first, messages in [attempt.taken(after.get(attempt.number, 0))]
        ]
        if any(len(one["messages"]) >= AT_ONCE for one in told):  # there may be more
            news.set()
        return {"now": time.time(), "attempts": told}

    async def put(self, digest: str, offset: int, data: bytes, last: bool) -> int:
        """Take a piece of a file; return where the next begins."""
        return await asyncio.to_thread(self.content.put, digest, offset, bytes(data), last=last)

    async def get(self, attempt: str, path: str, offset: int) -> bytes:
        """Return a piece of a file of a try."""
        folder = self._attempt(attempt).state.folder
        file = (folder / path).resolve()
        if not file.is_relative_to(folder.resolve()):
            raise UsageError(f"{path!r} is no file of the build's")
        return await asyncio.to_thread(_piece, file, offset)

    async def give_secrets(self, attempt: str, secrets: Mapping[str, str]) -> None:
        """Take the secrets that a try was waiting for."""
        self._attempt(attempt).give_secrets(secrets)

    async def answer(self, attempt: str, told: Mapping[str, Any]) -> None:
        """Answer a question of a build."""
        self._attempt(attempt).answer(told)

    async def end(self, attempt: str, reason: str) -> None:
        """Cancel a build."""
        self._attempt(attempt).end(reason)

    async def settle(self, attempt: str, keep_base: str) -> bool:
        """Forget a try: the client has all of it. False for one that is not known: what it made is destroyed."""
        settled = self.attempts.get(attempt)
        if settled is not None:
            await asyncio.to_thread(settled.settle, keep_base=keep_base)
            self.attempts.pop(attempt, None)
            self._settled = [*self._settled, attempt][-REMEMBERED:]
        return attempt in self._settled  # the answer may have been lost, so that it is asked again

    async def over(self, run: str) -> None:
        """Begin nothing more of a run, and end what still goes on."""
        with self._lock:
            self._over = [*self._over, run][-REMEMBERED:]
        for attempt in self._of(run):
            attempt.end("the run is over")
        self._news.pop(run, None)

    async def describe(self) -> list[dict[str, Any]]:
        """Say what goes on here."""
        return [
            {"attempt": attempt.number, "run": attempt.assignment.run, "build": attempt.assignment.build}
            for attempt in list(self.attempts.values())
            if not attempt.ended
        ]

    async def holdings(self, builds: list[str]) -> dict[str, Any]:
        """Say what is here already: checkpoints of some builds, and bases."""
        return await asyncio.to_thread(self._holdings, frozenset(builds))

    def _holdings(self, builds: frozenset[str]) -> dict[str, Any]:
        made_for = [entry.made_for.get("build", "") for entry in Store(WorkContext(cache=self.cache)).ls()]
        counts = {build: made_for.count(build) for build in builds.intersection(made_for)}
        cached = [entry.name for entry in bases.ls(self.cache) if entry.name.startswith("bases/")]
        return {"builds": counts, "bases": sorted(self._bases()), "cached": sorted(cached)}

    def _bases(self) -> set[str]:
        """Return the digests of bases that builds of this worker have started from."""
        file = self.folder / BASES
        try:
            return set(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError):  # none yet, or damaged: it only says where a build would best be
            return set()

    def _learn_base(self, digest: str) -> None:
        with self._lock:
            known = self._bases()
            if digest and digest not in known:
                write_whole(self.folder / BASES, json.dumps(sorted({*known, digest})))

    async def gc(self, run: str, dry_run: bool) -> dict[str, Any]:
        """Destroy what dead tries left here; of one run, or of all where none is named."""
        return await asyncio.to_thread(self.sweep, run, dry_run=dry_run)

    def _of(self, run: str) -> list[Attempt]:
        return [attempt for attempt in list(self.attempts.values()) if attempt.assignment.run == run]

    def _attempt(self, number: str) -> Attempt:
        if number not in self.attempts:
            raise UsageError(f"no build {number} is known here")
        return self.attempts[number]

    # ---- looking after it -------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """End all that goes on here, and wait until what it made is destroyed."""
        for attempt in list(self.attempts.values()):
            attempt.end("the worker is being stopped")
        while any(not attempt.ended for attempt in self.attempts.values()):  # noqa: ASYNC110  threads end them
            await asyncio.sleep(0.1)

    async def look_after(self) -> None:
        """Destroy what no client has taken when its lease is over; for as long as the worker lives."""
        while True:
            await asyncio.sleep(1.0)
            for attempt in [one for one in list(self.attempts.values()) if one.ended and one.expired]:
                try:
                    await asyncio.to_thread(attempt.discard)
                except BakeryError as error:
                    self._tell(f"{attempt.assignment.build}: something is left: {error}")
                self.attempts.pop(attempt.number, None)

    def sweep(self, run: str = "", *, dry_run: bool = False) -> dict[str, Any]:
        """Destroy what earlier processes left: by their journals, as `bake gc` does.

        Args:
            run: only of this run.
            dry_run: only say what would go.

        Returns:
            As JSON values: what is gone (`destroyed`, resources), what is `left` (texts), which runs are `alive`.
        """
        gone: list[Json] = []
        left: list[str] = []
        alive: list[str] = []
        known = {attempt.folder for attempt in list(self.attempts.values())}
        for folder in sorted((self.folder / "attempts").glob("*")):
            state = State(folder / "state", self.cache)
            runs = [one.id for one in state.runs()]
            if run and run not in runs:
                continue
            if folder in known or any(one.alive for one in state.runs()):
                alive += runs
                continue
            swept = collect(state, Registry().get, dry_run=dry_run, cancel=Cancel())
            errors: list[CleanupError] = list(swept.left)
            if not dry_run:
                errors += _delete_images(state)
            gone += [to_json(resource) for resource in swept.destroyed]
            left += [str(error) for error in errors]
            if not (errors or swept.damaged or dry_run):
                shutil.rmtree(folder, ignore_errors=True)
        return {"destroyed": gone, "left": left, "alive": alive}


def _delete_images(state: State) -> list[CleanupError]:
    """Delete images that were kept for a client who never took them."""
    errors: list[CleanupError] = []
    for image in state.images():
        try:
            Registry().get(image.driver).delete(image)
        except BakeryError as error:
            errors.append(CleanupError(f"{image.id} could not be deleted", why=str(error)))
        else:
            state.forget_image(image)
    return errors


def _piece(file: Path, offset: int) -> bytes:
    with file.open("rb") as opened:
        opened.seek(offset)
        return opened.read(CHUNK)
