"""The way into a container: what `nsenter` is told, and what is made of its answer; no process is started."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bakery.errors import ConnectError, TaskError
from bakery.machine.command import Command
from bakery.machine.local import run_here
from bakery.machine.transport import namespace
from bakery.machine.transport.frame import Frame
from bakery.machine.transport.namespace import NamespaceTransport, ShellProcess, entering, environment, start_time
from bakery.model import Endpoint, Result, Stream
from bakery.redaction.secret import Secret
from bakery.util import process_attributes
from bakery.util.results import Lost
from bakery.util.waiting import Cancel
from tests.unit.clock import Clock

OWN = os.getpid()


@dataclass
class Process:
    """What `run_process` is given, and what comes of it: the frame's marks around what `says` writes."""

    says: tuple[str, str, int] = ("", "", 0)
    login: str = ""
    proves: bool = True
    tells: bool = True
    exited: int | None = None
    on_run: Callable[[], object] = lambda: None
    calls: list[tuple[list[str], dict[str, Any]]] = field(default_factory=list[tuple[list[str], dict[str, Any]]])

    def __call__(self, argv: list[str], **options: Any) -> Result:
        self.calls.append((argv, options))
        self.on_run()
        frame: Frame = options["frame"]
        at = argv.index("bakery-run")
        mark = argv[at + 1] + argv[at + 2]
        out, err, code = self.says
        whole: dict[Stream, str] = {"stdout": self.login, "stderr": ""}
        if self.proves:
            whole = {"stdout": f"{self.login}{mark};{out}", "stderr": f"{mark}:77;{err}"}
            whole["stderr"] += f"{mark}:{code};" if self.tells else ""
        taken = {name: frame.take(name, text.encode()).decode() for name, text in whole.items()}
        return Result(
            command=options["command"],
            exited=code if self.exited is None else self.exited,
            stdout=taken["stdout"],
            stderr=taken["stderr"],
        )


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    process = Process()
    monkeypatch.setattr(namespace, "run_process", process)
    return process


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def inside(process: Process, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> NamespaceTransport:
    """A container whose leader is this process, as far as process ids go."""
    monkeypatch.setattr(namespace, "_same", lambda *_: False)
    return NamespaceTransport(Endpoint(transport="namespace", data={"pid": OWN}), clock)


def test_a_command_is_entered_with_all_that_belongs_to_the_container(
    inside: NamespaceTransport, process: Process
) -> None:
    process.says = ("out\n", "err\n", 3)
    result = inside.run("make", input=b"in", timeout=5)
    assert (result.exited, result.stdout, result.stderr, result.command) == (3, "out\n", "err\n", "make")
    argv, options = process.calls[0]
    assert argv[: len(argv) - argv[::-1].index("--")] == entering(OWN)[:-1]
    assert options["cwd"] == Path("/")
    assert options["umask"] == process_attributes.UMASK
    assert (options["input"], options["timeout"], inside.user, inside.alive) == (b"in", 5, "root", True)
    assert set(options["env"]) == {"PATH", "HOME", "USER", "LOGNAME", "SHELL"}


def test_what_a_start_file_says_is_nobodys_output(inside: NamespaceTransport, process: Process) -> None:
    process.login = "Welcome\n"
    assert inside.run("true").stdout == ""


def test_a_shell_that_is_none_is_said_so(inside: NamespaceTransport, process: Process) -> None:
    process.proves, process.login = False, "not a shell"
    with pytest.raises(ConnectError, match="does not run our commands") as raised:
        inside.run("true")
    assert raised.value.why == "not a shell"


def test_a_shell_that_was_ended_before_it_could_tell_was_killed(inside: NamespaceTransport, process: Process) -> None:
    process.tells = False
    assert inside.run("kill -9 $PPID").exited == namespace.KILLED


@pytest.mark.parametrize("exited", [1, 137])
def test_a_container_that_ends_under_a_command_is_lost(
    inside: NamespaceTransport, process: Process, monkeypatch: pytest.MonkeyPatch, exited: int
) -> None:
    process.exited = exited
    process.says = ("", "", exited)
    process.on_run = lambda: monkeypatch.setattr(namespace, "start_time", lambda _: None)
    with pytest.raises(Lost, match="is gone"):
        inside.run("poweroff -f")
    with pytest.raises(Lost):
        inside.run("true")
    assert not inside.alive


def test_a_command_that_was_killed_in_a_container_that_lives_is_a_result(
    inside: NamespaceTransport, process: Process, clock: Clock
) -> None:
    process.says = ("", "", 137)
    started = clock.now
    assert inside.run("kill -9 $$").exited == 137
    assert clock.now - started >= namespace.DYING, "a dying container kills what runs in it first"


def test_a_command_that_failed_while_systemd_ends_all_waits_for_the_containers_end(
    inside: NamespaceTransport, process: Process, clock: Clock
) -> None:
    process.says = ("", "", 143)
    name, own, started = Path("/proc/self/comm"), Path("/proc/self/comm").read_text(), clock.now
    name.write_text("systemd-shutdown")
    try:
        assert inside.run("systemctl reboot; sleep 60").exited == 143
    finally:
        name.write_text(own)
    assert clock.now - started >= namespace.SHUTDOWN


def test_nsenter_may_be_missing(inside: NamespaceTransport, process: Process) -> None:
    def missing() -> None:
        raise FileNotFoundError("nsenter")

    process.on_run = missing
    with pytest.raises(ConnectError, match="nsenter is missing") as raised:
        inside.run("true")
    assert raised.value.hint == "apt-get install util-linux"


def test_what_was_closed_is_not_used_again(inside: NamespaceTransport) -> None:
    inside.close()
    with pytest.raises(Lost):
        inside.run("true")
    assert inside.round_trip() == 0.0


# ---- whose root it is -------------------------------------------------------------------------------------------


def test_this_hosts_root_is_never_entered(clock: Clock) -> None:
    with pytest.raises(ConnectError, match="has this host's root folder") as raised:
        NamespaceTransport(Endpoint(data={"pid": OWN}), clock)
    assert "not in a container" in raised.value.why
    assert clock.now >= 1000 + namespace.ROOTED


def test_a_leader_that_enters_its_root_a_moment_later_is_waited_for(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(namespace, "_same", lambda *_: clock.now < 1000.5)
    assert NamespaceTransport(Endpoint(data={"pid": OWN}), clock).alive
    assert 1000.5 <= clock.now < 1001


@pytest.mark.parametrize("data", [{"pid": 2**22 + 7}, {"pid": OWN, "start": 1}])
def test_a_process_id_that_is_anothers_now_is_not_entered(data: dict[str, int]) -> None:
    with pytest.raises(ConnectError, match="is gone"):
        NamespaceTransport(Endpoint(data=data), Cancel())


def test_a_process_that_is_gone_has_no_root_and_no_start(tmp_path: Path) -> None:
    assert namespace._same(str(tmp_path), str(tmp_path))
    assert not namespace._same(str(tmp_path / "gone"), "/")
    assert start_time(2**22 + 7) is None
    assert (start_time(OWN) or 0) > 0


def test_commands_have_the_environment_of_a_login_by_root(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.read_text
    accounts = {"text": "daemon:x:1:1::/:/bin/false\nroot:x:0:0:root:/root:/bin/zsh\n"}

    def read(self: Path, *args: Any, **options: Any) -> str:
        if str(self).endswith("/root/etc/passwd"):
            if not accounts["text"]:
                raise FileNotFoundError
            return accounts["text"]
        return real(self, *args, **options)

    monkeypatch.setattr(Path, "read_text", read)
    assert environment(1)["SHELL"] == "/bin/zsh"
    for text in ("", "root:x:0:0:root:/root:\n", "nobody:x:1:1::/:/bin/false\n"):
        accounts["text"] = text
        assert environment(1) == dict(namespace.ENVIRONMENT)


def test_leftovers_are_known_by_the_words_that_started_them(
    inside: NamespaceTransport, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for pid, words in {
        "101": ["nsenter", "--target", str(OWN), "--all"],
        "102": ["nsenter", "--target", "1", "--all"],
        "103": ["vim"],
    }.items():
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "cmdline").write_text("\0".join(words) + "\0")
    (tmp_path / "104").mkdir()
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(Path, "glob", lambda _self, _pattern: sorted(tmp_path.iterdir()))
    monkeypatch.setattr(os, "killpg", lambda group, number: killed.append((group, number)))
    inside.end_leftovers()
    assert killed == [(101, signal.SIGKILL)]


# ---- a shell to talk to -----------------------------------------------------------------------------------------


class Child:
    """A shell in the container: its three pipes, held by the test."""

    def __init__(self, answers: bool = True, stuck: bool = False) -> None:
        self.killed = False
        self._stuck = stuck
        read, self._in = os.pipe()
        self.stdin = os.fdopen(self._in, "wb", buffering=0)
        self.got = os.fdopen(read, "rb", buffering=0)
        out_read, self.out = os.pipe()
        err_read, self.err = os.pipe()
        self.stdout, self.stderr = os.fdopen(out_read, "rb", buffering=0), os.fdopen(err_read, "rb", buffering=0)
        self._answers = answers

    def __call__(self, argv: list[str], **_: Any) -> Child:
        at = argv.index("bakery-shell")
        mark = (argv[at + 1] + argv[at + 2]).encode()
        if self._answers:
            os.write(self.out, b"motd\n" + mark + b";first\n")
            os.write(self.err, mark + b":42;")
        else:
            self.end()
        return self

    def end(self) -> None:
        os.close(self.out)
        os.close(self.err)

    def kill(self) -> None:
        self.killed = True

    def wait(self, seconds: float | None = None) -> int:
        if self._stuck and not self.killed:
            assert seconds is not None, "it never ends by itself"
            raise subprocess.TimeoutExpired("sh", seconds)
        assert self.killed or self.got.read() == b"", "its input has not ended"
        self.got.close()
        return 0


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Child:
    child = Child()
    monkeypatch.setattr("subprocess.Popen", child)
    return child


def test_a_shell_answers_what_it_is_told(inside: NamespaceTransport, child: Child) -> None:
    shell = inside.open_shell()
    assert (shell.pid, shell.receive(0)) == (42, [("stdout", b"first\n")])
    shell.send(b"echo hello\n")
    assert child.got.read(11) == b"echo hello\n"
    os.write(child.err, b"oops")
    assert shell.receive(1) == [("stderr", b"oops")]
    child.end()
    with pytest.raises(Lost):
        shell.receive(1)
    shell.close()
    assert not child.killed, "it ends by itself, and whoever started it in the container sees that"
    with pytest.raises(Lost, match="the shell has ended"):
        shell.send(b"more")


def test_a_shell_that_does_not_end_is_killed(inside: NamespaceTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    child = Child(stuck=True)
    monkeypatch.setattr("subprocess.Popen", child)
    inside.open_shell().close()
    assert child.killed


def test_a_shell_that_ends_at_once_is_none(inside: NamespaceTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    child = Child(answers=False)
    monkeypatch.setattr("subprocess.Popen", child)
    with pytest.raises(ConnectError, match="does not run our commands"):
        inside.open_shell()
    assert not child.killed


def test_a_program_that_cannot_be_started_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("not permitted")

    monkeypatch.setattr("subprocess.Popen", refuse)
    with pytest.raises(ConnectError, match="cannot run nsenter --target") as raised:
        ShellProcess(["nsenter", "--target", "1"], Frame("shell"), {})
    assert raised.value.why == "not permitted"


# ---- commands on this host --------------------------------------------------------------------------------------


def test_a_local_command_runs_in_the_imagefiles_folder_with_this_hosts_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[tuple[list[str], dict[str, Any]]] = []

    def run(argv: list[str], **options: Any) -> Result:
        calls.append((argv, options))
        return Result(command="sh -c ...", exited=0, stdout="x")

    monkeypatch.setattr("bakery.machine.local.run_process", run)
    monkeypatch.setenv("OF_THIS_HOST", "1")
    result = run_here(
        Command(command="make $X"),
        tmp_path,
        Cancel(),
        lambda *_: None,
        env={"X": Secret("s3cret")},
        input="täxt",
        timeout=3,
        cwd="sub",
    )
    argv, options = calls[0]
    assert argv == ["sh", "-c", "make $X"]
    assert (options["env"]["X"], options["env"]["OF_THIS_HOST"]) == ("s3cret", "1")
    assert (options["cwd"], options["input"], options["timeout"]) == (tmp_path / "sub", "täxt".encode(), 3)
    assert result.command == "make $X"
    run_here(Command(command=("make", "a b")), tmp_path, Cancel(), lambda *_: None)
    assert calls[1][0] == ["make", "a b"]


def test_a_local_program_that_is_not_there_is_the_tasks_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise FileNotFoundError(2, "No such file or directory", "maek")

    monkeypatch.setattr("bakery.machine.local.run_process", missing)
    with pytest.raises(TaskError, match="cannot run `maek` on this host") as raised:
        run_here(Command(command=("maek",)), tmp_path, Cancel(), lambda *_: None)
    assert "No such file" in raised.value.why
