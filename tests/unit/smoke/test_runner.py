"""The parent's side of smoke tests: the child's words, its environment, and what its events mean."""

from __future__ import annotations

import os
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

import bakery.machine.transport.namespace
import bakery.machine.transport.ssh
from bakery.errors import BakeryError, ConnectError, Interrupted, SmokeError
from bakery.events import Event, TestEnded
from bakery.machine.transport.stages import NotReached, Stage
from bakery.model import Endpoint
from bakery.smoke import Identity, SmokeJob, TestRef, connect, process, runner
from bakery.smoke.job import BeforeReboot
from bakery.smoke.process import BUILTIN_FILE, PytestProcess, PytestStart
from bakery.smoke.runner import ChildOutcome
from bakery.state.ssh_keys import make_keys
from bakery.util.context import WorkContext
from tests.unit.clock import Clock

KEYS = make_keys("bakery-test")
JOB = SmokeJob(
    imagefile=Path("/project/imagefile.py"),
    tests=(TestRef(image="web", index=0, name="mine", file=Path("/project/imagefile.py"), line=3),),
    builtin=frozenset({"clock_is_right"}),
    endpoint=Endpoint(host="box"),
    keys=KEYS,
    junit=Path("/run/junit.xml"),
    build="web@box",
)
MACHINE = {"type": "machine", "identity": {"machine_id": "0123", "host_keys": []}, "round_trips": 7}
COLLECTED = {"type": "collected", "tests": 2, "functions": {"mine": 1, "clock_is_right": 1}}


def result(name: str, outcome: str = "passed", **values: Any) -> dict[str, Any]:
    told = {"type": "test", "test": name, "outcome": outcome, "seconds": 0.5, "file": "", "line": 0, "text": ""}
    return {**told, **values}


def done(status: int = 0) -> dict[str, Any]:
    return {"type": "done", "status": status}


class Words:
    """A child that has ended."""

    def last_words(self) -> str:
        return "exit code 3\nSegmentation fault"


def outcome(*events: dict[str, Any], work: WorkContext | None = None, job: SmokeJob = JOB) -> ChildOutcome:
    """What came of these events, checked."""
    whole = ChildOutcome(job, work or WorkContext(cache=Path()))
    for event in events:
        whole.take(event)
    whole.check(cast("PytestProcess", Words()))
    return whole


GOOD = (COLLECTED, result("clock_is_right"), result("mine"), MACHINE, done())


# ---- what the events mean ---------------------------------------------------------------------------------------


def test_each_result_is_an_event_with_its_place_in_the_users_file() -> None:
    heard: list[Event] = []
    work = WorkContext(cache=Path(), emit=heard.append)
    failed = result("mine", "failed", file="tests/../imagefile.py", line=3, text="assert 1 == 2")
    whole = outcome(COLLECTED, result("clock_is_right"), failed, MACHINE, done(1), work=work)
    assert [(r.test, r.outcome, r.location) for r in whole.results] == [
        ("clock_is_right", "passed", ""),
        ("mine", "failed", "/project/imagefile.py:3"),
    ]
    assert [event.location for event in heard if isinstance(event, TestEnded)] == ["", "/project/imagefile.py:3"]
    assert (whole.identity.machine_id, whole.round_trips) == ("0123", 7)


def test_the_second_run_of_a_test_is_told_from_the_first() -> None:
    before = BeforeReboot(identity=Identity(), token="t", sentinels=())
    whole = outcome(*GOOD, job=replace(JOB, before=before))
    assert [result.test for result in whole.results] == ["clock_is_right after a reboot", "mine after a reboot"]


@pytest.mark.parametrize("missing", ["mine", "clock_is_right"])
def test_a_test_that_was_asked_for_and_did_not_come_is_no_success(missing: str) -> None:
    names = {"mine": 1, "clock_is_right": 1}
    del names[missing]
    left = [event for event in GOOD if event.get("test") != missing]
    left[0] = {"type": "collected", "tests": 1, "functions": names}
    with pytest.raises(SmokeError, match=f"no test came of: {missing}"):
        outcome(*left)


@pytest.mark.parametrize("left_out", [1, 2])
def test_tests_that_were_broken_off_are_no_success(left_out: int) -> None:
    events = [event for number, event in enumerate(GOOD) if number != left_out]
    with pytest.raises(SmokeError, match="broken off after 1 of 2") as raised:
        outcome(*events)
    assert "Segmentation fault" in raised.value.why


@pytest.mark.parametrize("status", [2, 3, 4, 5])
def test_an_end_that_is_not_pytests_own_is_no_success(status: int) -> None:
    with pytest.raises(SmokeError, match="broken off"):
        outcome(*GOOD[:-1], done(status))


