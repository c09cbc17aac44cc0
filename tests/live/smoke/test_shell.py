"""The framed shell against the shells that images have."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from bakery.errors import ConnectError
from bakery.machine.transport.frame import Frame
from bakery.machine.transport.namespace import ENVIRONMENT, ShellProcess
from bakery.smoke.backend import host as make_host
from bakery.smoke.shell import CommandTimeoutError, Shell
from bakery.util.results import Lost
from bakery.util.waiting import Cancel

pytestmark = pytest.mark.live

SHELLS = [["/bin/dash"], ["/bin/bash"], ["/bin/busybox", "sh"]]


def started(words: list[str], before: tuple[str, ...] = ()) -> ShellProcess:
    frame = Frame("shell")
    own = [*words, *frame.words()[1:]]
    own[own.index("-c") + 1] = own[own.index("-c") + 1].replace("/bin/sh", " ".join(words))
    shell = ShellProcess([*before, *own], frame, dict(ENVIRONMENT))
    shell.begin(20, Cancel())
    return shell


@pytest.fixture(params=SHELLS, ids=lambda words: words[-1].rsplit("/", 1)[-1])
def shell(request: pytest.FixtureRequest) -> Iterator[Shell]:
    words: list[str] = request.param
    if shutil.which(words[0]) is None:
        pytest.skip(f"this host has no {words[0]}")
    made = Shell(lambda: started(words))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("command", "exited", "stdout", "stderr"),
    [
        ("echo hi; echo no >&2; exit 3", 3, b"hi\n", b"no\n"),
        ("true", 0, b"", b""),
        ("printf x", 0, b"x", b""),
        (r"printf '\000\377\n;\n'", 0, b"\x00\xff\n;\n", b""),
        ("cat; echo end", 0, b"end\n", b""),
        ("exec sh -c 'exit 7'", 7, b"", b""),
        ("kill -9 $$", 137, b"", None),
        ("echo 'a b' \"c\nd\" # it's", 0, b"a b c\nd\n", b""),
        ("if", 2, b"", None),
        ("read x; echo $?", 0, b"1\n", b""),
    ],
)
def test_a_command_leaves_exactly_what_it_left(
    shell: Shell, command: str, exited: int, stdout: bytes, stderr: bytes | None
) -> None:
    [reply] = shell.ask(command, timeout=20)
    assert (reply.exited, reply.stdout) == (exited, stdout)
    assert stderr is None or reply.stderr == stderr
    assert shell.ask("echo next", timeout=20)[0].stdout == b"next\n"


def test_huge_output_of_both_streams_passes(shell: Shell) -> None:
    [reply] = shell.ask("head -c 30000000 /dev/zero & head -c 3000000 /dev/zero >&2; wait", timeout=60)
    assert (len(reply.stdout), len(reply.stderr)) == (30_000_000, 3_000_000)


def test_many_commands_take_one_round_trip(shell: Shell) -> None:
    replies = shell.ask(*[f"echo {number}; exit {number}" for number in range(50)], timeout=60)
    assert [(r.exited, r.stdout) for r in replies] == [(n, b"%d\n" % n) for n in range(50)]
    assert shell.round_trips == 1


def test_output_of_a_background_process_never_mixes_with_a_later_command(shell: Shell) -> None:
    [reply] = shell.ask("(sleep 0.2; echo late; echo late >&2) & echo started", timeout=20)
    assert reply.stdout == b"started\n"
    [reply] = shell.ask("sleep 0.5; echo clean", timeout=20)
    assert (reply.stdout, reply.stderr) == (b"clean\n", b"")


def test_a_command_that_runs_out_of_time_is_ended_with_its_children(shell: Shell) -> None:
    with pytest.raises(CommandTimeoutError, match=r"still running after 0\.5 s"):
        shell.ask("sh -c 'sleep 5353; true'; true", timeout=0.5)
    assert shell.ask("pgrep -x -f 'sleep 535[3]'", timeout=20)[0].exited == 1


def test_a_command_that_kills_the_shell_costs_one_answer_only(shell: Shell) -> None:
    with pytest.raises(Lost):
        shell.ask("kill -9 $PPID", timeout=20)
    assert shell.ask("echo back", timeout=20)[0].stdout == b"back\n"


def test_a_shell_that_cannot_start_says_what_it_said() -> None:
    made = Shell(lambda: started(["/bin/sh"], ("/bin/sh", "-c", "echo sudo: no password >&2; exit 1")))
    with pytest.raises(ConnectError, match="sudo: no password"):
        made.ask("true", timeout=5)


def test_testinfra_says_the_same_with_and_without_facts(shell: Shell) -> None:
    with_facts = make_host("here", shell)
    for path in ("/etc/passwd", "/etc", "/etc/nothing", "/bin/sh", "/dev/null"):
        file = with_facts.file(path)
        with_facts.backend.facts.forget()
        for name in ("exists", "is_file", "is_directory", "is_executable", "is_symlink"):
            known = getattr(file, name)
            flag = {"exists": "e", "is_file": "f", "is_directory": "d", "is_executable": "x", "is_symlink": "L"}[name]
            assert known == (shell.ask(f"test -{flag} {path}")[0].exited == 0)
        if file.exists:
            asked = shell.ask(f"stat -Lc '%U %a %s' {path}")[0].stdout.decode().split()
            assert [file.user, f"{file.mode:o}", str(file.size)] == asked
