"""Whatever leaves the user's code is that function's failure: never a defect of ours, never a quiet end."""

# ruff: noqa: E501
# The tables hold small imagefiles, each in a line, and expressions of the tests' own.

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, cast

import pytest

from bakery.errors import ImagefileError
from bakery.imagefile import loader, user_code
from bakery.imagefile.plan import call, plan
from bakery.imagefile.user_code import UserCodeExit, call_user_code, describe, user_line
from bakery.imagefile.variables import Settings

from .ways import HEAD, IN_THREADS, SOURCE, WAYS, body

Say = Callable[[str], ImagefileError]
ALL = WAYS | IN_THREADS


@pytest.fixture
def mistake(tmp_path: Path) -> Say:
    """Write an imagefile, read it, plan it, and return the error."""

    def read(text: str) -> ImagefileError:
        file = tmp_path / "imagefile.py"
        file.write_text(text, encoding="utf-8")
        with pytest.raises(ImagefileError) as caught:
            plan(loader.load(file), Settings())
        return caught.value

    return read


def check(error: ImagefileError, folder: Path) -> None:
    told = str(error)
    assert error.exit_code == 3
    assert error.where is not None, told
    assert error.where.file == folder / "imagefile.py", told
    assert error.where.line > 1
    assert "defect" not in told


@pytest.mark.parametrize("way", WAYS)
def test_out_of_the_module(mistake: Say, tmp_path: Path, way: str) -> None:
    check(mistake(HEAD + SOURCE + WAYS[way] + "\n"), tmp_path)


@pytest.mark.parametrize("way", ALL)
def test_out_of_a_source(mistake: Say, tmp_path: Path, way: str) -> None:
    error = mistake(HEAD + f"@bakery.source\ndef here():\n{body(ALL[way])}    return Folder(cloud='cloud')\n")
    check(error, tmp_path)
    assert "here" in error.what or "told" in error.what


@pytest.mark.parametrize("way", ALL)
def test_out_of_an_image_function(mistake: Say, tmp_path: Path, way: str) -> None:
    error = mistake(HEAD + SOURCE + f"@bakery.image\ndef web():\n{body(ALL[way])}")
    check(error, tmp_path)
    assert "web" in error.what or "told" in error.what


@pytest.mark.parametrize("way", WAYS)
def test_out_of_the_class_of_variables(mistake: Say, tmp_path: Path, way: str) -> None:
    text = (
        f"@bakery.variables\nclass Vars:\n    size: int = 1\n    def __post_init__(self):\n{body(WAYS[way], ' ' * 8)}"
    )
    check(mistake(HEAD + SOURCE + text), tmp_path)


@pytest.mark.parametrize("way", WAYS)
def test_out_of_a_default_factory(mistake: Say, tmp_path: Path, way: str) -> None:
    text = f"def made():\n{body(WAYS[way])}\n@bakery.variables\nclass Vars:\n    sizes: list[int] = bakery.var(default_factory=made)\n"
    check(mistake(HEAD + SOURCE + text), tmp_path)


@pytest.mark.parametrize("kind", ["task", "post"])
@pytest.mark.parametrize("way", ALL)
def test_out_of_a_task_or_a_post_step(tmp_path: Path, way: str, kind: str) -> None:
    file = tmp_path / "imagefile.py"
    file.write_text(HEAD + SOURCE + f"@bakery.{kind}\ndef go(subject):\n{body(ALL[way])}", encoding="utf-8")
    (function,) = loader.load(file).functions[kind]
    with pytest.raises(Exception) as caught:  # noqa: PT011  of any kind, but nothing else than that
        call(kind, function, [None], None, lambda: None)
    if way != "sys.exit in a thread":  # no line of the user's is in it; the step's own is told then
        where = user_line(caught.value)
        assert where is not None
        assert where.file == file
    verb, why, hint = describe(caught.value)
    assert re.match(r"(raises \w+|calls \w)", verb)
    assert "sys.exit" not in verb or "return" in hint
    assert isinstance(why, str)


def test_what_a_function_returns_is_returned_and_nothing_stays_installed() -> None:
    def state() -> tuple[object, ...]:
        hooks = threading.Thread.start, threading.excepthook, signal.getsignal(signal.SIGINT)
        return (*hooks, Future.__init__, Future.result, sys.getrecursionlimit())

    def work() -> int:
        sys.setrecursionlimit(200)
        return 5

    before = state()
    assert call_user_code(work, check=lambda: None) == 5
    assert before == state()


def test_a_ctrl_c_is_an_interrupt_also_where_the_user_code_makes_something_else_of_it() -> None:
    def typed() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise SystemExit(1) from None

    with pytest.raises(KeyboardInterrupt):
        call_user_code(typed)
    with pytest.raises(KeyboardInterrupt):
        call_user_code(lambda: signal.raise_signal(signal.SIGINT))


def test_a_keyboard_interrupt_that_nobody_typed_is_a_failure() -> None:
    def pretend() -> None:
        raise KeyboardInterrupt

    with pytest.raises(UserCodeExit, match="KeyboardInterrupt"):
        call_user_code(pretend)


