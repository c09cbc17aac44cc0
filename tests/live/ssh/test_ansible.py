"""Ansible over SSH: the real endpoint, its pinned host key, one connection for the whole play, nothing left."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

import bakery.machine.execute
from bakery.errors import ConnectError, TaskError
from bakery.machine.machine import Machine
from bakery.machine.shell import known_hosts, ssh_options
from bakery.provision import ansible
from bakery.testing.sshd import Server
from tests.live.ssh.accounts import Account

pytest.importorskip("ansible")
pytestmark = pytest.mark.live
PLAY = """
- hosts: all
  gather_facts: false
  tasks:
  - name: who
    command: sh -c "echo $SSH_CONNECTION"
    register: one
  - name: again
    command: sh -c "echo $SSH_CONNECTION"
    register: two
  - name: one connection
    assert: {that: one.stdout == two.stdout and one.stdout != ''}
"""


def masters() -> list[str]:
    found = subprocess.run(["pgrep", "-af", r"ssh.*\[mux\]"], capture_output=True, text=True, check=False)
    return [line for line in found.stdout.splitlines() if "bakery-" in line]


def test_a_play_goes_by_one_connection_which_is_ended(machine: Machine, server: Server) -> None:
    (server.folder / "site.yml").write_text(PLAY)
    done = ansible(machine, "site.yml")
    assert [item.name for item in done.items] == ["who", "again", "one connection"]
    assert masters() == []


@pytest.mark.all
def test_a_module_that_is_not_piped_leaves_nothing(machine: Machine, server: Server) -> None:
    (server.folder / "ansible.cfg").write_text("[connection]\npipelining = False\n")
    (server.folder / "site.yml").write_text(PLAY)
    before = {path.name for path in Path("/tmp").iterdir()}
    ansible(machine, "site.yml")
    assert {
        name for name in {path.name for path in Path("/tmp").iterdir()} - before if name.startswith(".bakery-")
    } == set()


@pytest.mark.all
def test_a_server_that_goes_in_the_middle_of_a_play(
    machine: Machine, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bakery.machine.execute, "RECONNECT", 1.0)
    wait = server.folder / "begun"
    text = f"- hosts: all\n  gather_facts: false\n  tasks:\n  - name: long\n    shell: touch {wait}; sleep 20\n"
    (server.folder / "site.yml").write_text(text)

    def stop() -> None:
        while not wait.exists():
            threading.Event().wait(0.05)
        server.stop()

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises((TaskError, ConnectError), match=r"lost under `ansible site.yml`") as caught:
        ansible(machine, "site.yml")
    assert str(caught.value.where) == f"{server.folder}/site.yml:4"
    assert masters() == []


WHO = """
- hosts: all
  gather_facts: false
  tasks:
  - {command: id -un, register: one}
  - {command: id -un, register: two, become: true, become_user: nobody}
  - assert: {that: "one.stdout == 'root' and two.stdout == 'nobody'"}
"""


def test_a_task_that_names_a_user_runs_as_that_one_also_where_nobody_logs_in_as_root(account: Account) -> None:
    server = account(user="debian", sudoers="debian ALL=(ALL) NOPASSWD: ALL")
    (server.folder / "site.yml").write_text(WHO)
    machine = server.machine()
    try:
        assert len(ansible(machine, "site.yml").items) == 3
    finally:
        machine._link.close()


OTHERS = """
- hosts: all
  gather_facts: false
  tasks:
  - {command: id -un, register: one, become: true, become_user: games}
  - {copy: {content: x, dest: "DEST"}, become: true, become_user: games}
  - {command: "true", async: 20, poll: 1}
  - {stat: {path: "DEST"}, register: two}
  - assert: {that: "one.stdout == 'games' and two.stat.pw_name == 'games'"}
"""


def test_a_task_may_become_a_user_who_does_not_get_into_roots_folders(machine: Machine, server: Server) -> None:
    """And results of tasks with `async` do not stay."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        (server.folder / "site.yml").write_text(OTHERS.replace("DEST", f"{folder}/x"))
        before = set(Path.home().glob(".*async"))
        assert len(ansible(machine, "site.yml").items) == 5
    assert set(Path.home().glob(".*async")) == before


def test_openssh_is_given_the_pinned_key_and_nothing_of_the_users(server: Server, tmp_path: Path) -> None:
    (tmp_path / "known").write_text(known_hosts(server.endpoint))
    words = ssh_options(server.endpoint, str(tmp_path / "key"), tmp_path / "known")
    assert "StrictHostKeyChecking=yes" in words
    assert words[:2] == ["-F", "none"]
    assert (tmp_path / "known").read_text().startswith(f"[127.0.0.1]:{server.port} ssh-ed25519 ")
