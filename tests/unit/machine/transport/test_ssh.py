"""SSH from our side: real handshakes and channels, with a server in this process."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Iterator

import pytest
from paramiko import PKey

from bakery.errors import ConnectError, Interrupted
from bakery.machine.transport import channel as channels
from bakery.machine.transport import connect
from bakery.machine.transport.base import ShellProgram
from bakery.machine.transport.ssh import SshTransport
from bakery.machine.transport.stages import NotReached
from bakery.model import Endpoint, Stream
from bakery.state.ssh_keys import make_keys
from bakery.util.results import Lost, TimedOut
from bakery.util.waiting import Cancel
from tests.unit.machine.transport.sshd import KEYS, Run, Server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server().install(monkeypatch)
    yield server
    server.cut()


@pytest.fixture
def cancel() -> Cancel:
    return Cancel()


@pytest.fixture
def ssh(server: Server, cancel: Cancel) -> Iterator[SshTransport]:
    transport = SshTransport(server.endpoint, KEYS.user_private, cancel)
    yield transport
    transport.close()


# ---- commands ---------------------------------------------------------------------------------------------------


def test_output_and_exit_code_come_back_as_they_were(ssh: SshTransport, server: Server) -> None:
    def make(run: Run) -> int:
        run.out("größer\n")
        run.err("warning\n")
        return 3

    server.commands["make"] = make
    heard: list[tuple[Stream, bytes]] = []
    result = ssh.run("make it", on_output=lambda stream, data: heard.append((stream, data)))
    assert (result.exited, result.stdout, result.stderr) == (3, "größer\n", "warning\n")
    assert b"".join(data for stream, data in heard if stream == "stdout") == "größer\n".encode()
    assert ssh.user == "root"


def test_what_start_files_say_is_nobodys_output(ssh: SshTransport, server: Server) -> None:
    def talk(run: Run) -> None:
        run.out("Welcome!\n")
        run.err("stty: standard input: Inappropriate ioctl\n")

    server.login = talk
    assert (ssh.run("true").stdout, ssh.run("true").stderr) == ("", "")


def test_standard_input_is_empty_where_none_is_given(ssh: SshTransport, server: Server) -> None:
    def cat(run: Run) -> int:
        run.out(f"{len(run.read())}\n")
        return 0

    server.commands["wc"] = cat
    assert ssh.run("wc -c").stdout == "0\n"


@pytest.mark.parametrize("size", [0, 1, 100_000, 3_000_000])
@pytest.mark.parametrize("as_file", [False, True])
def test_input_arrives_whole_however_long_it_is(ssh: SshTransport, server: Server, size: int, as_file: bool) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

    def digest(run: Run) -> int:
        run.out(hashlib.sha256(run.read()).hexdigest())
        return 0

    server.commands["sha256sum"] = digest
    result = ssh.run("sha256sum", input=io.BytesIO(data) if as_file else data)
    assert result.stdout == hashlib.sha256(data).hexdigest()


def test_a_command_need_not_read_its_input(ssh: SshTransport, server: Server) -> None:
    server.commands["true"] = lambda _: 0
    assert ssh.run("true", input=bytes(1 << 20)).exited == 0


def test_an_input_that_cannot_be_read_is_its_own_error(ssh: SshTransport, server: Server) -> None:
    class Broken(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            del size
            raise ValueError("no such sector")

    server.commands["cat"] = lambda run: len(run.read())
    with pytest.raises(ValueError, match="no such sector"):
        ssh.run("cat", input=Broken())  # type: ignore[arg-type]  # a file


def test_a_download_is_not_kept(ssh: SshTransport, server: Server) -> None:
    def send(run: Run) -> int:
        run.out(bytes(1 << 20))
        return 0

    server.commands["cat"] = send
    sizes: list[int] = []
    result = ssh.run("cat", on_output=lambda _, data: sizes.append(len(data)), collect=False)
    assert (result.stdout, sum(sizes)) == ("", 1 << 20)


def test_a_command_that_is_too_long_says_what_to_do(ssh: SshTransport) -> None:
    with pytest.raises(ValueError, match="longer than"):
        ssh.run("x" * 140_000)


@pytest.mark.parametrize(("leads", "before"), [("leader", []), ("setsid", ["setsid"]), ("bare", [])])
def test_a_command_gets_a_session_of_its_own_where_sshd_gives_none(
    server: Server, cancel: Cancel, leads: str, before: list[str]
) -> None:
    server.leads = leads
    transport = SshTransport(server.endpoint, KEYS.user_private, cancel)
    transport.run("true")
    transport.close()
    assert server.ran[-1].before == before


# ---- untimely ends ----------------------------------------------------------------------------------------------


def test_a_command_out_of_time_is_ended_with_what_it_had_said(ssh: SshTransport, server: Server) -> None:
    def hang(run: Run) -> int:
        run.out("half\n")
        return run.hang()

    server.commands["sleep"] = hang
    with pytest.raises(TimedOut) as raised:
        ssh.run("sleep 9", timeout=0.05)
    assert (raised.value.result.exited, raised.value.result.stdout) == (-1, "half\n")
    assert server.ended == [4711]
    assert ssh.run("true").exited == 0, "the connection lives"


def test_a_cancelled_run_ends_its_command(ssh: SshTransport, server: Server, cancel: Cancel) -> None:
    def hang(run: Run) -> int:
        cancel.set("Ctrl-C")
        return run.hang()

    server.commands["sleep"] = hang
    with pytest.raises(Interrupted, match="Ctrl-C"):
        ssh.run("sleep 9")
    assert server.ended[0] == 4711


def test_a_connection_that_ends_under_a_command_is_lost(ssh: SshTransport, server: Server) -> None:
    def die(_: Run) -> int:
        server.cut()
        return 0

    server.commands["boom"] = die
    with pytest.raises(Lost):
        ssh.run("boom")
    assert not ssh.alive
    with pytest.raises(Lost):
        ssh.run("true")


def test_what_an_earlier_process_left_running_is_ended(ssh: SshTransport, server: Server) -> None:
    ssh.end_leftovers()
    assert server.ended == [101, 102]


def test_a_login_user_ends_commands_by_sudo_too(monkeypatch: pytest.MonkeyPatch, cancel: Cancel) -> None:
    server = Server(user="admin").install(monkeypatch)
    transport = SshTransport(server.endpoint, KEYS.user_private, cancel)
    transport.end_leftovers()
    transport.close()
    server.cut()
    assert any("bakery-look" in line and "sudo" in line for line in server.lines)


def test_closing_is_safe_to_do_twice(ssh: SshTransport) -> None:
    assert ssh.alive
    ssh.close()
    ssh.close()
    assert not ssh.alive


def test_a_round_trip_is_measured_but_on_loopback(ssh: SshTransport, server: Server, cancel: Cancel) -> None:
    assert 0 < ssh.round_trip() < 5
    near = SshTransport(Endpoint(host="127.0.0.1", host_key=KEYS.host_public), KEYS.user_private, cancel)
    assert near.round_trip() == 0.0
    near.close()


# ---- what stands in the way of our shell ------------------------------------------------------------------------


def refusing(text: str, code: int) -> Callable[[Run], int]:
    def refuse(run: Run) -> int:
        run.out(text)
        return code

    return refuse


def test_a_login_shell_that_lets_nobody_work_is_explained(ssh: SshTransport, server: Server) -> None:
    server.login = refusing("This account is currently not available.\n", 1)
    with pytest.raises(ConnectError) as raised:
        ssh.run("true")
    assert "This account is currently not available." in f"{raised.value.what}\n{raised.value.why}"


def test_a_machine_that_lets_us_in_and_runs_nothing_is_asked_again(server: Server, cancel: Cancel) -> None:
    server.login = refusing("", 255)
    with pytest.raises((NotReached, ConnectError)):
        SshTransport(server.endpoint, KEYS.user_private, cancel)


def test_a_program_that_takes_the_line_and_waits_is_found_out(
    ssh: SshTransport, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A menu: it is not our shell, and reads what would be the command's input."""
    monkeypatch.setattr(channels, "STARTS", 0.1)
    monkeypatch.setattr("bakery.machine.transport.ssh.PATIENCE", 0.1)

    def menu(run: Run) -> int | None:
        if run.kind == "bakery-look":
            return None
        run.out("Choose: ")
        return run.hang()

    server.login = menu
    with pytest.raises(ConnectError) as raised:
        ssh.run("true", input=b"secret")
    assert "Choose:" in f"{raised.value.what} {raised.value.why}"


