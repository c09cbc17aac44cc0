"""Mitogen for Ansible over SSH: one process for the whole play, the results of Ansible's own way, nothing left."""

from __future__ import annotations

import json
import os
import re
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

import bakery.machine.execute
from bakery import Machine
from bakery.cache.inputs.tracer import Tracer
from bakery.errors import BakeryError, ConnectError, TaskError
from bakery.provision import ansible as ansible_of_users
from bakery.provision import ansible_play
from bakery.provision.items import Applied
from bakery.redaction.secret import Secret
from bakery.testing.sshd import Server
from tests.live.ssh.accounts import Account

pytest.importorskip("ansible_mitogen")
pytestmark = pytest.mark.live
ansible = partial(ansible_of_users, program=os.environ.get("BAKERY_TEST_ANSIBLE", ""))
SAME_PROCESS = """
- hosts: all
  gather_facts: false
  vars: {parent: sh -c "echo $PPID; tr '\\\\0' ' ' </proc/$PPID/cmdline"}
  tasks:
  - {name: who, command: "{{ parent }}", register: one}
  - {name: again, command: "{{ parent }}", register: two}
  - {name: one process, assert: {that: one.stdout == two.stdout and one.stdout != ''}}
  - {name: does not name this host, assert: {that: "'(mitogen:ansible)' in one.stdout"}}
"""


class Watch:
    """What plays have on this host, on a machine that shares its /tmp, and as processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.plays: list[Path] = []
        self._had_results = (Path.home() / ".ansible_async").exists()

    def left(self) -> set[str]:
        """List what is there now."""
        files = [*self._folder.iterdir(), *Path("/var/tmp").glob("ansible_mitogen*")]
        for play in self.plays:
            files += [*Path("/tmp").glob(f".{play.name}*"), *Path.home().glob(f".{play.name}*")]
        files += [] if self._had_results else Path.home().glob(".ansible_async")
        return {*map(str, files), *(" ".join(one.info["cmdline"]) for one in self._processes())}

    def _processes(self) -> Iterator[psutil.Process]:
        for one in psutil.process_iter(["cmdline"]):
            words = " ".join(one.info["cmdline"] or ())
            if str(self._folder) in words or "(mitogen:" in words:
                yield one

    def in_the_end(self) -> set[str]:
        """List what stays: Python on the machine ends by itself when its connection has closed."""
        deadline = time.monotonic() + 10
        while (rest := self.left()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return rest


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Give plays a folder for temporary files that nobody else has."""
    with tempfile.TemporaryDirectory(prefix="t-") as name:
        watch = Watch(Path(name))

        @contextmanager
        def private_folder() -> Iterator[Path]:
            with plain_folder() as folder:
                watch.plays.append(folder)
                yield folder

        plain_folder = ansible_play.private_folder
        monkeypatch.setattr(tempfile, "tempdir", name)
        monkeypatch.setattr(ansible_play, "private_folder", private_folder)
        yield watch


@pytest.fixture
def write(server: Server) -> Callable[[str, str], Path]:
    """Write a file of the project."""

    def made(name: str, text: str) -> Path:
        file = server.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    return made


Write = Callable[[str, str], Path]


def test_one_process_runs_all_modules_and_ends_with_the_play(machine: Machine, write: Write, watch: Watch) -> None:
    machine.run("true")
    write("site.yml", SAME_PROCESS)
    done = ansible(machine, "site.yml", mitogen=True)
    assert [item.name for item in done.items] == ["who", "again", "one process", "does not name this host"]
    assert watch.in_the_end() == set()


# ---- the same results ------------------------------------------------------------------------------------------------

