"""Mitogen for Ansible: modules run in a process that stays on the machine, in place of a new one for each task."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bakery.errors import PreflightError
from bakery.machine.output import caller
from bakery.provision.ansible_host import configured
from bakery.util.extras import install_hint
from bakery.util.process import run_process

if TYPE_CHECKING:
    from bakery.machine.access import MachineAccess
    from bakery.machine.machine import Machine
    from bakery.provision.ansible_host import AnsibleProgram

OLDEST: Final = (0, 3, 54)
"""The first Mitogen that was tried; it says of itself since 0.3.49 that it knows ansible-core 2.21."""
NEWEST_ANSIBLE: Final = (2, 21)
"""The newest ansible-core that was tried with it. Mitogen replaces inner parts of Ansible, and looks at no version."""
CONNECT: Final = 60
"""Seconds to begin: with Mitogen not only to log in, but until Python runs there, which may be emulated."""
ASK: Final = """
import importlib.util, json
from ansible.release import __version__
told = {"ansible": __version__}
if importlib.util.find_spec("mitogen") and (found := importlib.util.find_spec("ansible_mitogen")):
    import mitogen
    told |= {"mitogen": mitogen.__version__, "folder": list(found.submodule_search_locations)[0]}
print(json.dumps(told))
"""
"""What the Python that Ansible runs in is asked."""


@dataclass(frozen=True, kw_only=True)
class Mitogen:
    """Mitogen beside Ansible on this host.

    Args:
        strategies: the folder with its strategy plugins.
    """

    strategies: str

    def settings(self, config: Path | None, folder: Path) -> dict[str, str]:
        """Return what Ansible is told besides, in place of what speeds up its own way.

        Args:
            config: the project's ansible.cfg.
            folder: ours, for what lives as long as the play.
        """
        env = {
            "ANSIBLE_STRATEGY": "mitogen_linear",
            "ANSIBLE_STRATEGY_PLUGINS": self.strategies,
            "ANSIBLE_ASYNC_DIR": f"~/{RESULTS}",
            "BAKERY_MITOGEN": str(folder),
        }
        if not configured(config, "timeout"):
            env["ANSIBLE_TIMEOUT"] = str(CONNECT)
        return env


@dataclass(frozen=True)
class Prepared:
    """What is known of a machine before Mitogen gets there.

    Args:
        variables: those of the machine that are Mitogen's, and ours for it.
        results: the folder in home folders that is ours to remove, with results of tasks with `async`; may be empty.
    """

    variables: Mapping[str, Any]
    results: str


def prepare(m: Machine, login: str) -> Prepared:
    """Look at a machine before Mitogen gets there.

    Args:
        m: the machine.
        login: whom Ansible logs in as.
    """
    done = m.run(["sh", "-c", LOOK, "look", login, RESULTS], user="root", hide=True)
    entry, *taken = done.stdout.splitlines()
    return Prepared(
        {
            "mitogen_mask_remote_name": True,  # else the machine's list of processes names this host and its user
            "bakery_home": entry.split(":")[5],  # where modules run
        },
        "" if taken else RESULTS,
    )


RESULTS: Final = ".ansible_async"
"""Where Mitogen has results of tasks with `async`, whatever Ansible is told."""
LOOK: Final = """
getent passwd "$1" || exit
while IFS=: read -r _ _ _ _ _ home _; do
    if [ -e "$home/$2" ]; then echo "$home"; fi
done </etc/passwd
"""


def find_mitogen(program: AnsibleProgram, inside: MachineAccess) -> Mitogen:
    """Find Mitogen beside Ansible.

    Args:
        program: Ansible.
        inside: whose build it belongs to.

    Raises:
        PreflightError: there is none, it is too old, or Ansible is newer than what it was tried with.
    """
    done = run_process([program.python, "-P", "-B", "-c", ASK], cancel=inside.work.cancel, command="python")
    if done.failed:
        raise PreflightError(f"{program.python} does not find Ansible", why=done.stderr.strip(), where=caller())
    told = json.loads(done.stdout)
    if "mitogen" not in told:
        raise PreflightError(
            f"there is no Mitogen beside the Ansible of {program.python}", where=caller(), hint=_hint()
        )
    if tuple(told["mitogen"]) < OLDEST:
        raise PreflightError(
            f"Mitogen {_dotted(told['mitogen'])} is older than {_dotted(OLDEST)}, the first that was tried",
            where=caller(),
            hint=_hint(),
        )
    ansible: str = told["ansible"]
    if tuple(int(part) for part in ansible.split(".")[:2]) > NEWEST_ANSIBLE:
        raise PreflightError(
            f"Mitogen was tried with ansible-core up to {_dotted(NEWEST_ANSIBLE)}, and this is {ansible}",
            why="it replaces inner parts of Ansible, which change with each release",
            where=caller(),
            hint="leave out mitogen=True, or name another ansible-playbook by program=",
        )
    return Mitogen(strategies=str(Path(told["folder"]) / "plugins" / "strategy"))


def _dotted(version: tuple[int, ...] | list[int]) -> str:
    return ".".join(map(str, version))


def _hint() -> str:
    return f"{install_hint('mitogen')}, or leave out mitogen=True"
