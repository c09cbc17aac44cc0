"""The parent's side: starts pytest in a process of its own, hands over the job, reads the results."""

from __future__ import annotations

import json
import os
import selectors
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Self

from bakery import errors
from bakery.errors import Location, SmokeError
from bakery.events import TestEnded
from bakery.model import from_json
from bakery.smoke import wire
from bakery.smoke.identity import Identity
from bakery.smoke.job import Read, SmokeJob, SmokeReport, TestRef, TestResult
from bakery.util.context import WorkContext
from bakery.util.process import PIPE, STDOUT, end_group, signal_name, start_process, wait

CONFIG: Final = Path(__file__).with_name("pytest.ini")
BUILTIN_FILE: Final = Path(__file__).with_name("builtin.py")
GRACE: Final = 5.0
_POLL: Final = 0.1
_TAIL: Final = 20_000
_ORDERLY: Final = (0, 1)  # pytest: all passed, some failed


@dataclass(frozen=True, kw_only=True)
class PytestStart:
    """What pytest is started with: all that is known of a job before there is a machine.

    Args:
        imagefile: the user's file.
        files: the files that define tests.
        junit: where the JUnit report is written.
        build: the build's name.
    """

    imagefile: Path
    files: tuple[Path, ...]
    junit: Path
    build: str

    @classmethod
    def of(cls, job: SmokeJob) -> PytestStart:
        """Take it from a job."""
        return cls.on(job.imagefile, job.builtin, job.tests, junit=job.junit, build=job.build)

    @classmethod
    def on(
        cls, imagefile: Path, builtin: Collection[str], tests: Iterable[TestRef], *, junit: Path, build: str
    ) -> PytestStart:
        """Find the files of the wanted tests, built-in ones first."""
        files: list[Path] = [BUILTIN_FILE] if builtin else []
        files += [test.file for test in tests]
        return cls(imagefile=imagefile, files=tuple(dict.fromkeys(files)), junit=junit, build=build)


def run(job: SmokeJob, work: WorkContext, child: PytestProcess | None = None) -> SmokeReport:
    """Run smoke tests against a machine.

    Each result is emitted as a `TestEnded` event when it comes; the JUnit report is at `job.junit` afterwards.

    Args:
        job: the machine, the tests, the variables.
        work: takes the events, and cancels.
        child: a process that was started beforehand for this very job; it ends with the tests.

    Returns:
        A report; tests that failed are in it.

    Raises:
        SmokeError: there is no verdict: nothing was asked, a test could not be collected, the process crashed or ran
            out of time.
        ConnectError: the machine cannot be reached.
        Interrupted: cancelled.
    """
    if not job.tests and not job.builtin:
        raise SmokeError("there is no smoke test to run", hint="write a @bakery.test, or say --no-test")
    started = time.monotonic()
    outcome = _Outcome(job, work)
    with child or PytestProcess(PytestStart.of(job)) as process:
        for event in process.events(job, started + job.timeout, work):
            outcome.take(event)
        outcome.check(process)
    return SmokeReport(
        results=tuple(outcome.results),
        seconds=time.monotonic() - started,
        identity=outcome.identity,
        round_trips=outcome.round_trips,
        read=tuple(outcome.read),
    )


class PytestProcess:
    """The process, its three pipes, and the end of all of them.

    It loads Python and pytest, and then waits to be told what to test. So it can be started while the machine boots.
    """

    def __init__(self, start: PytestStart) -> None:
        self._start = start
        self._tail = b""
        self._begun = self._ended = False

    def __enter__(self) -> Self:
        """Start it, unless it was started."""
        if self._begun:
            return self
        self._begun = True
        self._start.junit.parent.mkdir(parents=True, exist_ok=True)
        inbox, self._outbox = os.pipe()
        self._events, outlet = os.pipe()
        try:
            self._process = start_process(
                _command(self._start, inbox, outlet),
                pass_fds=(inbox, outlet),
                env=_environment(os.environ),
                cwd=self._start.imagefile.parent,
                stdout=PIPE,
                stderr=STDOUT,
            )
        finally:
            os.close(inbox)
            os.close(outlet)
        return self

    def events(self, job: SmokeJob, deadline: float, work: WorkContext) -> Iterator[dict[str, Any]]:
        """Say what to test, and yield events until the process ends."""
        self._send(wire.dump(job))
        buffer = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._events, selectors.EVENT_READ)
            selector.register(self._output, selectors.EVENT_READ)
            while True:
                work.cancel.check()
                if time.monotonic() > deadline:
                    raise self._late(job)
                ready = {key.fd for key, _ in selector.select(_POLL)}
                if self._output.fileno() in ready and not self._read_output():
                    selector.unregister(self._output)
                if self._events in ready:
                    chunk = os.read(self._events, 1 << 16)
                    *lines, buffer = (buffer + chunk).split(b"\n")
                    yield from map(json.loads, lines)
                    if not chunk:
                        return

    @property
    def _output(self) -> IO[bytes]:
        if self._process.stdout is None:
            raise RuntimeError("the child has no output pipe")
        return self._process.stdout

    def _read_output(self) -> bool:
        data = os.read(self._output.fileno(), 1 << 16)
        self._tail = (self._tail + data)[-_TAIL:]
        return bool(data)

    def last_words(self) -> str:
        """Wait for the end and say how it came: exit code or signal, and what was written last."""
        code = wait(self._process, GRACE)
        if code is None:
            return "it closed its pipe and runs on"
        os.set_blocking(self._output.fileno(), False)
        try:
            while self._read_output():
                pass
        except BlockingIOError:
            pass  # a program that a test started holds the other end
        how = f"ended by {signal_name(-code)}" if code < 0 else f"exit code {code}"
        return f"{how}\n{self._tail.decode(errors='replace').strip()}".strip()

    def _send(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._outbox, rest) :]
        except BrokenPipeError:
            pass  # it is dead already, and its last words will say why

    def _late(self, job: SmokeJob) -> SmokeError:
        self._end()
        return SmokeError(
            f"the smoke tests did not end within {job.timeout:g} s",
            why=self._tail.decode(errors="replace").strip(),
            hint="the last test that is not reported hangs; give host.run(..., timeout=SECONDS) where a command may",
        )

    def _end(self) -> None:
        end_group(self._process, GRACE)

    def __exit__(self, *_: object) -> None:
        """End the process with all that it started, and close the pipes; once."""
        if not self._begun or self._ended:
            return
        self._ended = True
        self._end()
        self._process.wait()
        for fd in (self._outbox, self._events):
            os.close(fd)
        self._output.close()


