"""What users get wrong: each mistake ends with one clear message, the documented exit code, and no traceback."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bakery
from bakery.errors import UsageError

from .conftest import Place

SOURCE = "import bakery\nfrom bakery.testing.folder.driver import Folder\n\n"
HERE = SOURCE + "@bakery.source\ndef here() -> Folder:\n    return Folder(cloud='cloud')\n\n"
TASK = "@bakery.task\ndef go(m):\n    m.run('true')\n\n"
MISTAKES = {
    "raises on import": (HERE + "print(1 / 0)\n", 3, 8, "ZeroDivisionError"),
    "syntax": (HERE + "def go(:\n", 3, 8, "syntax"),
    "unknown import": ("import nowhere\n", 3, 1, "nowhere"),
    "too few parameters": (HERE + "@bakery.task\ndef go():\n    pass\n", 3, 8, "def go(machine, v)"),
    "too many parameters": (HERE + "@bakery.task\ndef go(m, v, more):\n    pass\n", 3, 8, "go"),
    "misspelt keyword": (HERE + "@bakery.task(retrys=2)\ndef go(m):\n    pass\n", 3, 8, "retries"),
    "a test under tasks": (
        HERE + "@bakery.test\ndef works(host):\n    pass\n\n@bakery.image(tasks=[works])\ndef web():\n    pass\n",
        3,
        12,
        "works",
    ),
    "unknown axis": (
        HERE + "@bakery.variables\nclass Vars:\n    release: str = 'a'\n\n"
        "@bakery.image(matrix={'relase': ['a', 'b']})\ndef web():\n    pass\n",
        3,
        12,
        "release",
    ),
    "another source": (SOURCE + "@bakery.source\ndef here():\n    return 'debian'\n\n" + TASK, 3, 4, "here"),
    "two images of one name": (
        HERE + TASK + "@bakery.image\ndef web():\n    return 'x'\n\n@bakery.image\ndef other():\n    return 'x'\n",
        3,
        16,
        "'x'",
    ),
    "value of the wrong type": (
        HERE + "@bakery.variables\nclass Vars:\n    workers: int = 'many'\n\n" + TASK,
        3,
        10,
        "workers",
    ),
    "missing secret": (
        HERE + "@bakery.variables\nclass Vars:\n    password: bakery.Secret = bakery.secret(env='NOWHERE')\n\n" + TASK,
        3,
        10,
        "NOWHERE",
    ),
    "misspelt source keyword": (
        SOURCE + "@bakery.source\ndef here():\n    return Folder(clod='x')\n",
        3,
        6,
        "did you mean cloud=",
    ),
    "unknown variable": (
        HERE + "@bakery.variables\nclass Vars:\n    workers: int = 4\n\n"
        "@bakery.task\ndef go(m, v):\n    m.run('true')\n    m.run(f'echo {v.worker}')\n",
        3,
        15,
        "did you mean workers?",
    ),
    "unknown variable in a test": (
        HERE + "@bakery.variables\nclass Vars:\n    workers: int = 4\n\n"
        "@bakery.test\ndef works(host, v):\n    assert v.nothing\n",
        3,
        14,
        "variables are: workers",
    ),
    "timeout that is no number": (HERE + "@bakery.task(timeout='10m')\ndef go(m):\n    pass\n", 3, 8, "timeout=600"),
    "retries that are none": (HERE + "@bakery.task(retries=True)\ndef go(m):\n    pass\n", 3, 8, "retries=2"),
    "age that is none": (HERE + "@bakery.task(max_age='soon')\ndef go(m):\n    pass\n", 3, 8, "7d"),
    "only= that is no list": (HERE + "@bakery.task(only=here)\ndef go(m):\n    pass\n", 3, 8, "only=[...]"),
}


def one_message(told: str) -> str:
    assert len(re.findall(r"^(?:\d\d:\d\d:\d\d )?error: ", told, re.MULTILINE)) == 1, told
    assert "Traceback" not in told
    assert "defect" not in told
    return told


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_the_imagefile(empty: Place, name: str) -> None:
    text, code, line, part = MISTAKES[name]
    empty.write(text)
    done = empty.shell("build")
    told = one_message(done.err)
    assert (done.code, done.out) == (code, ""), told
    assert part in told
    if line:
        assert f"imagefile.py:{line}" in told, told
    assert not [*empty.folder.glob(".bakery/runs/*/machines/*")]


IMAGE = """
import bakery
from bakery.errors import UsageError
from bakery.drivers import CloudImage, Qemu

