"""Salt of PyPI: states, pillar and grains; what fails, what is traced, what is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bakery.build.idempotence import run_twice
from bakery.cache.inputs.tracer import Tracer
from bakery.errors import TaskError
from bakery.machine.machine import Machine
from bakery.provision import salt
from bakery.provision.guest_python import PythonNeeds, environment
from bakery.provision.salt_call import COMPILERS, VERSION, WITHOUT
from bakery.redaction.secret import Secret
from bakery.util.changes import collected_changes
from tests.live.provision.conftest import Container

pytestmark = [pytest.mark.live, pytest.mark.all, pytest.mark.timeout(3600)]
Write = Callable[[str, str], Path]
STATE = """
/etc/told:
  file.managed: [{source: 'salt://web/t.j2', template: jinja}]
"""


@pytest.fixture(scope="module", autouse=True)
def salt_call(container: Container, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have a `salt-call` for all tests: installing it takes longer than all of them."""
    root = container.machine(tmp_path_factory.mktemp("salt"), [])
    if root.run("command -v salt-call", warn=True, hide=True).ok:
        yield
        return
    with environment(root, PythonNeeds.of(VERSION, None, compilers=COMPILERS, without=WITHOUT)) as programs:
        root.run(f"ln -s {programs}/salt-call /usr/local/bin")
        yield
        root.run("rm /usr/local/bin/salt-call")


def test_states_pillar_and_grains(m: Machine, write: Write, tmp_path: Path) -> None:
    write("salt/top.sls", "base: {'*': [web]}\n")
    write("salt/web/init.sls", STATE)
    write("salt/web/t.j2", "{{ pillar['token'] }} {{ grains['role'] }} {{ pillar['level'] }}\n")
    write("salt/unused.sls", "x: {test.nop: []}\n")
    write("pillar/top.sls", "base: {'*': [level]}\n")
    write("pillar/level.sls", "level: 9\n")

    def apply() -> list[str]:
        with collected_changes() as changes:
            pillar = {"token": Secret("hunter22")}
            salt(m, pillar=pillar, pillar_tree="pillar", grains={"role": "db"}, install=None)
        return changes

    with Tracer(tmp_path) as tracer:
        assert apply() == ["salt: file.managed /etc/told"]
    assert apply() == []
    assert m.run("cat /etc/told", hide=True).stdout == "hunter22 db 9\n"
    read = {name.removeprefix(f"{tmp_path}/") for kind, name in tracer.read if kind == "file"}
    assert read == {"salt/top.sls", "salt/web/init.sls", "salt/web/t.j2", "pillar/top.sls", "pillar/level.sls"}
    left = m.run("ls -d /etc/salt /var/cache/salt /var/log/salt /tmp/.bakery-salt-*", warn=True, hide=True)
    assert left.stdout == ""


FAULTS = {
    "a state": ("bad:\n  file.managed: [{name: /gone/x, contents: x}]\n", "state 'file.managed bad' failed", 1),
    "a module": ("bad:\n  no_such.thing: []\n", "state 'no_such.thing bad' failed", 1),
    "jinja": ("a:\n  test.nop: []\nb: {{ gone.x }}\n", "Jinja variable 'gone' is undefined", 3),
    "yaml": ("a:\n  test.nop: [\n", "while parsing a flow node", 3),
    "nothing": ("{% if false %}\nx: {}\n{% endif %}\n", "salt web ran nothing", 0),
    "a state file": ("include: [gone]\n", "gone", 0),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_said(m: Machine, write: Write, fault: str) -> None:
    text, what, line = FAULTS[fault]
    file = write("salt/web.sls", text)
    with pytest.raises(TaskError) as caught:
        salt(m, "web", install=None)
    assert what in str(caught.value)
    assert not line or str(caught.value.where) == f"{file}:{line}"
    assert m.run("ls -A /tmp | grep -c bakery-salt", warn=True, hide=True).stdout == "0\n"


def test_what_would_be_changed_is_told(m: Machine, write: Write) -> None:
    write("salt/web.sls", "/etc/never:\n  file.managed: [{contents: x}]\n")
    assert [item.outcome for item in salt(m, "web", install=None, test=True).items] == ["changed"]
    assert m.run("test -e /etc/never", warn=True).failed


def test_a_state_that_changes_something_again_is_not_idempotent(m: Machine, write: Write) -> None:
    write("salt/web.sls", "/etc/by-state:\n  file.managed: [{contents: x}]\nagain:\n  cmd.run: [{name: 'true'}]\n")
    with pytest.raises(TaskError, match="it is not idempotent: a second run changed 1 thing") as caught:
        run_twice(m, lambda: salt(m, "web", install=None))
    assert caught.value.why == "salt: cmd.run again"
