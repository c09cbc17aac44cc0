"""The pytest plugin of a suite's run: all is as in a plain run, but that `host` is the machine under test.

It is loaded by pytest in a process of its own, and again in each process that pytest-xdist starts; those get the job
from the first one, through execnet's pipe.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from importlib import import_module
from typing import Any, Final

import pytest
import testinfra

from bakery.errors import BakeryError
from bakery.redaction.redactor import Redactor
from bakery.smoke import wire
from bakery.smoke.child import EventPipe, job_line, watch_parent
from bakery.smoke.job import CloneAccess, SmokeJob, SuiteRun
from bakery.smoke.node_hosts import NodeHosts
from bakery.smoke.suites.hosts import SCHEME, HostNames, OtherHostError, asked_hosts, offer
from bakery.smoke.suites.inputs import SuiteInputs
from bakery.smoke.suites.machine import SuiteMachine
from bakery.smoke.suites.questions import SuiteQuestions
from bakery.smoke.suites.results import SuiteVerdicts

ALONE: Final = "there is one machine of the image: --clones 2 makes two"
TESTED: Final = "_testinfra_host"
"""testinfra's own fixture behind `host`."""
FOR_WORKERS: Final = "bakery_job"
OF_WORKERS: Final = "bakery_read"
QUESTIONS: Final = "bakery_questions"


class SuiteSession:
    """One process that runs a suite.

    Args:
        line: the job, as it came.
        events: takes what is told to the parent; None in a worker.
    """

    def __init__(self, line: bytes, events: EventPipe | None) -> None:
        self.line = line
        self.job: SmokeJob = wire.load(line)
        if self.job.suite is None:
            raise pytest.UsageError("the job has no suite")
        self.suite: SuiteRun = self.job.suite
        self.events = events
        self.inputs = SuiteInputs(self.job.imagefile.parent)
        self.questions = SuiteQuestions(self.suite.cache)
        self.machine = self._machine("", self.job)
        self.clones = {
            name: self._machine(name, clone)
            for number, clone in enumerate(self.job.clones, 2)
            for name in [f"{self.suite.names[0]}.{number}"]
        }
        self.nodes = {name: self._machine(name, node) for name, node in self.job.nodes.items()}
        self.names = HostNames(
            self.suite.names,
            self.suite.options.hosts,
            self.suite.options.other_hosts,
            (*self.suite.nodes, *self.clones),
            self.job.absent,
        )
        self.redact = Redactor()
        self.verdicts: SuiteVerdicts | None = None
        self.left_out: dict[str, str] = {}
        for name, text in self.job.secrets.items():
            self.redact.add(text, name)

    def _machine(self, name: str, access: SmokeJob | CloneAccess) -> SuiteMachine:
        return SuiteMachine(access.endpoint, access.keys, self.suite, name, self.questions.foresight)

    def connect(self) -> None:
        """Connect before the first test, so that a machine out of reach is one error and not one per test."""
        try:
            self.machine.interpreter  # noqa: B018  it is asked for, once
        except BakeryError as error:
            if self.events is None:
                raise
            parts = {name: self.redact(getattr(error, name)) for name in ("what", "why", "hint")}
            self.events.send("error", error=type(error).__name__, **parts)
            pytest.exit("no connection", returncode=pytest.ExitCode.INTERRUPTED)

    def close(self, config: pytest.Config, status: int) -> None:
        """Say the last words and end the connection."""
        read = list(self.inputs.found(config))
        if self.events is None:
            vars(config)["workeroutput"][OF_WORKERS] = [list(each) for each in read]
            vars(config)["workeroutput"][QUESTIONS] = self.questions.to_wire()
        else:
            counts = self.verdicts.counts() if self.verdicts else {}
            self.events.send("machine", identity={}, round_trips=self.machine.round_trips)
            self.events.send("read", inputs=read)
            self.events.send("suite", **counts)
            self.questions.save(lambda text: self.redact(text) != text)
            self.events.send("done", status=status)
        for machine in (self.machine, *self.clones.values(), *self.nodes.values()):
            machine.close()