def test_a_child_that_ends_without_a_word_is_no_success() -> None:
    with pytest.raises(SmokeError, match="ended in the middle") as raised:
        outcome(*GOOD[:-1])
    assert raised.value.why.startswith("exit code 3")


@pytest.mark.parametrize(
    ("name", "kind"), [("ConnectError", ConnectError), ("BakeryError", SmokeError), ("Whatever", SmokeError)]
)
def test_an_error_of_the_child_is_raised_here_as_what_it_was(name: str, kind: type[BakeryError]) -> None:
    with pytest.raises(kind, match="cannot log in") as raised:
        outcome({"type": "error", "error": name, "what": "cannot log in", "why": "refused", "hint": "look"}, done(2))
    assert (raised.value.why, raised.value.hint) == ("refused", "look")


@pytest.mark.parametrize(("file", "name"), [("helper.py", "helper.py"), ("", "imagefile.py")])
def test_a_file_that_cannot_be_collected_is_named(file: str, name: str) -> None:
    trouble = {"type": "not-collected", "file": file, "text": "SyntaxError: invalid syntax"}
    with pytest.raises(SmokeError, match=f"the smoke tests in {name} cannot be collected") as raised:
        outcome(trouble, {**trouble, "file": "second.py"}, done(2))
    assert raised.value.why == "SyntaxError: invalid syntax"


def test_what_is_no_event_of_ours_changes_nothing() -> None:
    assert len(outcome({"type": "new"}, {"type": "collected", "tests": "2"}, *GOOD).results) == 2


def test_nothing_to_run_is_no_success(tmp_path: Path) -> None:
    with pytest.raises(SmokeError, match="no smoke test to run") as raised:
        runner.run(replace(JOB, tests=(), builtin=frozenset()), WorkContext(cache=tmp_path))
    assert "--no-test" in raised.value.hint


# ---- the child's start ------------------------------------------------------------------------------------------


def test_each_file_is_given_once_built_in_tests_first() -> None:
    helper = replace(JOB.tests[0], file=Path("/project/helper.py"))
    start = PytestStart.of(replace(JOB, tests=(*JOB.tests, helper, *JOB.tests)))
    assert start.files == (BUILTIN_FILE, Path("/project/imagefile.py"), Path("/project/helper.py"))
    assert PytestStart.of(replace(JOB, builtin=frozenset())).files == (Path("/project/imagefile.py"),)


def test_the_child_has_our_configuration_and_no_secret_in_its_words(tmp_path: Path) -> None:
    words = PytestStart.of(replace(JOB, junit=tmp_path / "run" / "junit.xml")).words(5, 6)
    assert words[:3] == [sys.executable, "-P", "-B"]
    assert {"--noconftest", "--bakery-job=5", "--bakery-events=6", "--rootdir=/project"} <= {*words}
    assert words[words.index("-c") + 1] == str(process.CONFIG)
    assert not any("PRIVATE KEY" in word for word in words)


def test_the_childs_environment_is_the_callers_without_what_changes_pytests_mind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environ = {"PATH": "/bin", "PYTEST_ADDOPTS": "-x", "PYTEST_PLUGINS": "evil", "PYTHONPATH": "/mine"}
    clean = PytestStart.of(JOB).environment(environ)
    assert {name for name in clean if name.startswith("PYTEST")} == {"PYTEST_DISABLE_PLUGIN_AUTOLOAD"}
    root = str(Path(runner.__file__).parents[2])
    assert (clean["PATH"], clean["PYTHONPATH"].split(os.pathsep)) == ("/bin", [root, "/mine"])
    monkeypatch.setattr(sysconfig, "get_path", lambda _: root)
    assert PytestStart.of(JOB).environment({"PATH": "/bin"}) == {"PATH": "/bin", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


# ---- the way to the machine -------------------------------------------------------------------------------------


class Ssh:
    """Stands in for `SshTransport`: fails as told, then is there."""

    def __init__(self, *failures: tuple[Stage, str]) -> None:
        self.failures = list(failures)
        self.greets: list[object] = []

    def __call__(self, *_: object, greet: bool) -> Ssh:
        self.greets.append(greet)
        if self.failures:
            raise NotReached(*self.failures.pop(0))
        return self


def test_a_machine_that_is_slow_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    ssh = Ssh(("port", "refused"), ("banner", "silent"))
    monkeypatch.setattr(bakery.machine.transport.ssh, "SshTransport", ssh)
    assert connect.connect(Endpoint(host="box"), KEYS) is ssh  # type: ignore[comparison-overlap]  # it stands in
    assert ssh.greets == [False] * 3


@pytest.mark.parametrize("stage", ["algorithms", "host key", "authentication"])
def test_a_machine_that_refuses_us_now_is_not_asked_again(monkeypatch: pytest.MonkeyPatch, stage: Stage) -> None:
    ssh = Ssh((stage, "no"), (stage, "no"))
    monkeypatch.setattr(bakery.machine.transport.ssh, "SshTransport", ssh)
    with pytest.raises(ConnectError, match=f"cannot log in to root@box port 22: {stage}") as raised:
        connect.connect(Endpoint(host="box"), KEYS)
    assert (raised.value.why, len(ssh.greets)) == ("no", 1)


def test_a_machine_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    refused: tuple[Stage, str] = ("port", "refused")
    monkeypatch.setattr(bakery.machine.transport.ssh, "SshTransport", Ssh(*[refused] * 1000))
    with pytest.raises(ConnectError, match="logging in to root@box port 22 for the smoke tests: timed out"):
        connect.connect(Endpoint(host="box"), KEYS)
    assert clock.now >= 1000 + connect.PATIENCE


def test_a_container_is_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bakery.machine.transport.namespace, "NamespaceTransport", lambda endpoint, _: endpoint)
    inside = Endpoint(transport="namespace", data={"pid": 7})
    assert connect.connect(inside, KEYS) is inside  # type: ignore[comparison-overlap]  # what the stand-in gives


