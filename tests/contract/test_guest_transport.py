"""Guest operations as a transport: a real shell, real files, and nothing between but what guest operations can do."""

from __future__ import annotations

import io
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import pytest

from bakery import Machine, Secret
from bakery.drivers.vsphere.guest import command as commands
from bakery.drivers.vsphere.guest.transport import GuestTransport
from bakery.errors import CommandFailed, ConnectError, Interrupted, TaskError
from bakery.machine.transport.link import Link
from bakery.machine.transport.stages import NotReached
from bakery.model import Endpoint, Stream
from bakery.smoke.shell import Shell
from bakery.state.ssh_keys import make_keys
from bakery.util.context import WorkContext
from bakery.util.results import Lost, TimedOut
from bakery.util.waiting import Cancel
from tests.contract.guest_on_host import WAY, HostGuest, command_lines, remove

SHELLS = {"dash": ("dash",), "bash": ("bash",), "busybox": ("busybox", "sh")}
pytestmark = [pytest.mark.timeout(120), pytest.mark.skipif(os.geteuid() != 0, reason="entered as root")]


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[HostGuest]:
    (tmp_path / "guest").mkdir()
    guest = HostGuest(tmp_path / "guest")
    HostGuest.known["here"] = guest
    yield guest
    del HostGuest.known["here"]
    assert list(guest.place.iterdir()) == [], "files of ours are left in the guest"
    deadline = time.monotonic() + 5
    while guest.supervisors and time.monotonic() < deadline:
        time.sleep(0.05)
    assert guest.supervisors == []


@pytest.fixture
def way(guest: HostGuest) -> Iterator[GuestTransport]:
    way = GuestTransport(guest, "root", Cancel())
    yield way
    way.close()


@pytest.fixture
def link(guest: HostGuest, tmp_path: Path) -> Iterator[Link]:
    link = Link(lambda: Endpoint(transport=WAY, host="here"), make_keys("guest"), WorkContext(cache=tmp_path))
    yield link
    link.close()


@pytest.fixture
def machine(link: Link, tmp_path: Path) -> Machine:
    return Machine(link, tmp_path, WorkContext(cache=tmp_path))


@pytest.mark.parametrize("shell", SHELLS)
def test_a_command_has_input_output_and_an_exit_code(guest: HostGuest, shell: str) -> None:
    if shutil.which(SHELLS[shell][0]) is None:
        pytest.skip(f"this host has no {shell}")
    guest.shell = SHELLS[shell]
    way = GuestTransport(guest, "root", Cancel())
    came: list[tuple[Stream, bytes]] = []
    result = way.run("cat; echo oops >&2; exit 7", input=b"one\n\0two", on_output=lambda *one: came.append(one))
    assert (result.exited, result.stdout, result.stderr) == (7, "one\n\0two", "oops\n")
    assert sorted(came) == [("stderr", b"oops\n"), ("stdout", b"one\n\0two")]
    assert way.run("cat").stdout == ""
    assert way.run("kill -9 $$").exited == 137
    way.close()


