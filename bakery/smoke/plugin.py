"""The pytest plugin inside the child process: takes the job, offers `host` and `v`, sends each result as it comes."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from bakery.errors import BakeryError
from bakery.machine.transport.base import Transport
from bakery.redaction.redactor import Redactor
from bakery.smoke import wire
from bakery.smoke.backend import host as make_host
from bakery.smoke.child import EventPipe, job_line, watch_parent
from bakery.smoke.collect import MarkedTests, PathCollector, Tests
from bakery.smoke.connect import connect
from bakery.smoke.elsewhere import watch
from bakery.smoke.foresight import Foresight
from bakery.smoke.identity import SCRIPT, Identity
from bakery.smoke.job import CloneAccess, SmokeJob
from bakery.smoke.node_hosts import NodeHosts
from bakery.smoke.prefetch import PrefetchedFacts
from bakery.smoke.read_inputs import ReadInputs
from bakery.smoke.results import Verdicts
from bakery.smoke.shell import CommandTimeoutError, Shell
from bakery.util.results import Lost

if TYPE_CHECKING:
    from testinfra.host import Host


class Session:
    """One run of smoke tests: the job, the machine, and the pipe that results go into.

    Args:
        job: what was asked.
        events: file descriptor that takes a JSON object a line.
        config: pytest's.
    """

    def __init__(self, job: SmokeJob, events: int, config: pytest.Config) -> None:
        self.job = job
        self.read = ReadInputs(job.imagefile.parent, {job.imagefile, *(test.file for test in job.tests)})
        self.tests = Tests(job, config, self.read)
        self.identity = Identity()
        self.foresight = Foresight()
        self.redact = Redactor()
        self.send = EventPipe(events).send
        self._connection: Transport | None = None
        self._shell: Shell | None = None
        self._others: list[tuple[Transport, Shell]] = []
        self._clones: list[Host] = []
        self._nodes: dict[str, Host] = {}
        for name, text in job.secrets.items():
            self.redact.add(text, name)

    def open(self) -> Host:
        """Connect, once, and learn who the machine is."""
        self._connection = connect(self.job.endpoint, self.job.keys)
        self._shell = Shell(self._connection.open_shell)
        try:
            [reply] = self._shell.ask(SCRIPT, timeout=60)
        except (Lost, CommandTimeoutError) as error:
            user = self.job.endpoint.user
            raise BakeryError(
                f"no root shell on the machine under test: {error}",
                hint=""
                if user == "root"
                else f"the tests run as root: is sudo there, and may {user} use it without "
                "a password (NOPASSWD) and a terminal (no requiretty)?",
            ) from error
        self.identity = Identity.parse(reply.stdout.decode(errors="replace"))
        access = CloneAccess(endpoint=self.job.endpoint, keys=self.job.keys)
        return self._host(self.job.endpoint.host, self._connection, self._shell, access)

    def feed(self, script: str) -> str:
        """Run a script that must appear in no argument list, and return what it wrote."""
        if self._shell is None:
            raise BakeryError("there is no connection to the machine under test")
        return self._shell.feed(script).stdout.decode(errors="replace")

    def clones(self, first: Host) -> list[Host]:
        """Connect to the other machines of the image, once; the machine under test is the first of all."""
        if not self._clones:
            self._clones = [
                self._connect(f"{clone.endpoint.host} ({number})", clone)
                for number, clone in enumerate(self.job.clones, 2)
            ]
        return [first, *self._clones]

    def nodes(self, first: Host) -> Mapping[str, Host]:
        """Connect to the machines of other images, once; the machine under test is the first of all."""
        if not self._nodes:
            self._nodes = {name: self._connect(name, node) for name, node in self.job.nodes.items()}
        return NodeHosts({self.job.name: first, **self._nodes}, self.job.absent)

    def _connect(self, name: str, access: CloneAccess) -> Host:
        transport = connect(access.endpoint, access.keys)
        shell = Shell(transport.open_shell)
        self._others.append((transport, shell))
        return self._host(name, transport, shell, access)

    def _host(self, name: str, transport: Transport, shell: Shell, access: CloneAccess) -> Host:
        host = make_host(
            name,
            shell,
            strict=self.job.strict_host,
            access=access,
            foresight=self.foresight,
            away=transport.ping,
        )
        watch(shell, _facts_of(host))
        return host

    def close(self) -> None:
        """Say the last words and end the connection."""
        trips = self._shell.round_trips if self._shell else 0
        self.send("machine", identity=self.identity.to_wire(), round_trips=trips)
        self.send("read", inputs=list(self.read.found()))
        for transport, shell in self._others:
            shell.close()
            transport.close()
        if self._shell:
            self._shell.close()
        if self._connection:
            self._connection.close()


def _facts_of(host: Any) -> PrefetchedFacts:
    """Return what is known to a host of ours; testinfra's type does not say that."""
    facts: PrefetchedFacts = host.backend.facts
    return facts


