"""What Salt returns, and what becomes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from bakery.errors import Location
from bakery.model import Result
from bakery.provision.salt_results import failure, items_of, parsed
from bakery.provision.uploads import Uploads

RESULTS: dict[str, Any] = {
    "cmd_|-told_|-true_|-run": {
        "name": "true",
        "changes": {"pid": 1},
        "result": True,
        "comment": 'Command "true" run',
        "__sls__": "web",
        "__run_num__": 1,
        "duration": 12.5,
        "__id__": "told",
        "__state_ran__": True,
    },
    "file_|-/etc/s_|-/etc/s_|-managed": {
        "name": "/etc/s",
        "changes": {},
        "result": True,
        "comment": "File /etc/s is in the correct state",
        "__sls__": "web",
        "__run_num__": 0,
        "duration": "3.2",
        "__id__": "/etc/s",
    },
    "file_|-bad_|-/gone/x_|-managed": {
        "name": "/gone/x",
        "changes": {},
        "result": False,
        "comment": "Parent directory not present",
        "__sls__": "bad",
        "__run_num__": 2,
        "__id__": "bad",
    },
}


class Sent:
    """What was sent, without a machine: the states are in a folder of the test."""

    folder = "/tmp/.b"

    def __init__(self, project: Path) -> None:
        self._project = project

    def place(self, file: str, line: int) -> Location:
        return Location(Path(file.replace("/tmp/.b/states", str(self._project))), line)

    def localized(self, text: str) -> str:
        return text.replace("/tmp/.b/states", str(self._project))


def sent(project: Path) -> Uploads:
    for name in ("web.sls", "bad.sls"):
        (project / name).write_text("")
    return cast("Uploads", Sent(project))


def test_states_are_read_in_the_order_in_which_they_ran() -> None:
    items = items_of(parsed("some warning\n" + json.dumps({"local": RESULTS})))
    assert [(item.name, item.outcome) for item in items] == [
        ("file.managed /etc/s", "ok"),
        ("cmd.run told", "changed"),
        ("file.managed bad", "failed"),
    ]
    assert items[1].seconds == 0.0125


def test_a_change_that_is_only_announced_is_one() -> None:
    pending = {"file_|-a_|-a_|-managed": {"result": None, "changes": {"new": "x"}, "__id__": "a"}}
    assert items_of(pending)[0].outcome == "changed"


def test_a_failed_state_is_a_failure_whatever_the_exit_code(tmp_path: Path) -> None:
    error = failure(Result(command="", exited=0), RESULTS, items_of(RESULTS), sent(tmp_path), ["bad"])
    assert error is not None
    assert (error.what, error.why) == ("salt bad: state 'file.managed bad' failed", "Parent directory not present")
    assert str(error.where) == f"{tmp_path}/bad.sls:1"


def test_what_salt_cannot_read_is_said_with_its_place(tmp_path: Path) -> None:
    returned = ["Rendering SLS 'base:web' failed: Jinja variable 'gone' is undefined; line 3\n\n---\n[...]"]
    error = failure(Result(command="", exited=1), returned, [], sent(tmp_path), ["web"])
    assert error is not None
    assert error.what.startswith("salt web: Rendering SLS 'base:web' failed: Jinja variable 'gone' is undefined")
    assert str(error.where) == f"{tmp_path}/web.sls:3"


def test_states_that_are_none_are_a_failure(tmp_path: Path) -> None:
    error = failure(Result(command="", exited=2), {}, [], sent(tmp_path), ["empty"])
    assert error is not None
    assert error.what == "salt empty ran nothing"


def test_a_run_that_is_well_is_no_failure(tmp_path: Path) -> None:
    well = {key: value for key, value in RESULTS.items() if value["result"]}
    assert failure(Result(command="", exited=0), well, items_of(well), sent(tmp_path), ["web"]) is None
    assert failure(Result(command="", exited=1), well, items_of(well), sent(tmp_path), ["web"]) is not None
    assert parsed("no json at all") is None
