"""A suite that asks everything that testinfra can ask, and writes down each answer: `$ANSWERS` is the file.

It is run by plain pytest with a backend of testinfra's own, and by bakery; both must write the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

Question = Callable[[Any], Any]

PATHS = (
    "/etc/passwd",
    "/etc/shadow",
    "/etc",
    "/bin/sh",
    "/dev/null",
    "/etc/os-release",
    "/nothing",
    "/etc/hosts",
    "/srv/diff/blank",
    "/srv/diff/link",
    "/srv/diff/a b'c",
)
FILE = (
    *("exists", "is_file", "is_directory", "is_executable", "is_pipe", "is_socket", "is_symlink", "linked_to"),
    *("user", "uid", "group", "gid", "mode", "size", "mtime", "inode", "md5sum", "sha256sum", "content_string"),
)
COMMANDS = (
    "true",
    "false",
    "exit 3",
    "echo out; echo err >&2",
    "printf x",
    "cat",
    "echo $0",
    "echo $HOME $USER $LOGNAME",
    "echo $PATH",
    'echo "$SHELL"',
    "[[ a == a* ]] && echo match",
    "x=(1 2); echo ${x[1]}",
    "echo *.nothing",
    "cat <(echo process substitution)",
    "echo 'a  b' \"c d\" $((1+2)) `echo back`",
    "pwd",
    "umask",
    "id",
    "id -nG",
    "test -t 0; echo $?",
    "read x; echo $?",
    "ulimit -n",
    "command -v ls",
    "nothing-of-that-name",
    "echo ünïcödé",
    "seq 1 20000",
    "sleep 0.1 & echo started",
    "env | grep -c '^LC_\\|^LANG'",
    'echo \\\\ \\$ \\"',
    "echo 'multi\nline'",
)
USERS = ("root", "nobody", "diff", "absent")
USER = ("exists", "name", "uid", "gid", "group", "gids", "groups", "home", "shell", "gecos", "password")
PACKAGES = ("bash", "dpkg", "absent-package", "libc6", "openssh-server")
SERVICES = ("ssh", "cron", "absent", "dbus", "systemd-journald", "getty@tty1")
SERVICE = ("exists", "is_running", "is_enabled", "is_masked", "is_valid")
SOCKETS = (
    *("tcp://22", "tcp://0.0.0.0:22", "tcp://127.0.0.1:22", "tcp://:::22", "tcp://1", "udp://53"),
    *("unix:///run/dbus/system_bus_socket", "unix:///nothing"),
)
SYSTEM = ("type", "distribution", "release", "codename", "arch")
SYSCTL = ("kernel.ostype", "net.ipv4.ip_forward", "vm.swappiness", "kernel.absent")
ADDRS = ("127.0.0.1", "localhost", "absent.invalid")


def attribute(module: str, subject: str, name: str) -> Question:
    """Ask for an attribute: `host.file("/etc").mode`."""
    return lambda host: getattr(getattr(host, module)(subject), name)


def questions() -> dict[str, Question]:
    """Return all questions, by name."""
    every: dict[str, Question] = {}
    for module, subjects, names in (
        ("file", PATHS, FILE),
        ("user", USERS, USER),
        ("group", ("root", "nogroup", "absent"), ("exists", "gid", "members")),
        ("package", PACKAGES, ("is_installed", "version", "release")),
        ("service", SERVICES, SERVICE),
        ("socket", SOCKETS, ("is_listening",)),
        ("mount_point", ("/", "/proc", "/absent"), ("exists", "filesystem", "device", "options")),
        ("interface", ("lo", "absent"), ("exists", "addresses", "speed")),
        ("block_device", ("/dev/absent",), ("is_partition", "size", "is_writable")),
        ("addr", ADDRS, ("is_resolvable", "ipv4_addresses")),
        ("pip", ("absent",), ("is_installed", "version")),
        ("supervisor", ("absent",), ("is_running", "status")),
        ("docker", ("absent",), ("is_running", "id")),
        ("podman", ("absent",), ("is_running", "id")),
    ):
        for subject in subjects:
            for name in names:
                every[f"{module}({subject}).{name}"] = attribute(module, subject, name)
    for command in COMMANDS:
        every[f"run({command})"] = partial(_run, command)
    for name in SYSTEM:
        every[f"system_info.{name}"] = partial(_system, name)
    for name in SYSCTL:
        every[f"sysctl({name})"] = partial(_sysctl, name)
    return every | {
        "run(%s)": lambda host: _result(host.run("echo %s %s", "a b", "$HOME '\"")),
        "check_output": lambda host: host.check_output("echo one; echo two"),
        "check_output failing": lambda host: host.check_output("false"),
        "run_test": lambda host: host.run_test("exit 1").rc,
        "run_test failing": lambda host: host.run_test("exit 2").rc,
        "run_expect": lambda host: host.run_expect([4], "exit 4").rc,
        "exists": lambda host: (host.exists("ls"), host.exists("absent-command")),
        "find_command": lambda host: host.find_command("sysctl"),
        "find_command absent": lambda host: host.find_command("absent-command"),
        "environment": lambda host: {k: v for k, v in host.environment().items() if k in ("HOME", "PATH", "LANG")},
        "listdir": lambda host: sorted(host.file("/srv/diff").listdir()),
        "contains": lambda host: host.file("/etc/passwd").contains("^root:"),
        "contains not": lambda host: host.file("/etc/passwd").contains("^absent:"),
        "process.filter": lambda host: [p.comm for p in host.process.filter(comm="absent")],
        "process.get": lambda host: host.process.get(pid=1).user,
        "process.get absent": lambda host: host.process.get(comm="absent"),
        "iptables.rules": lambda host: host.iptables.rules(),
        "get_packages": lambda host: host.pip.get_packages(),
        "get_listening": lambda host: "tcp://0.0.0.0:1" in host.socket.get_listening_sockets(),
        "sudo": lambda host: _sudo(host, None),
        "sudo nobody": lambda host: _sudo(host, "nobody"),
        "ansible": lambda host: host.ansible("ping"),
        "puppet": lambda host: host.puppet_resource("user", "root"),
        "facter": lambda host: host.facter("kernel"),
        "salt": lambda host: host.salt("test.ping"),
        "repr": lambda host: [repr(host.file("/etc")), repr(host.package("bash")), repr(host.user("root"))],
        "user()": lambda host: host.user().name,
        "expiration": lambda host: host.user("root").expiration_date,
        "get_all_users": lambda host: (
            sorted(host.user.get_all_users())[:3] if hasattr(host.user, "get_all_users") else 0
        ),
        "changed": lambda host: [_size(host, text) for text in ("", "a", "ab")],
        "stopped": lambda host: [_size(host, "x"), host.run("rm -f $HOME/changed").rc, _there(host)],
        "not UTF-8": lambda host: host.run(r"printf '\377'; true").stdout,
        "not UTF-8 bytes": lambda host: host.run(r"printf '\377'; true").stdout_bytes,
    }


def _run(command: str, host: Any) -> Any:
    return _result(host.run(command))


def _system(name: str, host: Any) -> Any:
    return getattr(host.system_info, name)


def _sysctl(name: str, host: Any) -> Any:
    return host.sysctl(name)


def _result(result: Any) -> tuple[Any, ...]:
    return result.rc, result.stdout, result.stderr, result.succeeded


def _sudo(host: Any, user: str | None) -> Any:
    with host.sudo(user):
        return host.run("id -un").stdout, host.user().name, host.file("/root").mode


def _size(host: Any, text: str) -> int:
    """Change a file by a command, and ask about it at once: no fact may be older than the command."""
    host.run("printf %s >$HOME/changed", text)
    home = host.check_output("echo $HOME")
    return int(host.file(f"{home}/changed").size)


def _there(host: Any) -> bool:
    return bool(host.file(host.check_output("echo $HOME") + "/changed").exists)


ALL = questions()


@pytest.mark.parametrize("name", ALL)
def test_answer(host: Any, name: str) -> None:
    """Ask, and write down what came: the value, or the kind of error."""
    try:
        answer = repr(ALL[name](host))
    except Exception as error:
        answer = f"raises {type(error).__name__}"
    with Path(os.environ["ANSWERS"]).open("a") as file:
        file.write(json.dumps([name, answer]) + "\n")
    assert "raises" not in answer or answer.startswith("raises")