def _command(start: PytestStart, inbox: int, outlet: int) -> list[str]:
    """Pytest with its own configuration only; see docs/smoke-tests.md for each choice."""
    return [
        sys.executable,
        "-P",
        "-B",
        "-m",
        "pytest",
        "-p",
        "bakery.smoke.plugin",
        f"--bakery-job={inbox}",
        f"--bakery-events={outlet}",
        "-c",
        str(CONFIG),
        f"--rootdir={start.imagefile.parent}",
        "--noconftest",
        "-p",
        "no:cacheprovider",
        "--import-mode=importlib",
        "--color=no",
        "-q",
        "--no-header",
        "--no-summary",
        f"--junitxml={start.junit}",
        "-o",
        f"junit_suite_name={start.build or 'smoke'}",
        *map(str, start.files),
    ]


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the caller's environment without what would change pytest's mind."""
    clean = {name: value for name, value in environ.items() if not name.startswith("PYTEST_")}
    root = str(Path(__file__).parents[2])
    if root not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        clean["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environ.get("PYTHONPATH", "")]))
    return clean | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


class _Outcome:
    """What came out of the pipe so far."""

    def __init__(self, job: SmokeJob, work: WorkContext) -> None:
        self._job = job
        self._work = work
        self._collected: tuple[int, Mapping[str, int]] = (0, {})
        self._status: int | None = None
        self._trouble: errors.BakeryError | None = None
        self.results: list[TestResult] = []
        self.identity = Identity()
        self.round_trips = 0
        self.read: list[Read] = []

    def take(self, event: dict[str, Any]) -> None:
        match event:
            case {"type": "collected", "tests": int(count), "functions": dict(names)}:
                self._collected = (count, names)
            case {"type": "not-collected", "file": str(file), "text": str(text)}:
                what = f"the smoke tests in {Path(file).name or self._job.imagefile.name} cannot be collected"
                self._trouble = self._trouble or SmokeError(what, why=text)
            case {"type": "error", "error": str(name), "what": str(what), "why": str(why), "hint": str(hint)}:
                kind = getattr(errors, name, SmokeError)
                self._trouble = (SmokeError if kind is errors.BakeryError else kind)(what, why=why, hint=hint)
            case {"type": "machine", "identity": dict(identity), "round_trips": int(trips)}:
                self.identity, self.round_trips = from_json(Identity, identity), trips
            case {"type": "read", "inputs": list(read)}:
                self.read = [(kind, name, look and tuple(look)) for kind, name, look in read]
            case {"type": "done", "status": int(status)}:
                self._status = status
            case {"type": "test"}:
                self._add(event)

    def _add(self, event: dict[str, Any]) -> None:
        file = Path(os.path.normpath(self._job.imagefile.parent / event["file"]))
        location = str(Location(file, event["line"])) if event["file"] else ""
        named = {key: event[key] for key in ("test", "outcome", "seconds", "text")}
        self.results.append(TestResult(location=location, **named))
        self._work.emit(TestEnded(build=self._job.build, location=location, **named))

    def check(self, child: PytestProcess) -> None:
        """Make sure that there is a verdict on every test that was asked for."""
        if self._trouble is not None:
            raise self._trouble
        if self._status is None:
            raise SmokeError("the smoke tests' process ended in the middle", why=child.last_words())
        count, names = self._collected
        wanted = Counter([*self._job.builtin, *(test.name for test in self._job.tests)])
        if missing := sorted(name for name, number in wanted.items() if names.get(name, 0) < number):
            raise SmokeError(f"no test came of: {', '.join(missing)}", why=child.last_words())
        if self._status not in _ORDERLY or len(self.results) != count:
            what = f"the smoke tests were broken off after {len(self.results)} of {count}"
            raise SmokeError(what, why=child.last_words())
        if all(result.outcome == "skipped" for result in self.results):
            raise SmokeError(
                "no smoke test has tested anything: each is skipped, or failed as expected",
                why="\n".join(f"{result.test}: {result.text}".strip(": ") for result in self.results),
                hint="write a @bakery.test that can pass, or say --no-test",
            )