OWN_MODULE = """#!/usr/bin/python
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.own import word
module = AnsibleModule(argument_spec={"fail": {"type": "bool"}})
module.warn("mind it")
(module.fail_json if module.params["fail"] else module.exit_json)(msg=word, changed=False)
"""
SHELL_MODULE = """#!/bin/sh
# WANT_JSON
grep -q '"name": "x"' "$1" && echo '{"changed": true, "msg": "by a shell"}'
"""
TASKS: dict[str, str] = {
    "command": "command: echo hello",
    "where it runs": "command: pwd",
    "where a shell runs": "shell: pwd; echo kept >.relative; cat .relative; rm .relative",
    "chdir": "command: pwd chdir=/usr",
    "creates": "command: {cmd: 'false', creates: /usr}",
    "standard input": "command: {argv: [cat], stdin: in}",
    "environment": "shell: env | grep -e ^LANG -e ^LC_ -e ^HOME= -e ^USER= -e ^SHELL= -e ^PATH= -e ^OWN= | sort",
    "signals and umask": "shell: umask; grep -e SigIgn -e SigBlk /proc/self/status",
    "limits": "shell: ulimit -a",
    "descriptors": "shell: ls /proc/self/fd | wc -l",
    "no terminal": "shell: test -t 0 || echo none; ps -o tty= -p $$",
    "failing": "command: sh -c 'echo out; echo why >&2; exit 3'",
    "killed": "shell: kill -9 $$",
    "not there": "command: no-such-program",
    "wrong argument": "file: {path: '{{ root }}/x', state: nonsense}",
    "raw": "raw: echo one; exit 0",
    "raw that fails": "raw: echo one; exit 3",
    "script": "script: files/say.sh word",
    "much output": "shell: head -c 300000 /dev/zero | tr '\\\\0' x",
    "no text": "shell: printf 'a\\377b'",
    "letters": "command: echo 'grüße, 世界'",
    "content": "copy: {content: 'é\\n', dest: '{{ root }}/content', mode: '0640'}",
    "content again": "copy: {content: 'é\\n', dest: '{{ root }}/content', mode: '0640'}",
    "file": "copy: {src: files/say.sh, dest: '{{ root }}/'}",
    "mode of the file": "copy: {src: files/say.sh, dest: '{{ root }}/preserved', mode: preserve}",
    "large file": "copy: {src: files/large, dest: '{{ root }}/large'}",
    "tree": "copy: {src: files/tree, dest: '{{ root }}/'}",
    "remote copy": "copy: {src: '{{ root }}/content', dest: '{{ root }}/copied', remote_src: true, backup: true}",
    "template": "template: {src: files/t.j2, dest: '{{ root }}/templated', mode: u=rw}",
    "folder": "file: {path: '{{ root }}/a/b', state: directory, mode: '0750'}",
    "link": "file: {path: '{{ root }}/link', src: content, state: link}",
    "touched": "file: {path: '{{ root }}/touched', state: touch}",
    "absent": "file: {path: '{{ root }}/touched', state: absent}",
    "line": "lineinfile: {path: '{{ root }}/content', line: two}",
    "block": "blockinfile: {path: '{{ root }}/content', block: three}",
    "replace": "replace: {path: '{{ root }}/content', regexp: two, replace: 2}",
    "stat": "stat: {path: '{{ root }}/content', get_attributes: false}",
    "find": "find: {paths: '{{ root }}', patterns: 'c*'}",
    "slurp": "slurp: {src: '{{ root }}/content'}",
    "fetch": "fetch: {src: '{{ root }}/content', dest: '{{ root }}/fetched', flat: true}",
    "fetch large": "fetch: {src: '{{ root }}/large', dest: '{{ root }}/fetched-large', flat: true}",
    "fetch missing": "fetch: {src: '{{ root }}/missing', dest: here, flat: true}",
    "assemble": "assemble: {src: '{{ root }}/tree', dest: '{{ root }}/assembled'}",
    "unarchive": "unarchive: {src: files/tree.tar, dest: '{{ root }}/a'}",
    "url": "get_url: {url: 'file:///etc/hostname', dest: '{{ root }}/url'}",
    "facts": "setup: {gather_subset: ['!all', '!min', distribution, user, python]}",
    "database": "getent: {database: passwd, key: root}",
    "check mode": "file: {path: '{{ root }}/checked', state: touch}\n    check_mode: true\n    diff: true",
    "new user": "user: {name: bakery-nobody-has-this}\n    check_mode: true",
    "waited for": "wait_for: {path: '{{ root }}/content', timeout: 5}",
    "wait that fails": "wait_for: {path: '{{ root }}/never', timeout: 1}",
    "asynchronous": "command: echo later\n    async: 20\n    poll: 1",
    "asynchronous failure": "command: sh -c 'exit 4'\n    async: 20\n    poll: 1",
    "own module": "own: {}",
    "own module that fails": "own: {fail: true}",
    "shell module": "shelly: {name: x}",
    "another user": "command: id -un\n    become: true\n    become_user: games\n    become_method: sudo",
    "loop": "command: test {{ item }} = a\n    loop: [a, b]",
    "hidden": "command: echo hunter22\n    no_log: true",
    "environment of the task": "shell: echo $OWN\n    environment: {OWN: task}",
    "own environment is gone": "shell: echo $OWN",
    "timeout": "command: sleep 5\n    timeout: 1",
    "on this host": "command: pwd\n    delegate_to: localhost\n    become: false",
    "python": "command: '{{ ansible_playbook_python }} --version'\n    delegate_to: localhost",
    "connection": "meta: reset_connection",
    "after it": "command: pwd",
}
VOLATILE = {
    *("start", "end", "delta", "elapsed", "atime", "ctime", "mtime", "inode", "invocation", "exception"),
    *("ansible_job_id", "results_file", "started", "finished", "data", "src", "backup_file", "file"),
}
"""What differs from run to run; `data` is an empty one, which Mitogen adds to results of tasks with `async`.

`file` is told by Ansible's own `fetch` since ansible-core 2.21, and not by Mitogen's.
"""
NOTES = ("Module remote_tmp", "Value for result key")
"""Warnings of one way alone: that Ansible makes a folder for another user; 2.21 made a bool of Mitogen's number."""