def test_a_start_file_that_never_stops_talking_is_no_shell(ssh: SshTransport, server: Server) -> None:
    def flood(run: Run) -> int:
        run.out(bytes(3 << 20))
        return 0

    server.login = flood
    with pytest.raises(ConnectError):
        ssh.run("true")


# ---- a shell to talk to -----------------------------------------------------------------------------------------


def echo(run: Run) -> int:
    while data := run.channel.recv(1000):
        run.out(data.upper())
    return 0


@pytest.mark.parametrize(("user", "before"), [("root", []), ("admin", ["sudo", "-n", "--"])])
def test_a_shell_is_roots_and_answers_what_it_is_told(
    monkeypatch: pytest.MonkeyPatch, cancel: Cancel, user: str, before: list[str]
) -> None:
    server = Server(user=user, commands={"bakery-shell": echo}).install(monkeypatch)
    transport = SshTransport(server.endpoint, KEYS.user_private, cancel)
    shell = transport.open_shell()
    assert (shell.pid, server.ran[-1].before) == (4711, before)
    shell.send(b"hello")
    answer = b""
    while len(answer) < 5:
        answer += b"".join(data for _, data in shell.receive(1))
    assert answer == b"HELLO"
    assert shell.receive(0) == []
    shell.close()
    with pytest.raises(Lost):
        shell.send(b"more")
    transport.close()
    server.cut()


