"""The verdict on a play, from what ansible-core 2.19.14 was seen to tell."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bakery.cache.inputs.tracer import Tracer
from bakery.errors import DriverError, TaskError
from bakery.machine.access import MachineAccess
from bakery.model import Result
from bakery.provision.ansible_events import Told
from bakery.provision.ansible_verdict import judge
from bakery.provision.ansible_words import PlayOptions
from tests.unit.provision.test_ansible_words import NONE

INSIDE = cast("MachineAccess", SimpleNamespace(alive=lambda: None, link=None))
OK: dict[str, int] = {"ok": 1, "failures": 0, "unreachable": 0}
UNREADABLE = """[ERROR]: couldn't resolve module/action 'gone'. This often indicates a misspelling.
Origin: /p/roles/web/tasks/main.yml:7:3

5
6   command: x
"""
VAULT = """[WARNING]: Failed to parse inventory with 'yaml' plugin: Attempting to decrypt but no vault secrets found.

Failed to parse inventory with 'yaml' plugin.

<<< caused by >>>

Attempting to decrypt but no vault secrets found.
Origin: /p/secret.yml

[ERROR]: Completely failed to parse inventory source /tmp/bakery-x/hosts.json
"""


def result(outcome: str, *, host: str = "default", implicit: bool = False, **said: Any) -> dict[str, Any]:
    return {
        "type": "result",
        "outcome": outcome,
        "name": f"{outcome} task",
        "path": "/p/site.yml:3",
        "host": host,
        "implicit": implicit,
        "seconds": 0.1,
        "said": said,
    }


def told(*messages: dict[str, Any], **stats: int) -> Told:
    made = Told()
    for message in (*messages, {"type": "stats", "hosts": {"default": {**OK, **stats}}}):
        made.take(message)
    return made


def verdict(what: Told, code: int = 0, stderr: str = "", **options: Any) -> None:
    judge(INSIDE, PlayOptions(**{**vars(NONE), **options}), what, Result(command="", exited=code, stderr=stderr))


def test_a_play_that_did_something_is_well() -> None:
    verdict(told(result("ok")))
    verdict(told(result("skipped")))
    verdict(told(result("failed"), result("ok"), rescued=1))


def test_a_failed_task_has_its_message_and_its_line() -> None:
    with pytest.raises(TaskError, match="task 'failed task' failed") as caught:
        verdict(told(result("failed", msg="boom", rc=3, stderr="why"), failures=1), 2)
    assert caught.value.why == "boom\nexit code 3\nstderr: why"
    assert str(caught.value.where) == "/p/site.yml:3"


def test_a_loop_tells_of_each_item_that_failed() -> None:
    items = [{"item": "b", "msg": "no b"}, {"item": "c", "msg": "no c"}]
    with pytest.raises(TaskError) as caught:
        verdict(told(result("failed", items=items), failures=1), 2)
    assert caught.value.why == "item b: no b\nitem c: no c"


@pytest.mark.parametrize(
    ("what", "options", "why"),
    [
        (told(result("ok", implicit=True)), {}, "its plays have no tasks"),
        (told(), {"start_at_task": "instal"}, "no task is called 'instal'"),
        (told(), {"tags": ("x",)}, "no task has the tags"),
        (
            told({"type": "no-hosts", "play": "web"}),
            {"groups": ("db",)},
            "no host matches web; the machine is 'default' in db",
        ),
    ],
)
def test_a_play_that_ran_nothing_is_a_failure_whatever_the_exit_code(
    what: Told, options: dict[str, Any], why: str
) -> None:
    with pytest.raises(TaskError, match=r"ansible site.yml: ran nothing") as caught:
        verdict(what, **options)
    assert why in caught.value.why


def test_a_host_that_was_not_reached_is_named() -> None:
    made = told(result("unreachable", host="away"))
    made.stats = {"away": {"failures": 0, "unreachable": 1}}
    with pytest.raises(TaskError, match="could not reach its host on away"):
        verdict(made, 4)


def test_a_machine_that_was_not_reached_is_no_task_that_ran() -> None:
    with pytest.raises(TaskError, match="ran nothing"):  # with ignore_unreachable, Ansible counts it as ok
        verdict(told(result("unreachable")))


def test_what_cannot_be_read_is_said_with_its_place() -> None:
    with pytest.raises(TaskError, match="couldn't resolve module/action 'gone'") as caught:
        verdict(Told(), 4, UNREADABLE)
    assert str(caught.value.where) == "/p/roles/web/tasks/main.yml:7"


def test_a_vault_without_its_password_is_no_matter_of_the_inventory() -> None:
    with pytest.raises(TaskError, match="Attempting to decrypt but no vault secrets found") as caught:
        verdict(Told(), 1, VAULT)
    assert caught.value.hint.startswith("vault=")


def test_an_exit_code_without_a_reason_is_a_failure() -> None:
    with pytest.raises(TaskError, match="ended with exit code 250"):
        verdict(told(result("ok")), 250)


def test_a_play_that_ran_too_long_names_its_last_task() -> None:
    with pytest.raises(TaskError, match="it ran longer than") as caught:
        verdict(told(result("ok")), -1)
    assert caught.value.why == "the last task that ended: ok task"


def test_what_it_read_are_the_steps_inputs(tmp_path: Path) -> None:
    (tmp_path / "filter_plugins").mkdir()
    seen = [
        ("file", f"{tmp_path}/site.yml"),
        ("file", f"{tmp_path}/filter_plugins/__pycache__/own.cpython-311.pyc"),
        ("listing", f"{tmp_path}/group_vars"),
        ("wrote", str(tmp_path)),  # a file without a name
        ("file", "/opt/ansible/lib/x.py"),
        ("file", "/usr/lib/python3/dist-packages/x.py"),
        ("env", "FLAVOUR"),
        ("program", "sh"),
    ]
    with Tracer(tmp_path) as tracer:
        Told(read=seen).note_inputs(["/opt/ansible/"])
    assert set(tracer.read) == {
        ("file", f"{tmp_path}/site.yml"),
        ("file", f"{tmp_path}/filter_plugins/own.py"),
        ("listing", f"{tmp_path}/group_vars"),
        ("env", "FLAVOUR"),
    }
    assert tracer.problems == ["Ansible runs sh on this host"]


def test_a_task_that_failed_since_the_machine_died_is_the_machines_failure() -> None:
    def dead() -> None:
        raise DriverError("the machine died")

    inside = cast("MachineAccess", SimpleNamespace(alive=dead, link=SimpleNamespace(close=lambda: None)))
    failed = told(result("failed", msg="MODULE FAILURE"), failures=1)
    with pytest.raises(DriverError, match="the machine died") as caught:
        judge(inside, NONE, failed, Result(command="", exited=2))
    assert str(caught.value.where) == "/p/site.yml:3"
    assert caught.value.why == "MODULE FAILURE"