# ---- a child over real pipes ------------------------------------------------------------------------------------


class Process:
    """A child that writes to its pipes what it is told, and then ends."""

    def __init__(self, events: bytes, output: bytes = b"", code: int = 0) -> None:
        self._said = events, output
        self._code = code
        self.pid = 2**22 + 7
        self.signals: list[int] = []

    def __call__(self, words: list[str], **_: Any) -> Process:
        outlet = int(next(word for word in words if word.startswith("--bakery-events=")).partition("=")[2])
        events, output = self._said
        os.write(outlet, events)
        self.stdout, write = os.fdopen(os.open(os.devnull, os.O_RDONLY), "rb"), -1
        reader, write = os.pipe()
        os.write(write, output)
        os.close(write)
        self.stdout.close()
        self.stdout = os.fdopen(reader, "rb")
        return self

    def wait(self, _timeout: float | None = None) -> int:
        return self._code


def lines(*events: dict[str, Any]) -> bytes:
    import json

    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


@pytest.fixture
def job(tmp_path: Path) -> SmokeJob:
    return replace(JOB, imagefile=tmp_path / "imagefile.py", junit=tmp_path / "run" / "junit.xml")


def start(monkeypatch: pytest.MonkeyPatch, process: Process) -> None:
    def killpg(_: int, number: int) -> None:
        process.signals.append(number)
        raise ProcessLookupError

    monkeypatch.setattr("subprocess.Popen", process)
    monkeypatch.setattr(os, "killpg", killpg)


def test_a_run_is_what_came_out_of_the_pipe(monkeypatch: pytest.MonkeyPatch, job: SmokeJob) -> None:
    start(monkeypatch, Process(lines(*GOOD)))
    report = runner.run(job, WorkContext(cache=Path()))
    assert ([r.test for r in report.results], report.ok, report.round_trips) == (["clock_is_right", "mine"], True, 7)
    assert job.junit.parent.is_dir()


@pytest.mark.parametrize(("code", "how"), [(3, "exit code 3"), (-11, "ended by SIGSEGV")])
def test_a_child_that_dies_says_how_and_its_last_words(
    monkeypatch: pytest.MonkeyPatch, job: SmokeJob, code: int, how: str
) -> None:
    start(monkeypatch, Process(lines(COLLECTED), b"Fatal Python error\n", code))
    with pytest.raises(SmokeError, match="ended in the middle") as raised:
        runner.run(job, WorkContext(cache=Path()))
    assert raised.value.why == f"{how}\nFatal Python error"


def test_a_cancelled_run_ends_the_child(monkeypatch: pytest.MonkeyPatch, job: SmokeJob) -> None:
    process = Process(lines(COLLECTED))
    start(monkeypatch, process)
    work = WorkContext(cache=Path())
    work.cancel.set("Ctrl-C")
    with pytest.raises(Interrupted, match="Ctrl-C"):
        runner.run(job, work)
    assert process.signals


def test_tests_that_take_too_long_are_ended_with_their_last_words(
    monkeypatch: pytest.MonkeyPatch, job: SmokeJob
) -> None:
    process = Process(lines(COLLECTED), b"hanging")
    start(monkeypatch, process)
    with pytest.raises(SmokeError, match="did not end within -1 s"):
        runner.run(replace(job, timeout=-1), WorkContext(cache=Path()))
    assert process.signals