def differential_play() -> str:
    tasks, said = "", ""
    for number, (name, text) in enumerate(TASKS.items()):
        tasks += f"  - name: {name}\n    {text}\n"
        if not text.startswith("meta:"):
            tasks += f"    register: r{number}\n    ignore_errors: true\n"
            said += f"'{name}': r{number}, "
    tasks += f'  - copy: {{content: "{{{{ {{{said}}} | to_json }}}}", dest: "{{{{ said }}}}"}}\n'
    return f"- hosts: all\n  gather_facts: false\n  tasks:\n{tasks}"


def plain(value: Any, own: Path) -> Any:
    """Take out of a result what differs from run to run."""
    if isinstance(value, dict):
        known = {key: plain(one, own) for key, one in value.items() if key not in VOLATILE}
        return {key: one for key, one in known.items() if key != "warnings" or one}
    if isinstance(value, list):
        return [plain(one, own) for one in value if not str(one).startswith(NOTES)]
    if isinstance(value, str):
        text = value.replace(str(own), "ROOT")
        text = re.sub(r"/\S*bakery-\w+\S*", "TEMPORARY", text)
        return re.sub(r"Connection to \S+ closed", "CLOSED", text)
    return value


def tree(root: Path) -> dict[str, tuple[str, str | bytes]]:
    found: dict[str, tuple[str, str | bytes]] = {}
    for path in sorted(root.rglob("*")):
        mode = stat.filemode(path.lstat().st_mode)
        content = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
        name = re.sub(r"\.\d+\.\d{4}-\d\d-\d\d@.*", ".BACKUP", str(path.relative_to(root)))
        found[name] = (mode, content)
    return found


def project(write: Write, folder: Path) -> None:
    write("library/own.py", OWN_MODULE)
    write("library/shelly", SHELL_MODULE)
    write("module_utils/own.py", "word = 'own word'\n")
    write("files/say.sh", "#!/bin/sh\necho said $1\n").chmod(0o755)
    write("files/tree/one", "1\n")
    write("files/tree/two", "2\n").chmod(0o600)
    write("files/t.j2", "{{ way | length }} {{ 'x' * 3 }}\n")
    (folder / "files/large").write_bytes(os.urandom(3_000_000))
    os.system(f"tar -C {folder}/files -cf {folder}/files/tree.tar tree")  # noqa: S605
    write("site.yml", differential_play())


@pytest.mark.all
def test_modules_do_and_say_what_they_do_by_ansibles_own_way(
    machine: Machine, server: Server, write: Write, watch: Watch, tmp_path: Path
) -> None:
    project(write, server.folder)
    done: dict[bool, Applied] = {}
    said: dict[bool, dict[str, Any]] = {}
    for mitogen in (False, True):
        root, told = tmp_path / f"root-{mitogen}", tmp_path / f"said-{mitogen}"
        root.mkdir()
        names = {"root": str(root), "said": str(told), "way": str(mitogen).ljust(5)}
        done[mitogen] = ansible(machine, "site.yml", mitogen=mitogen, extra_vars=names, python="/usr/bin/python3")
        assert watch.in_the_end() == set()
        said[mitogen] = {name: plain(one, root) for name, one in json.loads(told.read_text()).items()}
    assert {name: one for name, one in said[True].items() if one != said[False][name]} == {
        name: one for name, one in said[False].items() if one != said[True][name]
    }
    assert [(item.name, item.outcome) for item in done[True].items] == [
        (item.name, item.outcome) for item in done[False].items
    ]
    assert tree(tmp_path / "root-True") == tree(tmp_path / "root-False")


# ---- promises --------------------------------------------------------------------------------------------------------