def test_a_command_finds_what_sshd_would_have_given_it(way: GuestTransport) -> None:
    seen = way.run('echo "$HOME $USER $LOGNAME $SHELL $PATH"; umask; env | cut -d= -f1 | sort').stdout.splitlines()
    assert seen[0].startswith("/root root root /bin/")
    assert seen[0].endswith(" /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    assert seen[1] == "0022"
    assert set(seen[2:]) <= {"HOME", "LOGNAME", "OLDPWD", "PATH", "PWD", "SHELL", "SHLVL", "USER", "_"}


@pytest.mark.parametrize("size", [0, 1, 100_000, 9_000_000])
def test_input_and_output_of_any_size_come_whole(way: GuestTransport, size: int) -> None:
    data = os.urandom(size)
    got = bytearray()
    way.run("cat", input=cast("IO[bytes]", io.BytesIO(data)), on_output=lambda _, more: got.extend(more), collect=False)
    assert bytes(got) == data


def test_the_guest_holds_two_pieces_of_each_stream_and_no_more(
    guest: HostGuest, way: GuestTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 0
    listed = guest.sizes

    def sizes(folder: str, number: int) -> object:
        nonlocal most
        most = max(most, sum(path.stat().st_size for path in Path(folder).iterdir() if path.is_file()))
        return listed(folder, number)

    monkeypatch.setattr(guest, "sizes", sizes)
    got = 0

    def take(_: Stream, data: bytes) -> None:
        nonlocal got
        got += len(data)

    way.run("dd if=/dev/zero bs=1M count=40 2>/dev/null", on_output=take, collect=False)
    assert got == 40 << 20
    assert most <= 3 * commands.PIECE + (1 << 20)


def test_a_command_that_leaves_its_input_unread_ends_all_the_same(way: GuestTransport) -> None:
    source = cast("IO[bytes]", io.BytesIO(b"first\n" + bytes(30_000_000)))
    assert way.run("head -n 1", input=source).stdout == "first\n"


def test_what_a_command_leaves_in_the_background_holds_nobody_up(way: GuestTransport) -> None:
    began = time.monotonic()
    result = way.run("(sleep 30; echo late) & echo $!; echo early")
    assert time.monotonic() - began < 10
    pid, early = result.stdout.splitlines()
    assert early == "early"
    os.kill(int(pid), 9)


def test_output_is_heard_while_the_command_runs(way: GuestTransport) -> None:
    heard: list[tuple[float, bytes]] = []
    began = time.monotonic()
    way.run("echo one; sleep 2; echo two", on_output=lambda _, data: heard.append((time.monotonic() - began, data)))
    assert [data for _, data in heard] == [b"one\n", b"two\n"]
    assert heard[0][0] < 1.5


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(way: GuestTransport, tmp_path: Path) -> None:
    with pytest.raises(TimedOut) as caught:
        way.run(f"echo begun; (setsid sleep 61; touch {tmp_path}/alive) & sleep 61", timeout=1.5)
    assert caught.value.result.stdout == "begun\n"
    assert running("sleep 61") == []


def running(words: str) -> list[str]:
    return [line for line in command_lines() if line == words]


def test_a_cancelled_run_ends_its_command(guest: HostGuest) -> None:
    cancel = Cancel()
    way = GuestTransport(guest, "root", cancel)
    with pytest.raises(Interrupted, match="enough"):
        way.run("echo begun; sleep 62", on_output=lambda *_: cancel.set("enough"))
    assert running("sleep 62") == []
    way.close()


def test_tools_that_start_anew_are_waited_for(guest: HostGuest, way: GuestTransport) -> None:
    result = way.run(
        "echo one; sleep 1; echo two; cat",
        input=cast("IO[bytes]", io.BytesIO(bytes(5_000_000))),
        on_output=lambda *_: setattr(guest, "away", 3 if "delete" not in guest.calls else 0),
    )
    assert len(result.stdout) == 5_000_000 + len("one\ntwo\n")


def test_a_guest_that_is_in_another_boot_is_lost(guest: HostGuest, way: GuestTransport) -> None:
    pids: list[int] = []

    def restart(_: Stream, data: bytes) -> None:
        pids.append(int(data))
        remove(way.folder)

    with pytest.raises(Lost, match="another boot"):
        way.run("echo $$; exec sleep 63", on_output=restart)
    assert not way.alive
    os.kill(pids[0], 9)  # as the guest's restart does


def test_a_guest_that_stays_away_after_an_order_to_restart_is_lost_and_not_late(
    guest: HostGuest, way: GuestTransport
) -> None:
    pids: list[int] = []

    def leave(_: Stream, data: bytes) -> None:
        pids.append(int(data))
        guest.away = 10_000

    with pytest.raises(Lost, match="do not answer any more"):
        way.run("echo $$; exec sleep 65", timeout=1.5, on_output=leave)
    guest.away = 0
    os.kill(pids[0], 9)
    remove(way.folder)


def test_a_supervisor_that_was_killed_is_missed(
    guest: HostGuest, way: GuestTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "LOOK_AFTER", 0.5)
    with pytest.raises(Lost, match="somebody ended"):
        way.run("echo begun; sleep 2", on_output=lambda *_: os.kill(guest.supervisors[-1], 9))


def test_a_start_that_is_asked_for_twice_runs_the_command_once(
    guest: HostGuest, way: GuestTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the first answer is lost."""
    start = guest.start
    monkeypatch.setattr(guest, "start", lambda *words: (start(*words), start(*words))[1])
    assert way.run("echo once").stdout == "once\n"


def test_no_word_of_a_command_or_its_input_is_in_an_argument_list(
    guest: HostGuest, way: GuestTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    begin = guest.start

    def start(program: str, words: str) -> int:
        seen.append(words)
        return begin(program, words)

    monkeypatch.setattr(guest, "start", start)
    way.run("echo hello; cat", input=b"a secret")
    assert seen == [f"{way.folder}/run 1 1 "]
    way.run("echo again")
    assert seen[1] == f"{way.folder}/run 2 0 1"


def test_a_machine_runs_uploads_and_downloads_over_it(machine: Machine, tmp_path: Path) -> None:
    far = tmp_path / "far"
    machine.run(["mkdir", str(far)])
    assert machine.run("echo $TOKEN", env={"TOKEN": Secret("of the guest")}, hide=True).stdout == "of the guest\n"
    with pytest.raises(CommandFailed, match="exit"):
        machine.run("exit 3")
    (tmp_path / "near").write_bytes(data := os.urandom(5_000_000))
    machine.put("near", far, mode=0o640)
    assert ((far / "near").read_bytes(), (far / "near").stat().st_mode & 0o777) == (data, 0o640)
    machine.get(far / "near", "back")
    assert (tmp_path / "back").read_bytes() == data
    machine.write(far / "text", "a text\n")
    (tmp_path / "tree" / "below").mkdir(parents=True)
    (tmp_path / "tree" / "below" / "file").write_text("in a tree")
    machine.copy("tree", str(far / "tree"))
    assert (far / "tree" / "below" / "file").read_text() == "in a tree"
    assert machine.facts.arch
    assert machine.run("whoami", user="nobody").stdout == "nobody\n"


def test_the_shell_of_the_tests_answers_over_it(way: GuestTransport) -> None:
    shell = Shell(way.open_shell)
    [one, two] = shell.ask("echo one", "echo two >&2; exit 4", timeout=30)
    assert (one.stdout, one.exited) == (b"one\n", 0)
    assert (two.stderr, two.exited) == (b"two\n", 4)
    shell.close()


def test_commands_of_a_process_that_was_killed_are_ended(guest: HostGuest, way: GuestTransport) -> None:
    earlier = GuestTransport(guest, "root", Cancel())
    with pytest.raises(KeyboardInterrupt):  # which ends it in an orderly way; so let it run on
        earlier._wait(earlier._start(_frame(), "sleep 64", None), _Interrupting(), None)  # type: ignore[arg-type]
    way.end_leftovers()
    assert running("sleep 64") == []
    earlier.close()


def _frame() -> object:
    from bakery.machine.transport.frame import Frame

    return Frame()


class _Interrupting:
    """Takes the first word of a command, and is killed."""

    seconds = 0.0

    def take(self, *_: object) -> None:
        raise KeyboardInterrupt


def test_a_guest_whose_tools_do_not_answer_is_not_reached(guest: HostGuest) -> None:
    guest.away = 1
    with pytest.raises(NotReached, match="guest agent: nobody answers"):
        GuestTransport(guest, "root", Cancel())
    assert guest.closed


def test_a_link_says_what_is_wrong_with_a_way_of_a_drivers_own(guest: HostGuest, link: Link, tmp_path: Path) -> None:
    guest.away = 10_000
    with pytest.raises(ConnectError, match="nobody answers") as caught:
        link.open(timeout=0.5)
    guest.away = 0
    assert caught.value.why == "waited 0.5 s; stage: guest agent"
    assert "VMware Tools" in caught.value.hint
    none = Link(lambda: Endpoint(transport="bakery.nowhere:open"), make_keys("guest"), WorkContext(cache=tmp_path))
    with pytest.raises(ConnectError, match="no transport is called"):
        none.open(timeout=0.5)


def test_a_guest_without_room_is_said_to_be_so(guest: HostGuest, way: GuestTransport) -> None:
    def fill(*_: object) -> None:
        for stream in ("out", "err"):
            Path(way.folder, f"1.{stream}.lost").touch()

    with pytest.raises(TaskError, match="cannot be kept in the guest"):
        way.run("echo one; sleep 3", on_output=fill)
