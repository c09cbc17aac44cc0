"""A shell for a person: what OpenSSH is told, what lies on the disk meanwhile, and the terminal afterwards."""

from __future__ import annotations

import os
import pty
import signal
import sys
import termios
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bakery.errors import PreflightError
from bakery.machine import shell
from bakery.machine.shell import known_hosts, open_shell, shell_command, ssh_options
from bakery.model import Endpoint
from bakery.state.ssh_keys import Keys

KEYS = Keys(user_private="a private key", user_public="b", host_private="c", host_public="d")
HOST = Endpoint(host="10.0.0.1", user="debian", host_key="ssh-ed25519 AAAA\necdsa-sha2-nistp256 BBBB")
FAR = Endpoint(
    host="fd00::1",
    port=2222,
    host_key="ssh-ed25519 CCCC",
    gateway=Endpoint(host="gate", user="me", host_key="ssh-rsa D"),
)


@dataclass
class Terminal:
    """What is run on this terminal, and how it ends."""

    code: int = 0
    ran: list[list[str]] = field(default_factory=list[list[str]])
    options: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    does: Callable[[], object] = lambda: None

    def run(self, argv: list[str], **options: Any) -> int:
        """Stand in for the program."""
        self.ran.append(argv)
        self.options.append(options)
        self.does()
        return self.code


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    made = Terminal()
    monkeypatch.setattr(shell, "run_on_terminal", made.run)
    return made


@pytest.fixture(autouse=True)
def nobody_types(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: False)


def test_nothing_of_the_user_s_own_configuration_is_read_and_no_agent_is_forwarded(tmp_path: Path) -> None:
    words = shell_command(HOST, tmp_path)
    assert words[:3] == ["ssh", "-F", "none"]
    for option in (
        f"IdentityFile={tmp_path}/id",
        "IdentitiesOnly=yes",
        f"UserKnownHostsFile={tmp_path}/known_hosts",
        "StrictHostKeyChecking=yes",
        "GlobalKnownHostsFile=/dev/null",
        "ForwardAgent=no",
    ):
        assert words[words.index(option) - 1] == "-o"
    assert words[-3:] == ["-p", "22", "debian@10.0.0.1"]


def test_a_command_is_one_word_behind_the_options_however_it_begins(tmp_path: Path) -> None:
    assert shell_command(HOST, tmp_path, "-x; echo 'a b'")[-3:] == ["debian@10.0.0.1", "--", "-x; echo 'a b'"]


@pytest.mark.parametrize(("there", "asked"), [(True, 1), (False, 0)])
def test_a_command_has_a_terminal_where_somebody_sits_at_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool, asked: int
) -> None:
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: there)
    assert shell_command(HOST, tmp_path, "top").count("-t") == asked
    assert "-t" not in shell_command(HOST, tmp_path)  # ssh asks for one by itself


def test_the_user_s_agent_or_key_takes_the_place_of_the_machine_s_own(tmp_path: Path) -> None:
    agent = ssh_options(Endpoint(key="agent"), "/run/id", tmp_path)
    assert not any(word.startswith(("IdentityFile", "IdentitiesOnly")) for word in agent)
    key = ssh_options(Endpoint(key="~/.ssh/mine"), "/run/id", tmp_path)
    assert f"IdentityFile={Path.home()}/.ssh/mine" in key


def test_a_bastion_is_gone_through_as_strictly_as_the_machine_itself(tmp_path: Path) -> None:
    words = shell_command(FAR, tmp_path)
    (proxy,) = [word for word in words if word.startswith("ProxyCommand=")]
    assert proxy.startswith("ProxyCommand=ssh -F none ")
    assert "StrictHostKeyChecking=yes" in proxy
    assert proxy.endswith("-p 22 -W '[%h]:%p' me@gate")