def test_what_a_play_reads_is_traced_and_a_secret_is_in_no_process_list(
    machine: Machine, server: Server, write: Write
) -> None:
    project(write, server.folder)
    look = "shell: cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\\\0' '\\n' | grep -c -e hunter2[2] || true"
    copy = f"copy: {{content: '{{{{ token }}}}', dest: '{server.folder}/token', mode: '0600'}}"
    write(
        "roles/web/tasks/main.yml",
        f"- own: {{}}\n- {copy}\n- {look}\n  register: r\n- assert: {{that: r.stdout == '0'}}\n",
    )
    write("roles/unused/tasks/main.yml", "- debug:\n")
    write("site.yml", "- {hosts: all, gather_facts: false, roles: [web]}\n")
    with Tracer(server.folder) as tracer:
        ansible(machine, "site.yml", mitogen=True, extra_vars={"token": Secret("hunter22")})
    assert (server.folder / "token").read_text() == "hunter22"
    assert "hunter22" not in server.output
    read = {name.removeprefix(f"{server.folder}/") for _, name in tracer.read}
    assert {"site.yml", "roles/web/tasks/main.yml", "library/own.py", "module_utils/own.py"} <= read
    assert not any("unused" in name or "mitogen" in name for name in read)
    assert (tracer.problems, tracer.left_behind()) == ([], [])


def test_a_login_that_is_not_root_becomes_root_and_others(account: Account, watch: Watch) -> None:
    server = account(user="debian", sudoers="debian ALL=(ALL) NOPASSWD: ALL")
    out = server.folder.parent / "out"
    out.mkdir()
    out.chmod(0o777)
    text = "- hosts: all\n  gather_facts: false\n  tasks:\n"
    for user, folder in (("root", "/home"), ("debian", "/home"), ("nobody", "")):
        text += f"  - {{become: true, become_user: {user}, command: id -un, register: r}}\n"
        text += f"  - assert: {{that: r.stdout == '{user}', fail_msg: '{{{{ r.stdout }}}}'}}\n"
        text += f"  - {{become: true, become_user: {user}, copy: {{content: x, dest: {out}/{user}}}}}\n"
        text += f"  - {{become: true, become_user: {user}, command: pwd, register: r}}\n"
        text += f"  - assert: {{that: r.stdout is search('{folder}$')}}\n" if folder else ""
    (server.folder / "site.yml").write_text(text)
    machine = server.machine()
    machine.run("true")
    try:
        ansible(machine, "site.yml", mitogen=True)
        assert watch.in_the_end() == set()
    finally:
        machine._link.close()


@pytest.mark.all
def test_a_time_that_is_over_ends_all_of_it(machine: Machine, write: Write, watch: Watch) -> None:
    machine.run("true")
    write("site.yml", "- {hosts: all, gather_facts: false, tasks: [{ping: }, {name: long, command: sleep 60}]}\n")
    with pytest.raises(TaskError, match=r"was ended: it ran longer"):
        ansible(machine, "site.yml", mitogen=True, timeout=8)
    assert watch.in_the_end() == set()


@pytest.mark.all
def test_a_server_that_goes_in_the_middle_of_a_play(
    machine: Machine, server: Server, write: Write, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bakery.machine.execute, "RECONNECT", 1.0)
    begun = server.folder / "begun"
    write(
        "site.yml",
        f"- hosts: all\n  gather_facts: false\n  tasks:\n  - name: long\n    shell: touch {begun}; sleep 20\n",
    )

    def stop() -> None:
        while not begun.exists():
            threading.Event().wait(0.05)
        server.stop()

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises((TaskError, ConnectError), match=r"lost under `ansible site.yml`") as caught:
        ansible(machine, "site.yml", mitogen=True)
    assert str(caught.value.where) == f"{server.folder}/site.yml:4"
    assert {
        one for one in watch.in_the_end() if not one.startswith("/tmp/.bakery-")
    } == set()  # where nobody gets to any more


@pytest.mark.all
def test_what_is_cancelled_ends_at_once(machine: Machine, server: Server, write: Write, watch: Watch) -> None:
    machine.run("true")
    begun = write("begun", "")
    begun.unlink()
    write("site.yml", f"- {{hosts: all, gather_facts: false, tasks: [{{shell: touch {begun}; sleep 60}}]}}\n")

    def cancel() -> None:
        while not begun.exists():
            threading.Event().wait(0.05)
        server.cancel.set("a test")

    threading.Thread(target=cancel, daemon=True).start()
    started = time.monotonic()
    with pytest.raises(BakeryError):
        ansible(machine, "site.yml", mitogen=True)
    assert time.monotonic() - started < 30
    assert {one for one in watch.in_the_end() if not one.startswith("/tmp/.bakery-")} == set()
