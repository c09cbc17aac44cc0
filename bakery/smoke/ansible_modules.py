"""`host.ansible`: single modules of Ansible's on the machine under test, run by the Ansible of this host.

testinfra has this for its own ansible connection alone. Options, answers and check mode are as there. What of testinfra
is used is imported when it is: a suite may look which modules there are.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bakery.machine.shell import ssh_options, write_login
from bakery.model import Endpoint
from bakery.smoke.job import CloneAccess
from bakery.util.extras import install_hint
from bakery.util.process import run_process
from bakery.util.waiting import Cancel

MISSING: Final = "host.ansible needs Ansible on this host: "
CONTAINER: Final = "host.ansible needs SSH; this machine is a container on this host"
ENDED: Final = (0, 2, 8)
"""Exit codes with which `ansible` says what came of a module; 8 is older versions' for a host that failed."""
TIMEOUT: Final = 600.0


class AnsibleModules:
    """Runs modules on one machine.

    Args:
        name: what Ansible calls the machine.
        access: the way to it.
        as_root: whether modules run as root, whoever logs in.
        inventory: a file or a script of the suite's own, for its variables; empty without.
    """

    def __init__(self, name: str, access: CloneAccess, *, as_root: bool, inventory: str = "") -> None:
        self._name = name
        self._access = access
        self._as_root = as_root
        self._inventory = inventory

    def run(self, module: str, arguments: str | None, **options: Any) -> dict[str, Any]:
        """Run a module and return what it says; a failure is a result too.

        Args:
            module: its name, `ansible.builtin.file`.
            arguments: as `ansible --args` takes them.
            **options: testinfra's: `check`, `become`, `become_user`, `extra_vars`, `verbose`, ...

        Raises:
            RuntimeError: Ansible is not there, cannot reach the machine, or says nothing.
        """
        if importlib.util.find_spec("ansible") is None:
            raise RuntimeError(MISSING + install_hint("ansible"))
        if self._access.endpoint.transport != "ssh":
            raise RuntimeError(CONTAINER)
        with tempfile.TemporaryDirectory(prefix="bakery-ansible-") as name:
            folder = Path(name)
            as_root = self._as_root and not options.get("become_user")  # what an inventory says would come first
            (folder / "hosts.json").write_text(
                json.dumps({"all": {"hosts": {self._name: _reached(self._access, folder, as_root=as_root)}}}),
                encoding="utf-8",
            )
            return self._run(folder, module, arguments, _words(options, folder))

    def variables(self) -> dict[str, Any]:
        """Return what Ansible's inventory says of the machine; testinfra's own form of it."""
        if importlib.util.find_spec("ansible") is None:
            raise RuntimeError(MISSING + install_hint("ansible"))
        from testinfra.utils.ansible_runner import AnsibleRunner

        runner = AnsibleRunner()
        vars(runner)["inventory"] = (
            self._listed()
            if self._inventory
            else {
                "_meta": {"hostvars": {}},
                "all": {"children": ["ungrouped"]},
                "ungrouped": {"hosts": [self._name]},
            }
        )
        found: dict[str, Any] = runner.get_variables(self._name)
        return found

    def _listed(self) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="bakery-ansible-") as name:
            words = [sys.executable, "-m", "ansible", "inventory", "--list", "-i", self._inventory]
            done = run_process(words, cancel=Cancel(), env=_environment(Path(name)), timeout=TIMEOUT)
        if done.failed:
            raise RuntimeError(f"ansible-inventory cannot read {self._inventory}:\n{done.stderr}".rstrip())
        return dict(json.loads(done.stdout))

    def _run(self, folder: Path, module: str, arguments: str | None, options: list[str]) -> dict[str, Any]:
        answers = folder / "answers"
        given = filter(None, (self._inventory, str(folder / "hosts.json")))
        inventories = [word for each in given for word in ("-i", each)]
        words = [sys.executable, "-m", "ansible", "adhoc", *inventories, "--tree", str(answers), "-m", module]
        words += ["--args", arguments] if arguments else []
        done = run_process(
            [*words, *options, self._name],
            cancel=Cancel(),
            command=f"ansible -m {module}",
            env=_environment(folder),
            timeout=TIMEOUT,
        )
        answer = answers / self._name
        if answer.is_file() and done.exited in ENDED:
            result = dict(json.loads(answer.read_text(encoding="utf-8")))
            return result | {"failed": True} if done.exited else result  # the file of ansible-core 2.19 does not say
        if "skipped" in done.stdout.lower() and done.exited in ENDED:
            return {"failed": True, "skipped": True, "msg": "Skipped. You might want to try check=False"}
        raise RuntimeError(f"ansible -m {module} ended with {done.exited}:\n{done.stdout}{done.stderr}".rstrip())


def _words(options: Mapping[str, Any], folder: Path) -> list[str]:
    """Return options as testinfra hands them to `ansible`; variables go by a file, not by an argument."""
    from testinfra.utils.ansible_runner import AnsibleRunner

    given = dict(options)
    more: list[str] = []
    if (variables := given.pop("extra_vars", None)) is not None:
        file = folder / "variables.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(variables), encoding="utf-8")
        more = ["--extra-vars", f"@{file}"]
    line, values = AnsibleRunner().options_to_cli(given)
    rest = iter(values)
    return [next(rest) if word == "%s" else word for word in shlex.split(line)] + more


def _reached(access: CloneAccess, folder: Path, *, as_root: bool) -> dict[str, Any]:
    """Return the variables by which Ansible reaches the machine: its own key, and its pinned host key."""
    endpoint: Endpoint = access.endpoint
    write_login(endpoint, access.keys, folder)
    options = ssh_options(endpoint, str(folder / "id"), folder / "known_hosts")
    become = {"ansible_become": True, "ansible_become_user": "root"} if as_root and endpoint.user != "root" else {}
    return {
        "ansible_connection": "ssh",
        "ansible_host": endpoint.host,
        "ansible_port": endpoint.port,
        "ansible_user": endpoint.user,
        "ansible_ssh_common_args": shlex.join(options),
        "ansible_python_interpreter": "auto_silent",
        **become,
    }


def _environment(folder: Path) -> dict[str, str]:
    """Return the caller's environment, in which nothing of Ansible's stays, and no connection stays open."""
    return {
        **os.environ,
        "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
        "ANSIBLE_SSH_ARGS": "-o ControlMaster=no",
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_DEPRECATION_WARNINGS": "False",
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_NOCOLOR": "1",
        "LC_ALL": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
