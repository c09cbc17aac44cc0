"""`--on-failure=ask` on a terminal: every answer, and a user who does not answer but presses Ctrl-C."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from bakery.testing.folder.cloud import FolderCloud

from .conftest import Place

IMAGEFILE = """
import bakery
from bakery.testing.folder.driver import Folder

@bakery.source
def here() -> Folder:
    return Folder(cloud={cloud!r})

@bakery.task
def first(m):
    m.run("echo first >>/etc/done")

@bakery.task
def second(m):
    m.run("echo second >>/etc/done; test -e /etc/mended")

@bakery.task
def third(m):
    m.run("echo third >>/etc/done")

@bakery.test
def what_was_done(host):
    print("DONE:", host.file("/etc/done").content_string.split())

@bakery.image(builtin_tests=False)
def web():
    return None
"""
QUESTION = "What now?"


class Terminal:
    """`bake` on a terminal of its own, which it controls."""

    def __init__(self, place: Place, *words: str) -> None:
        self.told = ""
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(place.folder)
            os.environ.update({"TERM": "xterm", "COLUMNS": "200"})
            os.execv(sys.executable, [sys.executable, "-m", "bakery", *words])  # noqa: S606  as a shell would

    def hear(self, part: str, seconds: float = 60) -> str:
        """Wait until it says something, and return what it said up to that."""
        deadline = time.monotonic() + seconds
        while part not in self.told:
            assert time.monotonic() < deadline, self.told
            if select.select([self._fd], [], [], 0.2)[0]:
                chunk = self._read()
                assert chunk, self.told
                self.told += chunk
        heard, _, self.told = self.told.partition(part)
        return heard

    def say(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def end(self, seconds: float = 60) -> tuple[int, str]:
        """Wait for its end; return its exit code and what it said since the last question."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if select.select([self._fd], [], [], 0.2)[0]:
                if not (chunk := self._read()):
                    break
                self.told += chunk
        else:
            os.kill(self.pid, signal.SIGKILL)
            pytest.fail(f"it does not end: {self.told}")
        _, status = os.waitpid(self.pid, 0)
        os.close(self._fd)
        assert "Traceback" not in self.told
        return os.waitstatus_to_exitcode(status), self.told

    def _read(self) -> str:
        try:
            return os.read(self._fd, 65536).decode(errors="replace")
        except OSError:  # Linux: the other end is closed
            return ""


@pytest.fixture
def cloud(empty: Place) -> Iterator[FolderCloud]:
    folder = empty.folder.parent / "cloud"
    empty.write(IMAGEFILE.format(cloud=str(folder)))
    made = FolderCloud(folder)
    yield made
    for machine in made.list("machines"):
        made.delete("machines", machine["id"])


@pytest.fixture
def asked(empty: Place, cloud: FolderCloud) -> Terminal:
    """A build whose second task has failed, at its question."""
    terminal = Terminal(empty, "build", "--on-failure=ask", "--verbose")
    heard = terminal.hear(QUESTION)
    assert "second" in heard
    for word in ("retry", "shell", "skip", "keep", "destroy"):
        assert word in heard
    return terminal


def mend(place: Place, old: str, new: str) -> None:
    file = place.folder / "imagefile.py"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def left(cloud: FolderCloud) -> list[str]:
    return [record["id"] for record in cloud.list("machines")]


def done(cloud: FolderCloud) -> list[str]:
    """What was done on the machine that the image was made of."""
    (image,) = (record["id"] for record in cloud.list("images"))
    archive = cloud.path / "images" / image / "tree.tar"
    return subprocess.run(
        ["tar", "-xOf", archive, "./etc/done"], check=True, capture_output=True, text=True
    ).stdout.split()


