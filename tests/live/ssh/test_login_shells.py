"""Login shells, start files and forced commands that are in the way: worked with, or named."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from bakery import Machine
from bakery.errors import CommandFailed, ConnectError, TaskError
from bakery.machine.transport import channel
from bakery.model import Result
from bakery.smoke.connect import connect
from bakery.smoke.shell import Shell
from bakery.testing.sshd import Server
from tests.live.ssh.accounts import Account

pytestmark = pytest.mark.live

MORE = pytest.mark.all
SHELLS = [
    "/bin/bash",
    "/usr/bin/zsh",
    "/usr/bin/fish",
    *(pytest.param(f"/usr/bin/{name}", marks=MORE) for name in ("dash", "tcsh", "ksh", "mksh")),
]
OFTEN = (
    "restricted shell",
    "forced command",
    "forced by sshd",
    "exec fish",
    "exit",
    "output elsewhere",
    "return",
    "reading",
)
"""The cases that every run of the tests tries; the others are tried by the long one."""


def cases(names: Iterable[str]) -> list[Any]:
    return [name if name in OFTEN else pytest.param(name, marks=MORE) for name in names]


TALK = {
    ".bashrc": "echo Welcome; echo Oops >&2\n",
    ".zshenv": "echo Welcome; echo Oops >&2\n",
    ".tcshrc": "echo Welcome\n",
    ".config/fish/config.fish": "echo Welcome; echo Oops >&2\n",
}
TRICKY = "printf '%s|' \"$0\" 'a\\b' \"it's\" '!x' $'t' ~ {a,b} *nothing* \"$((6 * 7))\" `echo q`\necho é; cat; exit 3"


@pytest.mark.parametrize("shell", SHELLS)
def test_any_login_shell_does(account: Account, shell: str, tmp_path: Path) -> None:
    server = account(shell, TALK)
    machine = server.machine()
    here = account("/bin/sh").machine()
    result = machine.run(TRICKY, warn=True, input="in", hide=True)
    assert (result.exited, result.stderr, "é\nin" in result.stdout) == (3, "", True)
    other = here.run(TRICKY, warn=True, input="in", hide=True)
    assert result.stdout.replace("/account0/", "/account1/") == other.stdout
    with pytest.raises(CommandFailed, match="exit code 1"):
        machine.run("false")
    assert machine.run("kill -9 $$", warn=True).exited == 137
    with pytest.raises(CommandFailed, match="timeout"):
        machine.run("sleep 4720.1", timeout=0.5)
    assert machine.run("pgrep -f 'sleep 4720[.]1'", warn=True).failed
    machine.write(tmp_path / "far", b"\x00Welcome\n" * 9)
    machine.get(tmp_path / "far", back := io.BytesIO())
    assert back.getvalue() == b"\x00Welcome\n" * 9


@pytest.mark.parametrize("shell", SHELLS)
def test_smoke_tests_run_behind_any_login_shell(account: Account, shell: str) -> None:
    server = account(shell, TALK)
    way = connect(server.endpoint, server.keys)
    tests = Shell(way.open_shell)
    try:
        [reply, other] = tests.ask("echo out; echo err >&2; exit 3", "cat", timeout=20)
        assert (reply.exited, reply.stdout, reply.stderr, other.stdout) == (3, b"out\n", b"err\n", b"")
    finally:
        tests.close()
        way.close()


SETTINGS = {
    "file before each command": "export BASH_ENV=$HOME/before ENV=$HOME/before\n",
    "options": "set -efx; export SHELLOPTS\n",
    "folders": "export CDPATH=/usr:/\n",
    "functions": "false() { true; }; cat() { echo mine; }; cd() { builtin cd /; }; export -f false cat cd\n",
}


@pytest.mark.parametrize("name", SETTINGS)
def test_what_shells_are_told_by_the_environment_changes_no_command(account: Account, name: str) -> None:
    files = {".bashrc": SETTINGS[name], "before": "echo TALK; exit 0\n", "bin/file": ""}
    machine = account("/bin/bash", files).machine()
    assert machine.run("false", warn=True).exited == 1
    with machine.cd("bin"):
        result = machine.run("false; cat; pwd; echo f*; exit 3", input="in\n", warn=True, hide=True)
    assert (result.exited, result.stderr) == (3, "")
    assert re.fullmatch(r"in\n/.*/home/bin\nfile\n", result.stdout), result.stdout
    told = machine.run("echo $BASH_ENV", env={"BASH_ENV": "/dev/null"}, hide=True)
    assert told.stdout == "/dev/null\n"


OBSTACLES: dict[str, tuple[str, dict[str, str], str, str, list[str]]] = {
    # name: shell, start files, sshd's settings, options of the key, what is said
    "restricted shell": ("/bin/rbash", {}, "", "", ["the login shell /bin/rbash is restricted", "chsh"]),
    "no shell": ("/usr/sbin/nologin", {}, "", "", ["whatever is asked", "not available", "nologin"]),
    "silent no shell": ("/bin/true", {}, "", "", ["ends before it comes to it", "exit code 0"]),
    "another program": ("/bin/cat", {}, "", "", ["exit code 1"]),
    "python": ("/usr/bin/python3", {}, "", "", ["SyntaxError"]),
    "forced command": (
        "/bin/bash",
        {},
        "",
        'command="echo no; exit 4"',
        ["a forced command", "authorized_keys:1", "no"],
    ),
    "forced shell": ("/bin/bash", {}, "", 'command="/bin/bash"', ["a forced command", "authorized_keys:1"]),
    "forced by sshd": ("/bin/sh", {}, "ForceCommand /bin/bash", "", ["ForceCommand"]),
    "forced echo": ("/bin/sh", {}, 'ForceCommand echo "$SSH_ORIGINAL_COMMAND"', "", ["ForceCommand"]),
    "forced sftp": ("/bin/sh", {}, "ForceCommand internal-sftp", "", ["ForceCommand"]),
    "exec zsh": ("/bin/bash", {".bashrc": "exec zsh\n"}, "", "", ["ends before it comes to it", "~/.bashrc", "exec"]),
    "exec fish": ("/bin/bash", {".bashrc": "exec fish\n"}, "", "", ["ends before it comes to it", "~/.bashrc"]),
    "exit": ("/bin/bash", {".bashrc": "exit\n"}, "", "", ["ends before it comes to it", "`exit`", "~/.bashrc"]),
    "exit in zsh": ("/usr/bin/zsh", {".zshenv": "exit 0\n"}, "", "", ["ends before it comes to it", "~/.zshenv"]),
    "output elsewhere": ("/bin/bash", {".bashrc": "exec >/dev/null\n"}, "", "", ["its output goes elsewhere"]),
    "chroot": ("/bin/bash", {}, "ChrootDirectory /tmp", "", ["exit code 255", "ChrootDirectory"]),
    "streams swapped": ("/bin/bash", {".bashrc": "exec 3>&1 1>&2 2>&3\n"}, "", "", ["does not start /bin/sh"]),
    "errors elsewhere": ("/bin/bash", {".bashrc": "exec 2>&1\n"}, "", "", ["its standard error goes elsewhere"]),
}


@pytest.fixture(params=cases(OBSTACLES))
def obstacle(request: pytest.FixtureRequest, account: Account) -> tuple[Server, list[str]]:
    shell, files, settings, options, words = OBSTACLES[request.param]
    return account(shell, files, settings=settings, key_options=options), words


def test_what_stands_in_the_way_is_named_at_once(
    obstacle: tuple[Server, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "STARTS", 1.0)
    server, words = obstacle
    started = time.monotonic()
    with pytest.raises(ConnectError) as raised:
        server.machine().run("true")
    assert [word for word in words if word not in str(raised.value)] == [], raised.value
    assert time.monotonic() - started < 8
    way = connect(server.endpoint, server.keys)
    with pytest.raises(ConnectError):
        Shell(way.open_shell).ask("true")
    way.close()


@pytest.mark.parametrize("line", ["exec </dev/null", "exec 0<&-", "exec </etc/passwd"])
def test_input_that_goes_elsewhere_is_an_error(account: Account, line: str, tmp_path: Path) -> None:
    machine = account("/bin/bash", {".bashrc": f"{line}\n"}).machine()
    calls: list[Callable[[], object]] = [
        lambda: machine.run("cat", input="sent", warn=True),
        lambda: machine.run("true", env={"A": "1"}, warn=True),
        lambda: machine.write(tmp_path / "file", "text"),
    ]
    for call in calls:
        with pytest.raises(TaskError, match="its input does not reach it"):
            call()
    assert not (tmp_path / "file").exists()
    assert machine.run("true").ok


BREAKS = {
    "exec zsh": "exec zsh\n",
    "exec fish": "exec fish\n",
    "exec cat": "exec cat\n",
    "exec bash": '[ -n "$AGAIN" ] || AGAIN=1 exec bash\n',
    "exit": "exit 0\n",
    "return": "return 0\n",
    "reading": "read -r line\n",
    "asleep": "sleep 60\n",
    "one more shell": "bash\n",
    "tracing": "set -x\n",
    "strict": "set -eu\n",
    "elsewhere": "cd /tmp; umask 077; printf() { echo mine; }; alias exec=echo\n",
}


@pytest.mark.parametrize("name", cases(BREAKS))
def test_input_is_never_read_by_anybody_else(
    account: Account, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "STARTS", 0.5)
    server = account("/bin/bash")
    machine = server.machine()
    machine.run("true")
    (server.folder.parent / "home" / ".bashrc").write_text(BREAKS[name])
    proof = tmp_path / "executed"
    sent = f"touch {proof}\n" * 3
    calls = (
        lambda: machine.run("cat", input=sent, hide=True),
        lambda: machine.run("cat", input=io.BytesIO(sent.encode()), env={"A": "1"}, hide=True),
    )
    for error in filter(None, (_refusal(call, sent) for call in calls)):
        assert (error.where and error.where.file, "/bin/bash" in error.what) == (Path(__file__), True)
        assert ".bashrc" in error.hint
    assert not proof.exists()


@pytest.mark.parametrize("name", cases(["exec zsh", "exit", "asleep", "reading"]))
def test_a_start_file_that_broke_meanwhile_is_an_error_for_every_command(
    account: Account, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "STARTS", 0.5)
    server = account("/bin/bash")
    machine = server.machine()
    machine.run("true")
    (tmp_path / "tree").mkdir()
    (server.folder.parent / "home" / ".bashrc").write_text(BREAKS[name])
    (server.folder / "tree").mkdir()
    for call in _calls(machine, tmp_path) if name != "reading" else _calls(machine, tmp_path)[2:4]:
        with pytest.raises(ConnectError):
            call()


def _refusal(call: Callable[[], Result], output: str) -> ConnectError | None:
    """Return the error; None when the command ran as it should."""
    try:
        assert call().stdout == output
    except ConnectError as error:
        return error
    return None


def _calls(machine: Machine, folder: Path) -> list[Callable[[], object]]:
    return [
        lambda: machine.run("false", warn=True),
        lambda: machine.get("/etc/passwd", folder / "passwd"),
        lambda: machine.write(folder / "text", "text"),
        lambda: machine.copy("tree", str(folder / "far")),
        lambda: machine.facts,
    ]