@bakery.source
def here() -> Qemu:
    return Qemu(base=CloudImage({url!r}, checksum={checksum!r}), memory="64M", accel="tcg")

@bakery.task
def go(m):
    m.run("true")
"""


@pytest.mark.live
def test_a_wrong_checksum(empty: Place) -> None:
    disk = empty.folder / "disk.raw"
    disk.write_bytes(bytes(510) + b"\x55\xaa")
    right, wrong = hashlib.sha256(disk.read_bytes()).hexdigest(), hashlib.sha256(b"other").hexdigest()
    empty.write(IMAGE.format(url=disk.as_uri(), checksum=f"sha256:{wrong}"))
    done = empty.shell("build")
    told = one_message(done.err)
    assert done.code == 4, told
    assert right in told
    assert wrong in told
    assert "hint:" in told
    assert not [*empty.folder.glob(".bakery/images/*/*")]


def test_a_host_without_qemu_is_told_what_to_install(empty: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = empty.folder / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    empty.write(IMAGE.format(url="file:///etc/passwd", checksum="sha256:" + "0" * 64))
    done = empty.shell("build")
    told = one_message(done.err)
    assert done.code == 4, told
    assert "qemu-system-x86_64 is not installed" in told
    assert "apt install qemu-system-x86" in told
    assert empty.shell("doctor").code in (0, 4)


def test_a_cache_that_cannot_be_made_is_named(place: Place, secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (place.folder / "file").write_text("")
    monkeypatch.setenv("BAKERY_CACHE_DIR", str(place.folder / "file" / "cache"))
    done = place.shell("build")
    told = one_message(done.err)
    assert done.code == 4, told
    assert "BAKERY_CACHE_DIR" in told


def test_a_project_folder_that_cannot_be_written_to_is_named(place: Place, secret: str) -> None:
    (place.folder / ".bakery").write_text("in the way")
    done = place.shell("build")
    told = one_message(done.err)
    assert done.code == 4, told
    assert ".bakery" in told


def test_no_wait_can_be_cut_short_or_made_endless_by_a_clock_that_jumps() -> None:
    """Only dates that are written down come from the clock on the wall."""
    root = Path(bakery.__file__).parent
    files = [*(root / "machine").rglob("*.py"), *root.glob("disk/*.py"), *root.glob("drivers/qemu/p*.py")]
    files += [root / "smoke" / "shell.py", root / "state" / "destroy.py"]
    files += [root / "util" / name for name in ("lock.py", "process.py", "retry.py", "waiting.py")]
    files += [root / "build" / name for name in ("build_events.py", "context.py", "machines.py", "phases.py")]
    files += [root / "build" / name for name in ("scope.py", "signals.py", "tasks.py")]
    for file in files:
        calls = [node.func for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
        assert "time.time" not in {ast.unparse(call) for call in calls}, file


def test_a_pipe_that_closes_and_a_terminal_that_hangs_up_are_no_defects(place: Place, secret: str) -> None:
    done = subprocess.run(
        ["sh", "-c", '"$0" -m bakery build web-trixie --no-test 2>&1 | head -n 1', sys.executable],
        cwd=place.folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ},
    )
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("words", [["list"], ["build"], ["gc"], ["init"], ["report"]])
def test_a_current_folder_that_is_gone_is_said_as_that(empty: Place, tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "gone").mkdir()
    code = "import os, sys; os.rmdir(os.getcwd()); from bakery.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path / "gone", capture_output=True, text=True, check=False
    )
    assert done.returncode == UsageError.exit_code
    assert done.stderr.splitlines()[0] == "error: the current folder is gone"
    assert "cd" in done.stderr