def test_retry_runs_the_task_of_the_imagefile_as_it_is_now(empty: Place, asked: Terminal, cloud: FolderCloud) -> None:
    # a task in front of it, so that it is not the second one any more
    mend(empty, "@bakery.task\ndef first", "@bakery.task\ndef zeroth(m):\n    pass\n\n@bakery.task\ndef first")
    mend(empty, "test -e /etc/mended", "echo mended >>/etc/done")
    asked.say("r\n")
    code, told = asked.end()
    assert code == 0, told
    assert done(cloud) == ["first", "second", "second", "mended", "third"]
    assert left(cloud) == []


@pytest.mark.parametrize(("slip", "said"), [("def second(m:", "syntax"), ("def zweite(m):", "no task second any more")])
def test_a_slip_in_the_mended_imagefile_is_said_and_asked_about_again(
    empty: Place, asked: Terminal, cloud: FolderCloud, slip: str, said: str
) -> None:
    mend(empty, "def second(m):", slip)
    asked.say("r\n")
    assert said in asked.hear(QUESTION).lower()
    mend(empty, slip, "def second(m):")
    mend(empty, "test -e /etc/mended", "true")
    asked.say("r\n")
    code, told = asked.end()
    assert code == 0, told
    assert left(cloud) == []


def test_a_shell_is_on_the_machine_and_its_ctrl_c_is_its_own(asked: Terminal, cloud: FolderCloud) -> None:
    asked.say("h\n")
    asked.say("cat /etc/done; touch /etc/mended; sleep 600\n")
    asked.hear("first\r\nsecond")
    time.sleep(0.5)
    asked.say("\x03")
    asked.say("echo still-$((40 + 2))\n")
    asked.hear("still-42")
    asked.say("exit\n")
    asked.hear(QUESTION)
    asked.say("r\n")
    code, told = asked.end()
    assert code == 0, told
    assert done(cloud) == ["first", "second", "second", "third"]


def test_skip_goes_on_with_the_next_and_nothing_of_it_is_reused(
    empty: Place, asked: Terminal, cloud: FolderCloud
) -> None:
    asked.say("s\n")
    code, told = asked.end()
    assert code == 0, told
    assert "was skipped" in told
    assert done(cloud) == ["first", "second", "third"]
    assert "up to date" not in empty.shell("build").err


def test_keep_leaves_the_machine_and_says_how_to_reach_it(empty: Place, asked: Terminal, cloud: FolderCloud) -> None:
    asked.say("k\n")
    code, told = asked.end()
    assert code == 7, told
    run = max(path.name for path in (empty.folder / ".bakery/runs").iterdir())
    assert f"bake ssh {run}" in told
    assert f"bake gc {run}" in told
    assert len(left(cloud)) == 1
    assert empty.shell("gc", run).code == 0
    assert left(cloud) == []


@pytest.mark.parametrize("answer", ["d\n", "\n", "\x04"], ids=["d", "nothing", "end of input"])
def test_destroy_is_also_what_no_answer_means(asked: Terminal, cloud: FolderCloud, answer: str) -> None:
    asked.say(answer)
    code, told = asked.end()
    assert code == 7, told
    assert left(cloud) == []
    assert cloud.list("images") == []


def test_an_unknown_answer_is_asked_again(asked: Terminal, cloud: FolderCloud) -> None:
    asked.say("x\n")
    asked.hear(QUESTION)
    asked.say("d\n")
    assert asked.end()[0] == 7


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_the_question_needs_no_answer(asked: Terminal, cloud: FolderCloud, number: signal.Signals) -> None:
    if number is signal.SIGINT:
        asked.say("\x03")
    else:
        os.kill(asked.pid, number)
    code, told = asked.end()
    assert code == 130, told
    assert left(cloud) == []


def test_without_a_terminal_it_means_destroy(empty: Place, cloud: FolderCloud) -> None:
    ended = empty.shell("build", "--on-failure=ask")
    assert ended.code == 7, ended.err
    assert QUESTION not in ended.err
    assert left(cloud) == []
    assert not list(empty.folder.glob(".bakery/runs/*/machines/*/keys.json"))
