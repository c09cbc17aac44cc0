"""What happens to a machine while Ansible works on it, and machines that have nothing that a tool needs."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from bakery.errors import BakeryError, DriverError
from bakery.events import Event, ItemApplied
from bakery.provision import ansible, puppet
from tests.live.baking import Project, clean
from tests.live.provision.conftest import Container, booted

pytest.importorskip("ansible")
pytestmark = [pytest.mark.live, pytest.mark.all, pytest.mark.timeout(900)]
Write = Callable[[str, str], Path]
REBOOTS = """
- hosts: all
  gather_facts: false
  tasks:
  - command: touch /run/this-boot
  - reboot: {reboot_timeout: 120}
  - command: test ! -e /run/this-boot
"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Container]:
    """A container that a test may break."""
    (tmp_path / "own").mkdir()
    with booted(tmp_path / "own", "own") as made:
        yield made


def ansibles() -> set[int]:
    """Processes of Ansible's on this host."""
    return {
        one.pid
        for one in psutil.process_iter(["cmdline"])
        if any("inside_ansible/launcher.py" in word for word in one.info["cmdline"] or ())
    }


def test_a_play_that_reboots_goes_on_in_the_next_boot(own: Container, tmp_path: Path, write: Write) -> None:
    m = own.machine(tmp_path, [])
    m.run("apt-get install --yes --no-install-recommends python3", hide=True)
    write("site.yml", REBOOTS)
    assert [item.outcome for item in ansible(m, "site.yml").items] == ["changed"] * 3
    assert m.run("systemctl is-system-running --wait", warn=True, hide=True).stdout.strip() in ("running", "degraded")


def test_a_machine_that_is_killed_under_a_play_ends_it(
    own: Container, tmp_path: Path, write: Write, plays: Callable[[], list[Path]]
) -> None:
    events: list[Event] = []
    m = own.machine(tmp_path, events)
    m.run("apt-get install --yes --no-install-recommends python3", hide=True)
    text = '- {hosts: all, gather_facts: false, tasks: [{command: "true"}, {name: long, command: sleep 600}]}\n'
    write("site.yml", text)
    pid = int(own.link.endpoint().data["pid"])

    def kill() -> None:
        while not any(isinstance(event, ItemApplied) for event in events):
            time.sleep(0.1)
        time.sleep(1)  # the next task is under way
        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    started = time.monotonic()
    with pytest.raises(BakeryError) as caught:
        ansible(m, "site.yml")
    killer.join()
    assert time.monotonic() - started < 120
    assert isinstance(caught.value, DriverError), str(caught.value)
    assert str(caught.value.where) == f"{tmp_path}/site.yml:1"
    assert ansibles() == set()
    assert plays() == []


def test_a_machine_that_is_killed_under_puppet_is_said_to_be_dead(own: Container, tmp_path: Path, write: Write) -> None:
    m = own.machine(tmp_path, [])
    write("site.pp", "exec { '/bin/sleep 600': timeout => 0 }\n")
    pid = int(own.link.endpoint().data["pid"])

    def kill() -> None:
        while not any("sleep 600" in " ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"])):
            time.sleep(0.2)
        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(DriverError):
        puppet(m, "site.pp")
    killer.join()


NEEDS = """
    from bakery.errors import BakeryError
    from bakery.provision import ansible, ansible_local, chef, itamae, packages, puppet, salt
    calls = {
        "ansible": lambda: ansible(m, "site.yml"),
        "ansible_local": lambda: ansible_local(m, "site.yml"),
        "puppet": lambda: puppet(m, "site.pp"),
        "salt": lambda: salt(m, "web"),
        "chef": lambda: chef(m, "web", cookbooks="cookbooks"),
        "itamae": lambda: itamae(m, "web.rb"),
        "packages": lambda: packages(m, "hello"),
    }
    for name, call in calls.items():
        try:
            call()
        except BakeryError as error:
            m.run(["echo", "SAID", name, str(error)])
    left = m.run("ls -A /tmp /var/tmp | grep bakery || true").stdout
    assert left == "", left
    ansible(m, "raw.yml")
"""
SAID = {
    "ansible": "task 'ask' failed",
    "ansible_local": "python3 cannot be installed: no package manager on the machine that is known",
    "puppet": "puppet-agent cannot be installed: no package manager on the machine that is known",
    "salt": "python3 cannot be installed: no package manager on the machine that is known",
    "chef": "there is neither a chef-client nor a cinc-client on the machine",
    "itamae": "itamae cannot be installed: no package manager on the machine that is known",
    "packages": "hello cannot be installed: no package manager on the machine that is known",
}


def test_on_a_tiny_guest_each_says_what_it_needs(project: Project) -> None:
    """It has neither Python nor systemd nor a package manager; only raw tasks of Ansible's run there."""
    for name, text in {
        "site.yml": "- hosts: all\n  gather_facts: false\n  tasks:\n  - name: ask\n    ping:\n",
        "raw.yml": "- hosts: all\n  gather_facts: false\n  tasks:\n  - raw: 'true'\n  - name: bad\n    raw: exit 3\n",
        "site.pp": "notice('x')\n",
        "salt/web.sls": "x: {test.nop: []}\n",
        "cookbooks/web/recipes/default.rb": "\n",
        "web.rb": "\n",
    }.items():
        (project.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (project.folder / name).write_text(text)
    project.task(*(line.removeprefix("    ") for line in NEEDS.strip("\n").splitlines()))
    done = project.bake("build", "--no-test", timeout=800)
    told = clean(done, 7, "raw.yml:5", "ansible raw.yml: task 'bad' failed")
    said = "\n".join(event.get("text", "") for event in project.events())
    for name, what in SAID.items():
        assert f"SAID {name} {what}" in said or what in said.partition(f"SAID {name} ")[2][:300], (name, told, said)
    assert "python" in said.partition("SAID ansible ")[2][:2000].lower()
    assert project.left() == set()
