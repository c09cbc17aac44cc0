"""A failed task on a real machine: the machine is kept, visited and collected; or the user is asked what to do."""

from __future__ import annotations

import os
import pty
import subprocess

import pytest

from tests.live.baking import LINE, TINY, Project, clean

pytestmark = pytest.mark.live

THREE = TINY.replace(
    LINE,
    "    m.run('echo hello >/root/hello; test -e /broken')\n"
    "\n\n@bakery.task\ndef second(m):\n    m.run('false')\n"
    "\n\n@bakery.task\ndef third(m):\n    m.run('cat /root/hello; exit 3')\n",
)


def visit(project: Project, run: str, command: str) -> str:
    done = subprocess.run(
        project.words("ssh", run),
        env=project.env,
        input=command,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def collected(project: Project, run: str) -> None:
    assert any(thing.startswith("process qemu") for thing in project.left())
    assert "was kept on purpose" in project.bake("gc").err
    assert any(thing.startswith("process qemu") for thing in project.left())
    swept = project.bake("gc", run)
    assert swept.code == 0, swept.err
    assert project.left() == set()


@pytest.mark.all  # the next test keeps a machine as well
def test_a_kept_machine_is_visited_by_the_line_that_is_printed_and_then_collected(project: Project) -> None:
    project.task("m.run('echo kept >/root/kept; exit 3')")
    done = project.bake("--no-cache", "--on-failure=keep")
    run = project.runs[-1].name
    clean(done, 7, f"`bake ssh {run}` opens a shell, `bake gc {run}` destroys it")
    assert visit(project, run, "cat /root/kept") == "kept\n"
    collected(project, run)


def test_a_failed_task_is_mended_and_tried_again_another_skipped_and_the_machine_of_a_third_kept(
    project: Project,
) -> None:
    project.write(THREE)
    reader, writer = pty.openpty()
    bake = subprocess.Popen(
        project.words("--no-cache", "--on-failure=ask"),
        stdin=writer,
        stdout=writer,
        stderr=writer,
        env={**project.env, "TERM": "xterm", "COLUMNS": "150"},
    )
    os.close(writer)
    told, answers = "", iter("rsk")
    while chunk := _read(reader):
        told += chunk.decode(errors="replace")
        if told.count("What now?") > told.count("<answered>"):
            project.write(THREE.replace("test -e /broken", "true"))
            told += "<answered>"
            os.write(reader, f"{next(answers)}\n".encode())
    assert bake.wait() == 7, told
    assert "Traceback" not in told
    assert "was skipped" in told
    run = project.runs[-1].name
    assert f"bake ssh {run}" in told
    assert visit(project, run, "cat /root/hello") == "hello\n"
    collected(project, run)


def _read(reader: int) -> bytes:
    try:
        return os.read(reader, 65536)
    except OSError:  # Linux: the other end is closed
        return b""