def test_all_host_keys_on_the_way_are_known(tmp_path: Path) -> None:
    assert known_hosts(HOST) == "10.0.0.1 ssh-ed25519 AAAA\n10.0.0.1 ecdsa-sha2-nistp256 BBBB\n"
    assert known_hosts(FAR) == "[fd00::1]:2222 ssh-ed25519 CCCC\ngate ssh-rsa D\n"


def test_the_key_is_on_the_disk_only_while_the_shell_runs_and_for_nobody_else(
    terminal: Terminal, tmp_path: Path
) -> None:
    seen: list[tuple[int, str]] = []
    terminal.does = lambda: seen.append(((tmp_path / "id").stat().st_mode & 0o777, (tmp_path / "id").read_text()))
    terminal.code = 3
    assert open_shell(HOST, KEYS, tmp_path, "false") == 3
    assert seen == [(0o600, "a private key")]
    assert not (tmp_path / "id").exists()


def test_without_openssh_the_package_is_named_and_no_key_stays(terminal: Terminal, tmp_path: Path) -> None:
    def missing() -> None:
        raise FileNotFoundError(2, "No such file or directory", "ssh")

    terminal.does = missing
    with pytest.raises(PreflightError, match="ssh is not installed") as raised:
        open_shell(HOST, KEYS, tmp_path)
    assert raised.value.hint == "apt-get install openssh-client"
    assert not (tmp_path / "id").exists()


def test_a_way_of_a_drivers_own_has_no_room_for_a_person(terminal: Terminal, tmp_path: Path) -> None:
    terminal.does = lambda: pytest.fail("nothing is to be started")
    with pytest.raises(PreflightError, match="no shell for a person"):
        open_shell(Endpoint(transport="package.way:open"), KEYS, tmp_path)
    assert not (tmp_path / "id").exists()


def test_a_container_inherits_nothing_but_the_kind_of_terminal(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("EDITOR", "mine")
    monkeypatch.delenv("COLORTERM", raising=False)
    here = Endpoint(transport="namespace", data={"pid": os.getpid()})
    open_shell(here, KEYS, tmp_path, "id")
    open_shell(here, KEYS, tmp_path)
    (command, shell_words), (options, _) = terminal.ran, terminal.options
    assert command[-3:] == ["-l", "-c", "id"]
    assert shell_words[-1] == "-l"
    assert (options["umask"], options["apart"]) == (0o22, True)
    assert (options["env"]["TERM"], options["env"]["HOME"]) == ("xterm-256color", "/root")
    assert not {"EDITOR", "COLORTERM"} & set(options["env"])


# ---- the terminal ----------------------------------------------------------------------------------------------------


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A terminal of this process's own."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r+b", buffering=0) as stdin:
        monkeypatch.setattr(sys, "__stdin__", stdin)
        yield theirs
    os.close(ours)


def test_a_terminal_is_left_as_it_was_found_whatever_the_shell_did_to_it(
    terminal: Terminal, screen: int, tmp_path: Path
) -> None:
    before = termios.tcgetattr(screen)

    def goes_raw() -> None:
        modes = termios.tcgetattr(screen)
        modes[3] &= ~(termios.ECHO | termios.ICANON)
        termios.tcsetattr(screen, termios.TCSANOW, modes)
        raise KeyboardInterrupt

    terminal.does = goes_raw
    with pytest.raises(KeyboardInterrupt):
        open_shell(HOST, KEYS, tmp_path)
    assert termios.tcgetattr(screen)[3] == before[3]
    assert signal.SIGTTOU not in signal.pthread_sigmask(signal.SIG_BLOCK, set())


def test_a_process_without_a_terminal_has_none_to_take_back(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "__stdin__", None)
    assert open_shell(HOST, KEYS, tmp_path) == 0
    with open(os.devnull) as nothing:  # noqa: PTH123  as the process's own
        monkeypatch.setattr(sys, "__stdin__", nothing)
        assert open_shell(HOST, KEYS, tmp_path) == 0
    assert len(terminal.ran) == 2
