"""The SSH transport against a real sshd."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, cast

import psutil
import pytest

import bakery.machine.execute
import bakery.machine.transport.ssh
from bakery import Machine, Secret
from bakery.errors import CommandFailed, ConnectError, DriverError, Interrupted, NotYet, TaskError
from bakery.machine.shell import shell_command, write_login
from bakery.machine.transport.link import Link
from bakery.model import Endpoint
from bakery.state.ssh_keys import make_keys
from bakery.testing.sshd import Server
from bakery.util.results import Lost, TimedOut
from bakery.util.waiting import Cancel, until

pytestmark = pytest.mark.live


def running(marker: str) -> list[int]:
    """The processes that have a text in their arguments."""
    processes = psutil.process_iter(["cmdline"])
    return [p.pid for p in processes if marker in " ".join(p.info["cmdline"] or []) and p.pid != os.getpid()]


def gone(marker: str) -> bool:
    deadline = time.monotonic() + 10
    while running(marker) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not running(marker)


def test_both_streams_and_the_exit_code_come_back(machine: Machine) -> None:
    result = machine.run("echo out; echo err >&2; exit 3", warn=True)
    assert (result.stdout, result.stderr, result.exited) == ("out\n", "err\n", 3)


def test_death_by_a_signal_is_an_exit_code(machine: Machine) -> None:
    assert machine.run("kill -9 $$", warn=True).exited == 137
    assert machine.run("kill -TERM $$", warn=True).exited == 143


def test_output_is_seen_as_it_comes(machine: Machine, server: Server) -> None:
    pipe = server.folder / "pipe"
    os.mkfifo(pipe)
    done = threading.Thread(target=lambda: machine.run(f"echo first; cat {pipe}"))
    done.start()
    deadline = time.monotonic() + 20
    while "first" not in server.output and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.output == "first"
    pipe.write_text("second\n")
    done.join(20)
    assert server.output == "first\nsecond"


def test_much_input_and_much_output_do_not_block_each_other(machine: Machine) -> None:
    data = os.urandom(8_000_000)
    sent = hashlib.sha256(data).hexdigest()
    transport = machine._link.open()
    seen = hashlib.sha256()
    result = transport.run(
        "cat", input=data, on_output=lambda s, d: seen.update(d) if s == "stdout" else None, collect=False
    )
    assert (result.exited, seen.hexdigest(), result.stdout) == (0, sent, "")


def test_a_command_that_does_not_read_its_input_is_not_waited_for(machine: Machine) -> None:
    assert machine.run("head -c 3", input=b"x" * 5_000_000).stdout == "xxx"


def test_a_program_in_the_background_does_not_hold_the_command(machine: Machine) -> None:
    started = time.monotonic()
    assert machine.run("sleep 4711.1 & echo done").stdout == "done\n"
    assert time.monotonic() - started < 5
    machine.run("pkill -f 'sleep 4711[.]1'")


@pytest.mark.parametrize("style", ["leader", "bare"])
@pytest.mark.parametrize("streams", ["", "exec >/dev/null 2>&1; "])
def test_a_timeout_ends_all_that_a_command_started(machine: Machine, style: str, streams: str) -> None:
    transport = machine._link.open()
    vars(transport)["_own_session"] = style
    nap = f"{os.getpid()}.471"  # what an earlier run left must not be mistaken for ours
    with pytest.raises(CommandFailed, match="longer than its timeout") as raised:
        machine.run(f"echo begun; sleep {nap}1 & {streams}(trap '' TERM; sleep {nap}2)", timeout=0.5, hide=True)
    assert raised.value.why == "begun"
    assert gone(f"sleep {nap}")
    assert machine.run("echo on").ok


def test_a_timeout_ends_what_another_user_runs(machine: Machine) -> None:
    with pytest.raises(CommandFailed, match="timeout"):
        machine.run("sleep 4713.1", user="nobody", timeout=0.5)
    assert gone("sleep 4713")


def test_a_cancelled_run_ends_the_command(machine: Machine, server: Server) -> None:
    machine.run("true")
    threading.Timer(0.3, server.cancel.set, ["Ctrl-C"]).start()
    started = time.monotonic()
    with pytest.raises(Interrupted, match="Ctrl-C"):
        machine.run("sleep 4714.1")
    assert time.monotonic() - started < 5
    assert gone("sleep 4714")


def test_a_call_costs_milliseconds(machine: Machine) -> None:
    machine.run("true")
    times = []
    for _ in range(20):
        started = time.monotonic()
        machine.run("true")
        times.append(time.monotonic() - started)
    assert sorted(times)[5] < 0.03  # 40 ms is what Nagle's algorithm costs


def test_another_host_key_is_refused(server: Server) -> None:
    endpoint = replace(server.endpoint, host_key=make_keys("x").host_public)
    with pytest.raises(ConnectError, match="another host key"):
        server.link(endpoint, timeout=1).open()


def test_another_login_key_is_refused(server: Server) -> None:
    with pytest.raises(ConnectError, match="sshd refused the key"):
        server.link(keys=make_keys("x"), timeout=1).open()


def test_a_port_where_nobody_listens_is_named(server: Server) -> None:
    server.stop()
    with pytest.raises(ConnectError, match="Connection refused"):
        server.link(timeout=1).open()


def test_nothing_of_the_users_home_is_read(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host *\n  ProxyCommand false\n  Port 1\n")
    (tmp_path / ".fabric.yml").write_text("user: nobody\nconnect_kwargs: {compress: true}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    assert server.machine().run("id -un").stdout == "root\n"


def test_a_bastion_is_gone_through_and_pinned_too(servers: Callable[[str], Server]) -> None:
    bastion, inner = servers("bastion"), servers("inner")
    way = replace(inner.endpoint, gateway=bastion.endpoint)
    assert inner.machine(way).run("echo $SSH_CONNECTION").ok
    assert len(bastion.sessions()) >= 1
    wrong = replace(way, gateway=replace(bastion.endpoint, host_key=inner.keys.host_public))
    with pytest.raises(ConnectError, match="another host key"):
        inner.link(wrong, timeout=1).open()


@pytest.fixture
def jump(servers: Callable[[str], Server], tmp_path: Path) -> tuple[Server, Path]:
    """Start a bastion that takes the user's key, and no machine's."""
    mine = make_keys("me")
    bastion = servers("jump")
    (bastion.folder / "authorized_keys").write_text(mine.user_public + "\n")
    key = tmp_path / "id_of_mine"
    key.touch(mode=0o600)
    key.write_text(mine.user_private)
    return bastion, key


def test_a_bastion_is_logged_in_to_with_a_key_of_its_own(
    jump: tuple[Server, Path], server: Server, tmp_path: Path
) -> None:
    bastion, key = jump
    refused = replace(server.endpoint, gateway=bastion.endpoint)
    with pytest.raises(ConnectError, match="refuse"):
        server.link(refused, timeout=1).open()
    way = replace(server.endpoint, gateway=replace(bastion.endpoint, key=str(key)))
    assert server.machine(way).run("echo through").stdout == "through\n"
    lost = replace(server.endpoint, gateway=replace(bastion.endpoint, key=str(tmp_path / "none")))
    with pytest.raises(ConnectError, match="cannot be used"):
        server.link(lost, timeout=1).open()
    write_login(way, server.keys, tmp_path)
    shell = subprocess.run([*shell_command(way, tmp_path), "echo shell"], capture_output=True, text=True, check=False)
    assert shell.stdout == "shell\n", shell.stderr


def test_a_bastion_may_be_logged_in_to_by_the_agent(
    jump: tuple[Server, Path], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bastion, key = jump
    socket = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        until(lambda: _there(socket), what="the agent listens", timeout=10, cancel=Cancel())
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        subprocess.run(["ssh-add", "-q", str(key)], check=True, stderr=subprocess.DEVNULL)
        way = replace(server.endpoint, gateway=replace(bastion.endpoint, key="agent"))
        machine = server.machine(way)
        assert machine.run("echo through").stdout == "through\n"
        machine.close()
    finally:
        agent.terminate()
        agent.wait()


def _there(path: Path) -> None:
    if not path.exists():
        raise NotYet(f"no {path}")


def test_a_lost_connection_is_said_to_be_lost_and_opened_again(machine: Machine) -> None:
    with pytest.raises(TaskError, match="the connection was lost under `kill") as raised:
        machine.run("kill -9 $(ps -o ppid= -p $PPID) $PPID; sleep 60")
    assert "lets us in again" in raised.value.hint
    assert machine.run("echo again").stdout == "again\n"


def test_a_script_may_cut_the_connection_where_that_is_expected(machine: Machine) -> None:
    script = "kill -9 $(ps -o ppid= -p $PPID) $(ps -o ppid= -p $(ps -o ppid= -p $PPID)) $PPID\nsleep 60\n"
    assert machine.script(script, expect_disconnect=True).ok
    assert machine.run("echo again").stdout == "again\n"
    with pytest.raises(TaskError, match="the connection was lost under `script"):
        machine.script(script)


def test_a_task_that_stops_sshd_ends_with_a_clear_message(
    machine: Machine, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bakery.machine.execute, "RECONNECT", 1.0)
    machine.run("true")
    threading.Timer(0.3, server.stop).start()
    with pytest.raises(TaskError, match="does not let us in again") as raised:
        machine.run("sleep 60")
    assert "did the command stop sshd" in raised.value.hint


def test_a_machine_that_dies_under_a_command_is_said_to_be_dead(server: Server) -> None:
    alive = True

    def endpoint() -> Endpoint:
        if not alive:
            raise DriverError("the machine died", why="its last words")
        return server.endpoint

    machine = server.machine()
    machine._link.endpoint = machine._alive = endpoint
    machine.run("true")
    alive = False
    threading.Timer(0.3, server.stop).start()
    with pytest.raises(DriverError, match="its last words"):
        machine.run("sleep 60")


def test_a_machine_that_falls_silent_is_noticed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bakery.machine.transport.ssh, "SILENCE", 1)
    transport = server.link().open()
    for pid in server.sessions():
        os.kill(pid, signal.SIGSTOP)  # the kernel still acknowledges every packet
    with pytest.raises(Lost):
        transport.run("true")


def test_a_shell_can_be_talked_to(machine: Machine) -> None:
    shell = machine._link.open().open_shell()
    shell.send(b"echo one; echo two >&2\n")
    came: dict[str, bytes] = {"stdout": b"", "stderr": b""}
    while b"".join(came.values()).count(b"\n") < 2:
        for stream, data in shell.receive(timeout=20):
            came[stream] += data
    assert came == {"stdout": b"one\n", "stderr": b"two\n"}
    assert shell.receive(timeout=0.1) == []
    shell.send(b"exit\n")
    with pytest.raises(Lost):
        shell.receive(timeout=20)
    shell.close()


def test_the_transport_itself_says_that_time_ran_out(machine: Machine) -> None:
    with pytest.raises(TimedOut) as raised:
        machine._link.open().run("echo a; sleep 60", timeout=0.3)
    assert (raised.value.result.exited, raised.value.result.stdout) == (-1, "a\n")


def test_an_input_that_cannot_be_read_is_the_error(machine: Machine) -> None:
    class Broken(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise RuntimeError(f"disk error after {size}")

    with pytest.raises(RuntimeError, match="disk error"):
        machine.run("cat", input=cast("IO[bytes]", Broken()))


def test_a_secret_is_in_no_argument_list_of_the_machine(machine: Machine) -> None:
    secret = Secret("hunter22-in-env")
    shown = machine.run('echo "$TOKEN"; cat /proc/[0-9]*/cmdline 2>&1; true', env={"TOKEN": secret}, hide=True).stdout
    assert shown.startswith("hunter22-in-env\n")
    assert shown.count("hunter22-in-env") == 1


def test_input_and_environment_share_the_pipe(machine: Machine) -> None:
    tricky = "a 'b' \"c\"\n\\n $HOME `id`\n"
    result = machine.run('printf %s "$A"; cat', env={"A": tricky}, input=io.BytesIO(b"rest\n"), hide=True)
    assert result.stdout == tricky + "rest\n"


def test_a_link_can_be_closed_twice(server: Server) -> None:
    link: Link = server.link()
    link.open()
    link.close()
    link.close()
    assert link.reopen().run("true").ok
    link.close()


def test_a_bastion_that_cannot_reach_the_machine_is_named(servers: Callable[[str], Server]) -> None:
    bastion, inner = servers("bastion"), servers("inner")
    way = replace(inner.endpoint, gateway=bastion.endpoint)
    inner.stop()
    with pytest.raises(ConnectError, match="seen from the bastion"):
        inner.link(way, timeout=1).open()
