"""What travels, as JSON and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bakery import errors
from bakery.build.cluster.assignment import (
    Assignment,
    packed_error,
    packed_options,
    unpacked_error,
    unpacked_options,
)
from bakery.build.context import BuildOptions
from bakery.errors import BakeryError, CommandFailed, Location, TaskError
from bakery.model import Result


def test_an_assignment_survives_the_way() -> None:
    assignment = Assignment(run="r", build="b[x=1]@s", project="0" * 64, imagefile="i.py", values={"n": [1]}, lease=5.0)
    assert Assignment.from_json(json.loads(json.dumps(assignment.to_json()))) == assignment


def test_the_options_that_a_worker_needs_survive_the_way() -> None:
    options = BuildOptions(test=False, refresh=frozenset({"a"}), phase_timeouts={"capture": 3.0}, clones=2)
    back = unpacked_options(json.loads(json.dumps(packed_options(options))))
    assert (back.test, back.clones) == (False, 2)
    assert back.refresh == frozenset({"a"})
    assert dict(back.phase_timeouts) == {"capture": 3.0}


@pytest.mark.parametrize(
    "kind", [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BakeryError)]
)
def test_every_error_is_raised_again_as_what_it_was(kind: type[BakeryError]) -> None:
    error = kind.__new__(kind)
    BakeryError.__init__(error, "what", why="why", hint="hint", where=Location(Path("/p/imagefile.py"), 3))
    back = unpacked_error(json.loads(json.dumps(packed_error(error))))
    assert type(back) is kind
    assert (back.what, back.why, back.hint, back.where) == ("what", "why", "hint", error.where)


def test_an_error_of_a_class_that_is_not_known_here_is_of_its_family() -> None:
    result = Result(command="x", stdout="", stderr="", exited=3, seconds=0.1)
    data = {**packed_error(CommandFailed("it failed", result=result)), "kind": "FailedSomehow"}
    assert isinstance(unpacked_error(data), TaskError)
    assert unpacked_error(data).exit_code == 7
