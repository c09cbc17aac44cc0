"""Itamae: what it is given; its events are read as Chef's are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bakery.errors import TaskError
from bakery.machine.facts import Facts
from bakery.model import Result
from bakery.provision import itamae
from bakery.redaction.secret import Secret
from bakery.testing import FakeMachine

FOLDER = "/tmp/.bakery-itamae-x"
OK = {"type": "resource", "name": "file[/x]", "outcome": "ok", "seconds": 0.1, "line": f"{FOLDER}/recipes/web.rb:1"}


def machine(project: Path, events: str, exited: int = 0) -> FakeMachine:
    (project / "r").mkdir()
    (project / "r/web.rb").write_text("")
    m = FakeMachine({"*": ""}, folder=project, facts=Facts(package_manager="apt-get"))
    m.answer("dpkg-query *", "itamae\n")
    m.answer("mktemp -d /tmp/.bakery-itamae-XXXXXX", f"{FOLDER}\n")
    m.answer(f"cat {FOLDER}/own/events", events)
    return m.answer("ruby *", Result(command="", exited=exited))


def test_recipes_and_attributes_go_along(tmp_path: Path) -> None:
    m = machine(tmp_path, json.dumps({**OK, "text": ""}))
    done = itamae(m, ["r/web.rb"], tree="r", node={"token": Secret("hunter22")}, dry_run=True)
    wish = json.loads(m.files[f"{FOLDER}/own/wish.json"].text)
    assert (wish["recipes"], wish["dry_run"]) == ([f"{FOLDER}/recipes/web.rb"], True)
    assert m.files[f"{FOLDER}/own/node.json"].mode == 0o600
    assert done.items[0].location == f"{tmp_path}/r/web.rb:1"
    assert m.commands[-1] == f"rm -rf -- {FOLDER}"


def test_a_failed_resource_has_the_reason_of_the_run_where_it_has_none_of_its_own(tmp_path: Path) -> None:
    error = {"type": "error", "text": "SourceNotFoundError: no such file", "lines": [f"{FOLDER}/own/itamae_local.rb:3"]}
    events = "\n".join(json.dumps(one) for one in ({**OK, "text": "", "outcome": "failed"}, error))
    with pytest.raises(TaskError, match=r"itamae: file\[/x\] failed") as caught:
        itamae(machine(tmp_path, events, 1), "r/web.rb")
    assert caught.value.why == "SourceNotFoundError: no such file"


def test_our_own_lines_are_no_place_of_an_error(tmp_path: Path) -> None:
    lines = [f"{FOLDER}/own/itamae_local.rb:3", f"{FOLDER}/recipes/web.rb:7"]
    events = json.dumps({"type": "error", "text": "NameError: x", "lines": lines})
    with pytest.raises(TaskError, match="itamae: NameError: x") as caught:
        itamae(machine(tmp_path, events, 1), "r/web.rb")
    assert str(caught.value.where) == f"{tmp_path}/r/web.rb:7"


def test_recipes_that_cannot_be_found_are_refused(tmp_path: Path) -> None:
    m = machine(tmp_path, "")
    with pytest.raises(TaskError, match="there is no recipe"):
        itamae(m, "gone.rb")
    (tmp_path / "other").mkdir()
    with pytest.raises(TaskError, match="is not in"):
        itamae(m, "r/web.rb", tree="other")
    with pytest.raises(TaskError, match="needs a recipe"):
        itamae(m, [])