def test_a_shell_that_ends_is_lost(ssh: SshTransport, server: Server) -> None:
    server.commands["bakery-shell"] = lambda _: 0
    shell = ssh.open_shell()
    with pytest.raises(Lost):
        _until_it_ends(shell)


def _until_it_ends(shell: ShellProgram) -> None:
    for _ in range(100):
        shell.receive(0.1)


def test_a_shell_that_does_not_come_says_what_came_instead(ssh: SshTransport, server: Server) -> None:
    server.login = refusing("sudo: a password is required\n", 1)
    with pytest.raises(ConnectError) as raised:
        ssh.open_shell()
    assert "a password is required" in f"{raised.value.what} {raised.value.why}"


def test_a_shell_that_is_late_is_given_up(ssh: SshTransport, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "STARTS", 5)
    server.login = lambda run: run.hang() if run.kind == "bakery-shell" else None
    with pytest.raises(ConnectError):
        ssh.open_shell(timeout=0.05)
    for run in server.ran:
        run.ended.set()


# ---- few sessions -----------------------------------------------------------------------------------------------


def test_a_second_connection_is_opened_where_one_has_too_few_sessions(
    server: Server, cancel: Cancel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bakery.machine.transport.ssh.CROWDED", 0.02)
    server.sessions = 1
    server.commands["bakery-shell"] = echo
    transport = SshTransport(server.endpoint, KEYS.user_private, cancel)
    shell = transport.open_shell()
    assert transport.run("true").exited == 0
    assert len(server.transports) == 2
    shell.close()
    transport.close()


def test_a_server_that_allows_no_session_is_said_to(
    server: Server, cancel: Cancel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bakery.machine.transport.ssh.CROWDED", 0.02)
    server.sessions = 0
    with pytest.raises(ConnectError, match="open no session") as raised:
        SshTransport(server.endpoint, KEYS.user_private, cancel)
    assert "MaxSessions" in raised.value.hint


# ---- connecting -------------------------------------------------------------------------------------------------


def test_another_host_key_than_the_pinned_one_is_never_spoken_to(server: Server, cancel: Cancel) -> None:
    server.key = make_keys("other").host_private
    with pytest.raises(NotReached) as raised:
        SshTransport(server.endpoint, KEYS.user_private, cancel)
    assert raised.value.stage == "host key"
    assert "wanted SHA256:" in raised.value.reason
    assert server.lines == []


def test_a_machine_that_does_not_take_our_key_yet_says_for_whom(server: Server, cancel: Cancel) -> None:
    server.takes = lambda _: False
    with pytest.raises(NotReached) as raised:
        SshTransport(server.endpoint, KEYS.user_private, cancel)
    assert raised.value.stage == "authentication"
    assert "refused our key for root" in raised.value.reason


def test_only_the_key_that_we_were_given_is_shown(server: Server, cancel: Cancel) -> None:
    seen: list[str] = []

    def takes(key: PKey) -> bool:
        seen.append(key.get_base64())
        return True

    server.takes = takes
    SshTransport(server.endpoint, KEYS.user_private, cancel).close()
    assert {*seen} == {KEYS.user_public.split()[1]}


def test_a_server_without_a_cipher_of_ours_names_what_it_has(server: Server, cancel: Cancel) -> None:
    server.ciphers = ("3des-cbc",)
    with pytest.raises(NotReached) as raised:
        SshTransport(server.endpoint, KEYS.user_private, cancel)
    assert raised.value.stage == "algorithms"
    assert "has no cipher that this host knows: it has 3des-cbc" in raised.value.reason


def test_a_machine_with_another_kind_of_key_names_what_it_has(server: Server, cancel: Cancel) -> None:
    other = Endpoint(host="192.0.2.1", host_key="ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ==")
    with pytest.raises(NotReached) as raised:
        SshTransport(other, KEYS.user_private, cancel)
    assert raised.value.stage == "host key"
    assert "it has ssh-ed25519" in raised.value.reason


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_what_is_no_ssh_server_is_known_by_its_first_word(
    cancel: Cancel, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    import socket

    def knock(*_: object) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.sendall(said)
        ours.close()
        return theirs

    monkeypatch.setattr(connect, "knock", knock)
    with pytest.raises(NotReached) as raised:
        SshTransport(Endpoint(host="192.0.2.1", host_key=KEYS.host_public), KEYS.user_private, cancel)
    assert raised.value.stage == "banner"


def test_a_connection_that_is_refused_leaves_no_thread_behind(server: Server, cancel: Cancel) -> None:
    server.takes = lambda _: False
    before = threading.enumerate()
    with pytest.raises(NotReached):
        SshTransport(server.endpoint, KEYS.user_private, cancel)
    server.cut()
    for thread in set(threading.enumerate()) - set(before):
        thread.join(10)
        assert not thread.is_alive()