SESSION: Final = pytest.StashKey[SuiteSession]()
RUN: Final = pytest.StashKey[pytest.Session]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the numbers of the two inherited pipes."""
    group = parser.getgroup("bakery")
    group.addoption("--bakery-job", type=int, metavar="FD", help="pipe that the job comes from")
    group.addoption("--bakery-events", type=int, metavar="FD", help="pipe that results go into")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, object, object]:
    """Read the job before the first conftest.py is imported, and watch that; a worker has its job later."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return (yield)
    options = early_config.known_args_namespace
    inbox, outlet = options.bakery_job, options.bakery_events
    if inbox is None or outlet is None:
        raise pytest.UsageError("bakery.smoke.suites.plugin is started by `bake` alone")
    session = SuiteSession(job_line(inbox), EventPipe(outlet))
    os.set_inheritable(inbox, False)  # a program that a test starts must not keep it open
    early_config.stash[SESSION] = session
    watch_parent(inbox)
    with session.inputs.watching():
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Offer the machine to testinfra, and listen to reports."""
    if SESSION not in config.stash:
        config.stash[SESSION] = SuiteSession(vars(config)["workerinput"][FOR_WORKERS], None)
    session = config.stash[SESSION]
    offer(session.machine, {**session.clones, **session.nodes})
    if config.option.ansible_inventory or config.option.connection == "ansible":
        import_module("testinfra.backend.ansible")  # as testinfra does then: suites use what comes with it
    send = session.events.send if session.events else None
    session.verdicts = SuiteVerdicts(config, session.redact, send)
    config.pluginmanager.register(session.verdicts, "bakery-verdicts")
    config.pluginmanager.register(session.questions, "bakery-questions")
    if config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(Workers(session), "bakery-workers")


class Workers:
    """Hands the job to the processes that pytest-xdist starts, and takes what they read.

    Args:
        session: of the first process.
    """

    def __init__(self, session: SuiteSession) -> None:
        self._session = session

    def pytest_configure_node(self, node: Any) -> None:
        """Give a worker the job, secrets included: through the pipe that it is driven by."""
        node.workerinput[FOR_WORKERS] = self._session.line

    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker read; one that crashed says nothing."""
        output = getattr(node, "workeroutput", {})
        self._session.questions.add(output.get(QUESTIONS, {}))
        read = output.get(OF_WORKERS, [])
        self._session.inputs.add((kind, name, look and tuple(look)) for kind, name, look in read)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Watch what is read while tests are collected."""
    with session.config.stash[SESSION].inputs.watching():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> Generator[None, object, object]:
    """Let testinfra make the hosts of a test, with ours in place of the names that mean the machine under test."""
    if TESTED not in metafunc.fixturenames:
        return (yield)
    option, session = metafunc.config.option, metafunc.config.stash[SESSION]
    before = option.hosts
    asked = asked_hosts(before, metafunc.module)
    try:
        hosts = session.names.translate(asked)
    except OtherHostError as error:
        raise pytest.Collector.CollectError(str(error)) from None
    if not hosts and asked:
        hosts = session.names.translate([None])
        session.left_out[metafunc.definition.nodeid] = f"for other hosts: {', '.join(map(str, asked))}"
    option.hosts = ",".join(hosts)
    try:
        return (yield)
    finally:
        option.hosts = before


@pytest.fixture(scope="session")
def clones(request: pytest.FixtureRequest) -> list[Any]:
    """Return the Hosts of all machines of the image that run now, that of `host` first; skip where it is alone."""
    session = request.config.stash[SESSION]
    if not session.clones:
        pytest.skip(ALONE)
    names = (session.suite.names[0], *session.clones)
    return [testinfra.get_host(f"{SCHEME}://{name}") for name in names]


@pytest.fixture(scope="session")
def hosts(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    """Return the Hosts of all machines on the tests' private network, by name, that of `host` among them."""
    session = request.config.stash[SESSION]
    own = {session.job.name: testinfra.get_host(f"{SCHEME}://{session.suite.names[0]}")}
    return NodeHosts(
        own | {name: testinfra.get_host(f"{SCHEME}://{name}") for name in session.nodes}, session.job.absent
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    """Skip a test of other hosts."""
    if reason := item.config.stash[SESSION].left_out.get(item.nodeid.partition("[")[0]):
        item.add_marker(pytest.mark.skip(reason))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Connect, and watch what tests take in."""
    smoke = session.config.stash[SESSION]
    wanted = any(TESTED in getattr(item, "fixturenames", ()) for item in session.items)
    if wanted and not session.config.option.collectonly and not smoke.suite.collect_only and not session.testsfailed:
        smoke.connect()
    with smoke.inputs.watching():
        return (yield)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Keep the session, which knows the exit code in the end."""
    session.config.stash[RUN] = session


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Tell what a worker read: its last words go to the first process."""
    smoke = session.config.stash[SESSION]
    if smoke.events is None:
        smoke.close(session.config, int(exitstatus))


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Say that this is the orderly end: all workers have ended, and plugins have had their say on the exit code."""
    smoke = config.stash.get(SESSION, None)
    if smoke is None or smoke.events is None or RUN not in config.stash:
        return
    if smoke.verdicts is not None:
        smoke.verdicts.rest()
    smoke.close(config, int(config.stash[RUN].exitstatus))