ALONE: Final = "there is one machine of the image: --clones 2 makes two"
SESSION: Final = pytest.StashKey[Session]()
HOST: Final = pytest.StashKey["Host"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the numbers of the two inherited pipes."""
    group = parser.getgroup("bakery")
    group.addoption("--bakery-job", type=int, metavar="FD", help="pipe that the job comes from")
    group.addoption("--bakery-events", type=int, metavar="FD", help="pipe that results go into")


def pytest_configure(config: pytest.Config) -> None:
    """Read the job, and end when the parent does."""
    inbox, events = config.getoption("--bakery-job"), config.getoption("--bakery-events")
    if inbox is None or events is None:
        raise pytest.UsageError("bakery.smoke.plugin is started by `bake` alone")
    os.set_inheritable(inbox, False)  # a program that a test starts must not keep it open
    session = Session(wire.load(job_line(inbox)), events, config)
    config.stash[SESSION] = session
    sys.path.insert(0, str(session.job.imagefile.parent))  # as `bake` imports it
    config.pluginmanager.register(Verdicts(session.job, session.redact, session.send), "bakery-verdicts")
    config.pluginmanager.register(session.read, "bakery-read-inputs")
    watch_parent(inbox)


def pytest_collect_directory(path: Path, parent: pytest.Collector) -> PathCollector:
    """Look for nothing that was not asked for."""
    way: PathCollector = PathCollector.from_parent(parent, path=path)
    way.tests = parent.config.stash[SESSION].tests
    return way


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module:
    """Collect the asked functions of a file, and nothing else."""
    module: MarkedTests = MarkedTests.from_parent(parent, path=module_path)
    module.tests = parent.config.stash[SESSION].tests
    return module


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Connect before the first test, so that a machine out of reach is one error and not one per test."""
    if session.testsfailed:
        return  # what could not be collected is reported already
    smoke = session.config.stash[SESSION]
    try:
        session.config.stash[HOST] = smoke.open()
    except BakeryError as error:
        parts = {name: smoke.redact(getattr(error, name)) for name in ("what", "why", "hint")}
        smoke.send("error", error=type(error).__name__, **parts)
        pytest.exit("no connection", returncode=pytest.ExitCode.INTERRUPTED)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Say that this is the orderly end."""
    smoke = session.config.stash.get(SESSION, None)
    if smoke is not None:
        smoke.close()
        smoke.send("done", status=int(exitstatus))


def pytest_unconfigure() -> None:
    """Let the kernel have all of the memory at once: Python would look through it for garbage before its end."""
    gc.freeze()


@pytest.fixture(scope="session")
def host(request: pytest.FixtureRequest) -> Host:
    """Return the Host of testinfra for the machine under test."""
    return request.config.stash[HOST]


@pytest.fixture(scope="session")
def clones(request: pytest.FixtureRequest, host: Host) -> list[Host]:
    """Return the Hosts of all machines of the image that run now, that of `host` first; skip where it is alone."""
    session = request.config.stash[SESSION]
    if not session.job.clones:
        pytest.skip(ALONE)
    return session.clones(host)


@pytest.fixture(scope="session")
def hosts(request: pytest.FixtureRequest, host: Host) -> Mapping[str, Host]:
    """Return the Hosts of all machines on the tests' private network, by name, that of `host` among them."""
    return request.config.stash[SESSION].nodes(host)


@pytest.fixture(scope="session")
def rebooted(request: pytest.FixtureRequest) -> bool:
    """Say whether the machine was rebooted for this test: False the first time that it runs."""
    return request.config.stash[SESSION].job.before is not None


@pytest.fixture(scope="session")
def v(request: pytest.FixtureRequest) -> Any:
    """Return the imagefile's variables, with the values of this build."""
    smoke = request.config.stash[SESSION]
    return smoke.read.variables(wire.rebuild(smoke.tests.recipe.variables, smoke.job.variables))


@pytest.fixture(scope="session")
def bakery_session(request: pytest.FixtureRequest) -> Session:
    """Return what the built-in tests compare the machine with."""
    return request.config.stash[SESSION]
