"""Ansible's project as it is on the machine: what is sent, and how it is run there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bakery.errors import TaskError
from bakery.machine.output import caller
from bakery.provision.ansible_events import Told
from bakery.provision.ansible_host import LAUNCHER, common_settings
from bakery.provision.ansible_inventory import inventory
from bakery.provision.ansible_requirements import galaxy_calls
from bakery.provision.ansible_words import PlayOptions, words
from bakery.provision.json_data import secret_json
from bakery.provision.secret_files import SecretFiles
from bakery.redaction.secret import Secret
from bakery.util.observer import note_input, untraced

if TYPE_CHECKING:
    from bakery.machine.machine import Machine
    from bakery.model import Result
    from bakery.provision.uploads import Uploads

BESIDE: Final = (
    *("roles", "group_vars", "host_vars", "vars", "tasks", "handlers", "templates", "files", "meta"),
    *("library", "module_utils", "collections", "plugins", "playbooks"),
    *(f"{kind}_plugins" for kind in ("action", "callback", "filter", "lookup", "strategy", "test", "vars")),
)
"""Folders in which Ansible looks beside a playbook."""


@dataclass(kw_only=True)
class GuestProject:
    """A project of Ansible's as it is on the machine.

    Args:
        root: the machine, as root.
        sent: our folder on it.
        folder: the project's, on this host.
        config: its ansible.cfg, there as well.
    """

    root: Machine
    sent: Uploads
    folder: Path
    config: Path | None = None
    roles: list[Path] = field(default_factory=list[Path])
    collections: list[Path] = field(default_factory=list[Path])

    def __post_init__(self) -> None:
        """Make a folder for what is neither the user's nor traced."""
        self.own = f"{self.sent.folder}/own"
        self.root.run(["mkdir", "-p", self.own, f"{self.sent.folder}/project"], hide=True)
        self.root.run(["chmod", "711", self.sent.folder, self.own], hide=True)  # for tasks that become another user
        self.root.run(["mkdir", "-m", "1777", f"{self.own}/remote", f"{self.own}/remote/async"], hide=True)

    def there(self, path: Path) -> Path:
        """Return where a file of the project is on the machine."""
        return Path(self.sent.folder, "project", path.relative_to(self.folder))

    def send_play(self, play: PlayOptions, *, whole: bool) -> PlayOptions:
        """Send what a play needs; return it with the paths of the machine.

        Args:
            play: as it was asked for.
            whole: True sends all of the project.
        """
        self._send_project(whole=whole)
        return replace(
            play,
            playbooks=tuple(self.there(path) for path in play.playbooks),
            inventories=self._send_inventories(play.inventories),
            extra_vars={},
            vars_files=self._send_variables(play.vars_files, play.extra_vars),
            vault=self._send_vaults(play.vault),
        )

    def _send_project(self, *, whole: bool) -> None:
        """Send the project; without what Ansible does not look at, unless all of it was named."""
        if whole:
            self.sent.send(self.folder, "project")
            return
        note_input("listing", str(self.folder))
        for path in sorted(self.folder.iterdir()):
            if path.name in BESIDE if path.is_dir() else path.suffix in (".yml", ".yaml", ".json", ".cfg"):
                self.sent.send(path, f"project/{path.name}")

    def _send_inventories(self, paths: Sequence[Path]) -> tuple[Path, ...]:
        """Send inventories, and the variables that stand beside those that are files."""
        made: list[Path] = []
        for number, path in enumerate(paths):
            made.append(Path(self.sent.send(path, f"inventory-{number}/{path.name}")))
            for beside in (path.parent / "group_vars", path.parent / "host_vars"):
                if path.is_file() and beside.is_dir():
                    self.sent.send(beside, f"inventory-{number}/{beside.name}")
        return tuple(made)

    def _send_variables(self, paths: Sequence[Path], extra: Mapping[str, Any]) -> tuple[Path, ...]:
        """Send files of variables; what was given as data comes last, and so before them."""
        made = [Path(self.sent.send(path, f"vars-{number}/{path.name}")) for number, path in enumerate(paths)]
        if extra:
            self.root.write(f"{self.own}/extra.json", secret_json(extra), mode=0o600)
            made.append(Path(f"{self.own}/extra.json"))
        return tuple(made)

    def _send_vaults(self, vaults: Mapping[str, Secret | Path]) -> dict[str, Secret | Path]:
        """Send the passwords of vaults."""
        made: dict[str, Secret | Path] = {}
        for number, (name, vault) in enumerate(vaults.items()):
            path = f"{self.own}/vault-{number}"
            if isinstance(vault, Secret):
                self.root.write(path, vault, mode=0o600)
            else:
                path = self.sent.send(vault, f"vault-{number}/{vault.name}")
            made[name] = Path(path)
        return made

    def send_folders(self, roles: Sequence[Path], collections: Sequence[Path]) -> None:
        """Send more folders with roles and with collections."""
        self.roles += [Path(self.sent.send(path, f"roles-{number}")) for number, path in enumerate(roles)]
        self.collections += [Path(self.sent.send(path, f"collections-{n}")) for n, path in enumerate(collections)]

    def write_own(self, play: PlayOptions, becoming: Mapping[str, Any]) -> None:
        """Write how this machine is known, and the program that tells us what Ansible does."""
        self.root.write(f"{self.own}/ansible.cfg", "")  # an empty one: without it, the machine's own is read
        if self.config is not None and not self.config.is_relative_to(self.folder):
            self.sent.send(self.config, "config/ansible.cfg")
        with untraced():
            self.root.copy(LAUNCHER.parent, f"{self.own}/launcher", exclude=["__pycache__"])
        hosts = inventory(play.host, play.groups, {"ansible_connection": "local", **becoming})
        self.root.write(f"{self.own}/hosts.json", hosts)

    def _settings(self) -> dict[str, str]:
        if self.config is None:
            there = Path(f"{self.own}/ansible.cfg")
        elif self.config.is_relative_to(self.folder):
            there = self.there(self.config)
        else:
            there = Path(f"{self.sent.folder}/config/ansible.cfg")
        return {
            **common_settings(self.config, there, self.roles, self.collections),
            "ANSIBLE_HOME": f"{self.own}/home",
            "ANSIBLE_LOCAL_TEMP": f"{self.own}/home/tmp",
            "ANSIBLE_REMOTE_TMP": f"{self.own}/remote/$USER",
            "ANSIBLE_ASYNC_DIR": f"{self.own}/remote/async",
            "BAKERY_EVENTS_FILE": f"{self.own}/events",
            "BAKERY_MODULE_UTILS": "here",
        }

    def fetch(self, python: str, requirements: Path, env: Mapping[str, str], timeout: float | None) -> None:
        """Let ansible-galaxy fetch roles and collections.

        Raises:
            TaskError: they cannot be had.
        """
        file = self.sent.send(requirements, f"requirements/{requirements.name}")
        for words_ in galaxy_calls(requirements.read_bytes(), file, f"{self.own}/galaxy"):
            done = self._call(python, "galaxy", words_, env, timeout)
            if done.failed:
                raise TaskError(
                    f"ansible-galaxy cannot install what {requirements.name} names",
                    why=self.sent.localized(done.stderr.strip() or done.stdout.strip()),
                    where=caller(),
                    hint="it runs on the machine: has that a way to the server, and the file that is named?",
                )
        self.roles.insert(0, Path(f"{self.own}/galaxy/roles"))
        self.collections.insert(0, Path(f"{self.own}/galaxy"))

    def run(self, python: str, play: PlayOptions, env: Mapping[str, str], timeout: float | None) -> tuple[Result, Told]:
        """Run the play to its end; return what became of it, with this host's paths."""
        nowhere = SecretFiles(Path())  # of this host: nothing goes by it
        given = words(play, Path(f"{self.own}/hosts.json"), nowhere)
        done = self._call(python, "playbook", given, env, timeout)
        told = Told()
        lines = self.root.run(f"cat {self.own}/events", warn=True, hide=True).stdout.splitlines()
        for line in lines:
            with suppress(ValueError):  # cut off, as by the end of the machine
                told.take(json.loads(line))
        ours = self.sent.localized
        told.items = [replace(item, location=ours(item.location), text=ours(item.text)) for item in told.items]
        return replace(done, stdout=ours(done.stdout), stderr=ours(done.stderr)), told

    def _call(
        self, python: str, name: str, given: Sequence[str], env: Mapping[str, str], timeout: float | None
    ) -> Result:
        called = [python, "-B", f"{self.own}/launcher/{LAUNCHER.name}", name, *given]
        cwd = f"{self.sent.folder}/project"
        return self.root.run(called, env={**self._settings(), **env}, cwd=cwd, warn=True, timeout=timeout)
