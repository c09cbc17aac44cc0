"""One try of a build on this worker: its process, what it said and nobody has taken yet, and its lease."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from bakery.build.cluster import child
from bakery.build.cluster.archive import unpack
from bakery.build.cluster.assignment import Assignment, packed_error
from bakery.build.cluster.content import ContentStore
from bakery.build.cluster.messages import packed, unpacked
from bakery.build.cluster.processes import BuildProcess, BuildTemplates
from bakery.build.cluster.template import Wanted
from bakery.drivers.registry import Registry
from bakery.errors import BakeryError, DriverError, Interrupted
from bakery.model import Artifact
from bakery.state.gc import collect
from bakery.state.project import State
from bakery.util.files import write_whole
from bakery.util.process import exit_text

MOST: Final = 20_000
"""Messages that are held for a client; then the build waits until some are taken."""
AT_ONCE: Final = 500
"""Messages that a client takes at once."""
LOOK: Final = 0.1
"""Seconds between two looks at the lease."""
PATIENCE: Final = 20.0
"""Seconds after the end of a lease until a build is killed that does not unwind; what it made is destroyed then."""
PROMPT: Final = frozenset({"want", "keep", "kept", "done"})
"""Kinds of messages that the client is told at once, since somebody waits for what it does then."""


class Attempt:
    """One try of a build.

    Args:
        number: tells it from other tries.
        text: the assignment, as it came.
        folder: its own.
        content: what was sent to this worker.
        cache: the host's cache.
        projects: where unpacked projects are.
        templates: what processes are forked from.
        changed: called when there is something new to tell; with True where somebody waits for it.
    """

    def __init__(
        self,
        number: str,
        text: str,
        *,
        folder: Path,
        content: ContentStore,
        cache: Path,
        projects: Path,
        templates: BuildTemplates,
        changed: Callable[[bool], None],
    ) -> None:
        self.number = number
        self.assignment = Assignment.from_json(json.loads(text))
        self.folder = folder
        self.state = State(folder / "state", cache)
        self.ended = False
        self.settled = False
        self.made = False
        self.artifact: Artifact | None = None
        self.project = projects / self.assignment.project
        self._text = text
        self._content = content
        self._templates = templates
        self._changed = changed
        self._lock = threading.Lock()
        self._first = 0
        self._messages: list[str] = []
        self._renewed = time.monotonic()
        self._reason = ""
        self._secrets: Mapping[str, str] | None = None
        self._process: BuildProcess | None = None

    # ---- what the client calls, from the worker's event loop -----------------------------------------------------

    @property
    def expired(self) -> bool:
        """True once the client has been silent for too long."""
        return time.monotonic() - self._renewed > self.assignment.lease

    def taken(self, after: int) -> tuple[int, list[str]]:
        """Forget the messages that the client has, and return the others, with the number of the first.

        Hearing of it renews the lease.
        """
        with self._lock:
            self._renewed = time.monotonic()
            gone = max(0, min(after - self._first, len(self._messages)))
            del self._messages[:gone]
            self._first += gone
            return self._first, self._messages[:AT_ONCE]

    def give_secrets(self, secrets: Mapping[str, str]) -> None:
        """Take the secrets that the build was waiting for."""
        self._secrets = dict(secrets)

    def answer(self, told: Mapping[str, Any]) -> None:
        """Hand an answer on to the build."""
        self._tell({"kind": "answer", **told})

    def end(self, reason: str) -> None:
        """Cancel the build: it unwinds, and destroys what it made."""
        if not self._reason:
            self._reason = reason
            self._tell({"kind": "end", "reason": reason})

    def _tell(self, told: Mapping[str, Any]) -> None:
        if self._process is not None:
            try:
                self._process.connection.send_bytes(json.dumps(told).encode())
            except OSError:
                return  # it has ended: its last message says so

    # ---- the try, in a thread of Dask's ---------------------------------------------------------------------------

    def run(self) -> None:
        """Make the image; returns when nothing of it runs any more."""
        try:
            self._await_content()
            unpack(self._content.path(self.assignment.project), self.project)
            self._supervise()
        except BakeryError as error:
            self._say("done", error=packed_error(error), ended=self._reason)
        except OSError as error:
            raised = DriverError("the worker cannot run the build", why=str(error))
            self._say("done", error=packed_error(raised))
        finally:
            self.ended = True

    def _check(self) -> None:
        """Raise when this try is to end."""
        if self.expired:
            self.end(f"nothing was heard of the client for {self.assignment.lease:g} s")
        if self._reason:
            raise Interrupted(self._reason)

    def _await_content(self) -> None:
        """Ask for what is not here yet, and wait for it."""
        wanted = [name for name in (self.assignment.project, self.assignment.base_file) if name]
        missing = [name for name in wanted if not self._content.has(name)]
        if missing or self.assignment.secrets:
            self._say("want", content=missing, secrets=list(self.assignment.secrets))
        while not all(map(self._content.has, wanted)) or (self.assignment.secrets and self._secrets is None):
            self._check()
            time.sleep(LOOK / 2)

    def _supervise(self) -> None:
        """Run the build's process, and pass on what it says, until it has ended."""
        base, values = self.assignment.base_file, self._values()
        places = child.Places(
            project=str(self.project),
            state=str(self.state.folder),
            cache=str(self.state.cache),
            polls=str(self.folder.parent.parent / "polls"),
            values=values,
            base_file=str(self._content.path(base)) if base else "",
        )
        self._say("begins", project=str(self.project), state=str(self.state.folder))
        wanted = Wanted(project=str(self.project), imagefile=self.assignment.imagefile, values=values)
        process = self._templates.start(wanted, self._text, places, self.number)
        process.connection.send_bytes(json.dumps(dict(self._secrets or {})).encode())
        self._secrets = None
        self._process = process
        if self._reason:  # it came while the process was being started
            self._tell({"kind": "end", "reason": self._reason})
        done = self._listen(process)
        self._process = None
        code = process.join()
        self._say("done", **(self._after_crash(code) if done is None else done), ended=self._reason)

    def _values(self) -> str:
        """Write what was said outside the imagefile into a variable file, and return its name; empty for nothing."""
        if not self.assignment.values:
            return ""
        text = json.dumps(dict(self.assignment.values), sort_keys=True)
        file = self.project.with_name(f"{hashlib.sha256(text.encode()).hexdigest()}.json")
        write_whole(file, text, mode=0o600)
        return str(file)

    def _listen(self, process: BuildProcess) -> Mapping[str, Any] | None:
        """Pass on what the process says; return its last word, None where it died without."""
        told_at: float | None = None
        while True:
            if self.expired or self._reason:
                told_at = told_at or time.monotonic()
                self.end(f"nothing was heard of the client for {self.assignment.lease:g} s")
            if told_at and self.expired and time.monotonic() - told_at > PATIENCE:
                process.kill()
            if not self._has_room() or not process.connection.poll(LOOK):
                continue
            try:
                text = process.connection.recv_bytes().decode()
            except (EOFError, OSError):
                return None
            kind = text.partition(" ")[0]
            if kind == "done":
                return {**unpacked(text)[1], "files": self._files()}
            if kind == "kept":
                self.artifact, self.made = Artifact.from_json(unpacked(text)[1]["artifact"]), True
            self._pass_on(kind, text)

    def _has_room(self) -> bool:
        with self._lock:
            full = len(self._messages) >= MOST
        if full:
            time.sleep(LOOK)
        return not full

    def _after_crash(self, code: int | None) -> Mapping[str, Any]:
        """Destroy what a process left that could not do it itself."""
        swept = collect(self.state, Registry().get)
        why = "\n".join(str(error) for error in swept.left)
        how = "killed, perhaps" if code is None else exit_text(code)
        error = DriverError(f"the build's process on the worker died: {how}", why=why)
        return {"error": packed_error(error), "files": self._files()}

    def _files(self) -> list[dict[str, Any]]:
        """Name what the client may want: the image, the list of its packages, what explains a failure."""
        found = [path for path in self.state.folder.rglob("*") if path.is_file() and not path.is_symlink()]
        return [
            {"path": str(path.relative_to(self.state.folder)), "size": path.stat().st_size}
            for path in found
            if path.name not in ("keys.json", "lock", "journal.jsonl", "catalogue.json")
        ]

    def _say(self, kind: str, /, **what: Any) -> None:
        self._pass_on(kind, packed(kind, **what))

    def _pass_on(self, kind: str, text: str) -> None:
        with self._lock:
            self._messages.append(text)
        self._changed(kind in PROMPT)

    # ---- afterwards ------------------------------------------------------------------------------------------------

    def settle(self, *, keep_base: str = "") -> None:
        """Forget the try: the client has all of it.

        Args:
            keep_base: digest of an image's file that stays, for builds that stand on it.
        """
        if keep_base and self.artifact is not None and self.artifact.id.startswith("/"):
            self._content.take(keep_base, self.artifact.path)
        self.artifact = None
        self.settled = True
        if not any(run.replay().live() for run in self.state.runs()):
            shutil.rmtree(self.folder, ignore_errors=True)

    def discard(self) -> None:
        """Destroy all that nobody has taken: a kept image too, since only what the client has counts.

        Raises:
            BakeryError: something is left; the journal in the folder knows it.
        """
        artifact, self.artifact = self.artifact, None
        if artifact is not None:
            Registry().get(artifact.driver).delete(artifact)
        swept = collect(self.state, Registry().get)
        for error in swept.left:
            raise error
        self.settled = True
        shutil.rmtree(self.folder, ignore_errors=True)
