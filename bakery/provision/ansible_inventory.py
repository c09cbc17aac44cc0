"""How Ansible reaches a machine: an inventory of our own, with the machine's real endpoint and its pinned host key."""

from __future__ import annotations

import json
import shlex
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bakery.errors import BakeryError, NotYet, PreflightError
from bakery.machine.shell import known_hosts, ssh_options
from bakery.machine.transport.drivers_own import is_drivers_own
from bakery.machine.transport.namespace import entering, environment, start_time
from bakery.machine.transport.stages import AGENT

if TYPE_CHECKING:
    from bakery.machine.access import MachineAccess
    from bakery.model import Endpoint
    from bakery.provision.secret_files import SecretFiles

LOOK: Final = 0.2
"""Seconds between two looks whether a container was restarted."""


def inventory(host: str, groups: Sequence[str], variables: Mapping[str, Any]) -> str:
    """Return an inventory with one host, as JSON, which is YAML.

    Args:
        host: the name by which plays know it.
        groups: those that it belongs to.
        variables: how it is reached.
    """
    hosts = {host: dict(variables)}
    return json.dumps({"all": {"hosts": hosts, "children": {group: {"hosts": {host: None}} for group in groups}}})


@contextmanager
def reaching(inside: MachineAccess, folder: Path, secrets: SecretFiles) -> Generator[dict[str, Any]]:
    """Yield the variables by which Ansible reaches the machine, as long as `with` holds.

    Args:
        inside: the machine.
        folder: private and of a short name, for sockets and the like.
        secrets: gets the private key.
    """
    inside.link.open()  # says best what is wrong where nobody gets in
    endpoint = inside.link.endpoint()
    if endpoint.transport == "namespace":
        with _followed(inside, endpoint, folder / "way.json"):
            yield {
                "ansible_connection": "bakery_container",
                "ansible_bakery_way": str(folder / "way.json"),
                **become(inside.user, "root"),
            }
        return
    if is_drivers_own(endpoint):
        raise PreflightError(
            "Ansible cannot reach this machine",
            why="it is reached by a way of its driver's, over which tasks run commands and Ansible has no connection",
            hint="run ansible-playbook in the machine (m.run), or give the machine a network and transport='ssh'",
        )
    (folder / "known_hosts").write_text(known_hosts(endpoint), encoding="utf-8")
    key = endpoint.key or secrets.file(inside.link.keys.user_private)
    options = ssh_options(endpoint, key, folder / "known_hosts")
    yield {
        "ansible_connection": "ssh",
        "ansible_host": endpoint.host,
        "ansible_port": endpoint.port,
        "ansible_user": endpoint.user,
        "ansible_ssh_common_args": shlex.join(options),
        **({} if endpoint.key == AGENT else {"ansible_ssh_private_key_file": str(Path(key).expanduser())}),
        **become(inside.user, endpoint.user),
    }


def become(user: str, login: str) -> dict[str, Any]:
    """Return the variables by which commands run as the step's user, as everywhere; root in most."""
    return {} if user == login else {"ansible_become": True}


def become_settings(user: str, login: str) -> dict[str, str]:
    """Return the settings that say who the step's user is, where that is not root, Ansible's own choice.

    They are no variables: those would count for more than a task's `become_user`.
    """
    if user in (login, "root"):
        return {}
    return {"ANSIBLE_BECOME_USER": user, "ANSIBLE_BECOME_METHOD": "su" if login == "root" else "sudo"}


@contextmanager
def _followed(inside: MachineAccess, endpoint: Endpoint, file: Path) -> Generator[None]:
    """Keep a file that says how a container is entered, also after a restart in the middle of a play."""
    ended = threading.Event()
    pid = _tell_way(endpoint, file)

    def follow() -> None:
        known = pid
        while not ended.wait(LOOK):
            if start_time(known) is None:
                with suppress(NotYet, BakeryError, OSError):  # it is on its way down, or up; or it is dead
                    known = _tell_way(inside.link.endpoint(), file)

    thread = threading.Thread(target=follow, name="bakery-way", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _tell_way(endpoint: Endpoint, file: Path) -> int:
    pid = int(endpoint.data["pid"])
    way = {"pid": pid, "start": start_time(pid), "words": entering(pid), "env": environment(pid)}
    part = file.with_suffix(".part")
    part.write_text(json.dumps(way), encoding="utf-8")
    part.replace(file)
    return pid
