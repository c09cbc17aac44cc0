"""A terminal made inside for a person: its name, its size, Ctrl-C, and the exit code; inside is this host itself."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time
from collections.abc import Iterator

import pytest

from bakery.machine.container_terminal import LEADER

pytestmark = pytest.mark.skipif(
    not os.access("/proc/self/root/dev/pts/ptmx", os.R_OK | os.W_OK), reason="this user may make no terminal there"
)
ENTER = '"$@"; exit $?'
"""Like nsenter: the program is a child of the leader of a session."""
RUN = f"""
import os, sys
from bakery.machine.container_terminal import run_inside
words = ["/bin/sh", "-c", {ENTER!r}, "enter", "/bin/sh", "-c", {LEADER!r}, *sys.argv[1:]]
print("code", run_inside(words, os.getpid(), env={{**os.environ, "PS1": "ready "}}, umask=0o22))
"""


class Person:
    """Somebody at a terminal of 97 columns."""

    def __init__(self, *words: str) -> None:
        self.pid, self.screen = pty.fork()
        if self.pid == 0:
            os.execv(sys.executable, [sys.executable, "-c", RUN, *words])  # noqa: S606  a shell would be one more between
        self.resize(41, 97)
        self.seen = ""

    def resize(self, lines: int, columns: int) -> None:
        """Pull at the window's corner."""
        fcntl.ioctl(self.screen, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def types(self, text: str) -> None:
        """Press keys."""
        os.write(self.screen, text.encode())

    def sees(self, text: str, within: float = 60.0) -> str:
        """Read until the text is there, or the end; return all that came after what was seen before."""
        end = time.monotonic() + within
        begin = len(self.seen)
        while text not in self.seen[begin:] and time.monotonic() < end:
            if select.select([self.screen], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.screen, 4096).decode(errors="replace")
                except OSError:
                    break
        assert text in self.seen[begin:], self.seen
        return self.seen[begin:]


@pytest.fixture
def people() -> Iterator[list[Person]]:
    here: list[Person] = []
    yield here
    for person in here:
        os.close(person.screen)
        os.waitpid(person.pid, 0)


def test_a_command_has_a_terminal_with_a_name_and_its_exit_code_is_told(people: list[Person]) -> None:
    people.append(person := Person("/bin/sh", "-c", "tty; exit 7"))
    told = person.sees("code 7")
    assert "/dev/pts/" in told
    assert "not a tty" not in told


def test_keys_signals_and_sizes_reach_what_runs_there(people: list[Person]) -> None:
    people.append(person := Person("/bin/sh", "-i"))
    person.sees("ready ")
    person.types("stty size\n")
    person.sees("41 97")
    person.types("sleep 1000; echo went on $?\n")
    time.sleep(1)
    person.types("\x03")
    person.sees("ready ")
    person.resize(30, 80)
    time.sleep(1)
    person.types("stty size\n")
    person.sees("30 80")
    person.types("echo $((6 * 7)); exit 0\n")
    assert "42" in person.sees("code 0")


def test_whoever_has_no_terminal_gets_none(capfd: pytest.CaptureFixture[str]) -> None:
    words = [sys.executable, "-c", RUN, "/bin/sh", "-c", "exit 7"]
    pid = os.posix_spawn(words[0], words, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 0, "/dev/null", 0, 0)])
    os.waitpid(pid, 0)
    assert "code None" in capfd.readouterr().out
