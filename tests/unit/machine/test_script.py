"""Scripts: from a file or a text, with the names that they ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakery.cache.inputs.tracer import Tracer
from bakery.errors import CommandFailed
from bakery.machine.build_names import BuildNames
from bakery.machine.script import prepare
from bakery.testing import FakeMachine

NAMES = BuildNames(image="web", source="laptop", run="r1")


def test_a_text_of_more_than_one_line_is_a_script(tmp_path: Path) -> None:
    ready = prepare("#!/usr/bin/python3 -u\n# says\nprint(1)\n", ("a b",), tmp_path, NAMES, "")
    assert ready.title == "script `print(1)` ... a b"
    assert ready.words[4:] == ("2", "/usr/bin/python3", "-u", "a b")
    assert ready.data.endswith(b"print(1)\n")


def test_an_interpreter_takes_the_place_of_the_first_line(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("#!/bin/bash\n")
    assert prepare("s", (), tmp_path, NAMES, "perl -w").words[4:] == ("2", "perl", "-w")


def test_a_script_is_told_what_it_asks_for_and_depends_on_no_more(tmp_path: Path) -> None:
    with Tracer(tmp_path) as tracer:
        assert prepare("echo\nx\n", (), tmp_path, NAMES, "").env == {}
        assert set(tracer.read) == set()
        ready = prepare("echo $BAKERY_IMAGE ${BAKERY_RUN}\n", (), tmp_path, NAMES, "")
    assert ready.env == {"BAKERY_IMAGE": "web", "BAKERY_RUN": "r1"}
    assert set(tracer.read) == {("env", "BAKERY_IMAGE")}  # the run is another one each time


def test_other_exit_codes_can_be_successes() -> None:
    m = FakeMachine({"script *": 3})
    assert m.script("exit 3\n# it is\n", valid_exit_codes=(0, 3)).exited == 3
    with pytest.raises(CommandFailed, match="ended with exit code 3"):
        m.script("exit 3\n# it is\n", valid_exit_codes=(0, 2))
    assert FakeMachine({"*": 2}).run("true", warn=True).failed


def test_a_success_can_be_a_failure() -> None:
    with pytest.raises(CommandFailed, match="ended with exit code 0"):
        FakeMachine({"script *": ""}).script("grep x\ny\n", valid_exit_codes=(1,))


def test_the_folder_of_the_run_is_made_when_it_is_asked_for(tmp_path: Path) -> None:
    assert BuildNames(folder=tmp_path / "a" / "b").run_folder().is_dir()
    with pytest.raises(ValueError, match="belongs to no run"):
        _ = FakeMachine().run_folder