def test_threads_that_are_no_concern_of_the_function_are_left_alone() -> None:
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor()  # its threads never end by themselves
    never = threading.Event()
    threading.Thread(target=never.wait, daemon=True).start()

    def work() -> int:
        threading.Thread(target=never.wait, daemon=True).start()
        return pool.submit(lambda: 7).result()

    assert call_user_code(work, check=lambda: None) == 7
    never.set()
    pool.shutdown()


@pytest.mark.parametrize("passes_on", [False, True])
def test_a_hook_of_the_users_own_hides_no_thread_that_dies(passes_on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As crash reporters install one when they are imported."""
    told: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", told.append)

    def install() -> None:
        before = threading.excepthook
        threading.excepthook = lambda args: before(args) if passes_on else None

    def fail() -> None:
        raise ValueError("boom")

    call_user_code(install, check=lambda: None)
    with pytest.raises(ValueError, match="boom"):
        call_user_code(lambda: threading.Thread(target=fail).start(), check=lambda: None)
    (thread := threading.Thread(target=fail)).start()
    thread.join()
    assert len(told) == passes_on


@pytest.mark.parametrize(
    "handled",
    [
        lambda future: future.exception(),
        lambda future: future.add_done_callback(lambda _: None),
        lambda future: next(as_completed([future])).exception(),
    ],
)
def test_an_error_of_an_executor_that_somebody_asks_for_is_none(handled: Callable[[Future[object]], object]) -> None:
    def work() -> None:
        with ThreadPoolExecutor() as pool:
            handled(pool.submit(int, "x"))

    call_user_code(work, check=lambda: None)


def test_what_an_executor_still_does_is_waited_for() -> None:
    done: list[int] = []

    def slow() -> None:
        time.sleep(0.3)
        done.append(1)

    call_user_code(lambda: ThreadPoolExecutor().submit(slow), check=lambda: None)
    assert done == [1]


def test_waiting_for_a_thread_ends_when_the_run_is_cancelled() -> None:
    never = threading.Event()

    def cancelled() -> None:
        raise RuntimeError("cancelled")

    with pytest.raises(RuntimeError, match="cancelled"):
        call_user_code(lambda: threading.Thread(target=never.wait).start(), check=cancelled)
    never.set()


@pytest.mark.parametrize(
    ("code", "status"),
    [("return", 0), ("sys.exit(0)", 0), ("sys.exit('no')", 1), ("sys.exit(300)", 300 & 255), ("1 / 0", 1)],
)
def test_a_forked_child_ends_where_it_leaves_the_users_code(
    code: str, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """All that follows is its parent's: the child would clean up what that goes on with."""
    names: dict[str, object] = {"os": os, "sys": sys}
    exec(f"def forks():\n    if os.fork() == 0:\n        {code}\n    return os.wait()[1]\n", names)  # noqa: S102  our own
    assert (
        os.waitstatus_to_exitcode(cast("int", call_user_code(cast("Callable[[], object]", names["forks"])))) == status
    )
    assert ("Traceback" in capfd.readouterr().err) == (status == 1)


def test_a_task_of_asyncio_that_is_no_concern_of_the_function_is_complained_of_as_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def work() -> None:
        error = ValueError("theirs")
        logging.getLogger("asyncio").error("Task exception was never retrieved", exc_info=(ValueError, error, None))

    call_user_code(work)
    assert "theirs" in caplog.text
    assert "error" not in vars(logging.getLogger("asyncio"))


def test_what_comes_out_of_the_imagefile_while_bakery_works_is_no_defect_of_ours(tmp_path: Path) -> None:
    file = tmp_path / "imagefile.py"
    file.write_text("import sys\ndef handler(call=None):\n    call() if call else sys.exit(0)\n", encoding="utf-8")
    names: dict[str, Any] = {}
    exec(compile(file.read_text(), file, "exec"), names)  # noqa: S102  our own
    with pytest.raises(SystemExit) as theirs:
        names["handler"]()
    error = user_code.out_of_imagefile(theirs.value, tmp_path)
    assert error is not None
    assert (error.exit_code, error.where and error.where.line) == (3, 3)
    assert "calls sys.exit(0) while bakery works" in error.what
    with pytest.raises(ImagefileError) as ours:
        names["handler"](lambda: loader.load(tmp_path / "nowhere.py"))
    assert user_code.out_of_imagefile(ours.value, tmp_path) is None
    assert user_code.out_of_imagefile(theirs.value, tmp_path / "elsewhere") is None


def test_packages_under_the_project_are_not_the_users_code(tmp_path: Path) -> None:
    assert user_code.is_users_file(str(tmp_path / "imagefile.py"))
    assert not user_code.is_users_file(str(tmp_path / ".venv/lib/python3.11/site-packages/requests/api.py"))
    assert not user_code.is_users_file(threading.__file__)
    assert not user_code.is_users_file(loader.__file__)
    assert not user_code.is_users_file("<string>")
