"""Ansible from this host, over the machine's real endpoint: no proxy, no guessed verdict."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bakery.errors import BakeryError
from bakery.machine.access import MachineAccess, access
from bakery.provision.ansible_events import Told, listening
from bakery.provision.ansible_host import AnsibleProgram, end_masters, find_program, remote_folder, removal, settings
from bakery.provision.ansible_inventory import become_settings, reaching
from bakery.provision.ansible_inventory import inventory as own_inventory
from bakery.provision.ansible_module_utils import ModuleUtilsCopy
from bakery.provision.ansible_requirements import installed
from bakery.provision.ansible_verdict import judge
from bakery.provision.ansible_words import Paths, PlayOptions, Vaults, absolute_paths, play_options, words
from bakery.provision.items import Applied, Item, announce, settle
from bakery.provision.mitogen_strategy import Mitogen, Prepared, find_mitogen, prepare
from bakery.provision.secret_files import SecretFiles
from bakery.util.observer import note_input

if TYPE_CHECKING:
    from bakery.machine.machine import Machine

LONGEST: Final = 50
"""Characters of the folder for temporary files, behind which there is room for what OpenSSH calls a socket."""


def ansible(
    m: Machine,
    playbook: Paths,
    *,
    host: str = "default",
    groups: Sequence[str] = (),
    inventory: Paths = (),
    extra_vars: Mapping[str, Any] | None = None,
    vars_files: Paths = (),
    vault: Vaults = None,
    tags: Sequence[str] = (),
    skip_tags: Sequence[str] = (),
    limit: str = "",
    start_at_task: str = "",
    requirements: str | os.PathLike[str] | None = None,
    offline: bool = False,
    roles_path: Paths = (),
    collections_path: Paths = (),
    config: str | os.PathLike[str] | None = None,
    python: str = "",
    env: Mapping[str, str] | None = None,
    verbosity: int = 0,
    check: bool = False,
    options: Sequence[str] = (),
    program: str = "",
    mitogen: bool = False,
    timeout: float | None = None,
) -> Applied:
    """Run a playbook of this host on the machine, by ansible-core on this host (2.19 or later).

    The verdict comes from what Ansible tells of each task, not from its exit code: a playbook that ran nothing is a
    failure, whatever the exit code says. Paths are relative to the imagefile's folder.

    Args:
        m: the machine.
        playbook: the playbook, or several.
        host: the name by which plays and `host_vars` know the machine.
        groups: those that it belongs to, for `hosts: web` and `group_vars`.
        inventory: the project's own, for its variables; no other host of it is ever touched.
        extra_vars: variables, of JSON's types; a `Secret` anywhere in them is handed over in memory.
        vars_files: files of variables, vaulted or not.
        vault: the password of vaulted files, a file that holds it, or several by vault id.
        tags: run these only.
        skip_tags: do not run these.
        limit: a pattern that the machine must match as well.
        start_at_task: begin here.
        requirements: roles and collections for ansible-galaxy, kept in the cache.
        offline: True downloads nothing; what the requirements name must be files here, or in the cache.
        roles_path: more folders with roles.
        collections_path: more folders with collections.
        config: the ansible.cfg; the nearest one from the playbook's folder up to the imagefile's when None.
        python: the interpreter on the machine; found there when empty.
        env: more environment for Ansible.
        verbosity: 0 to 6, as so many -v.
        check: True changes nothing, and tells what would be changed.
        options: more words for ansible-playbook.
        program: the ansible-playbook to use; that beside this Python, else the one on PATH, when empty.
        mitogen: True runs modules in a process that stays on the machine, by Mitogen for Ansible; over SSH alone.
        timeout: seconds for the whole of it.

    Raises:
        TaskError: a task failed, with the module's message and the play's file and line; the machine was not reached;
            nothing was run; or Ansible could not read something.
        PreflightError: no ansible-core on this host, or no Mitogen that knows it where that was asked for.
        DriverError: the machine died.
    """
    inside = access(m)
    found = find_program(program)
    play = play_options(
        inside,
        playbook=playbook,
        host=host,
        groups=groups,
        inventory=inventory,
        extra_vars=extra_vars,
        vars_files=vars_files,
        vault=vault,
        tags=tags,
        skip_tags=skip_tags,
        limit=limit,
        start_at_task=start_at_task,
        verbosity=verbosity,
        check=check,
        options=options,
    )
    project = AnsibleProject(
        program=found,
        mitogen=find_mitogen(found, inside) if mitogen else None,
        config=nearest_config(inside, config, play.playbooks[0]),
        roles=absolute_paths(inside, roles_path),
        collections=absolute_paths(inside, collections_path),
        requirements=None if requirements is None else absolute_paths(inside, requirements)[0],
        offline=offline or inside.work.offline,
        env=dict(env or {}),
        python=python,
    )
    return _play(m, inside, play, project, inside.limit(timeout))


@dataclass(frozen=True, kw_only=True)
class AnsibleProject:
    """What surrounds a play: the program, its configuration, and where roles and collections come from."""

    program: AnsibleProgram
    mitogen: Mitogen | None = None
    config: Path | None = None
    roles: tuple[Path, ...] = ()
    collections: tuple[Path, ...] = ()
    requirements: Path | None = None
    offline: bool = False
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    python: str = ""


def _play(
    m: Machine, inside: MachineAccess, play: PlayOptions, project: AnsibleProject, timeout: float | None
) -> Applied:
    with private_folder() as folder, SecretFiles(folder) as secrets, reaching(inside, folder, secrets) as way:
        if project.python:
            way["ansible_python_interpreter"] = project.python
        mitogen = project.mitogen if way["ansible_connection"] == "ssh" else None
        prepared = Prepared({}, "") if mitogen is None else prepare(m, way["ansible_user"])
        way.update(prepared.variables)
        (folder / "hosts.json").write_text(own_inventory(play.host, play.groups, way), encoding="utf-8")
        roles, collections = project.roles, project.collections
        if project.requirements is not None:
            fetched = installed(inside, project.program, project.requirements, folder, offline=project.offline)
            roles, collections = (fetched / "roles", *roles), (fetched, *collections)
        env = settings(project.config, folder, roles, collections)
        env |= become_settings(inside.user, way.get("ansible_user", "root"))
        env |= {} if mitogen is None else mitogen.settings(project.config, folder)
        env |= project.env
        library = ModuleUtilsCopy(m, env["BAKERY_MODULE_UTILS"])

        def heard(item: Item) -> None:
            announce(inside, "ansible", item)
            library.heard(told)

        try:
            with listening(heard) as (descriptor, told):
                result = project.program.run(
                    inside,
                    "playbook",
                    words(play, folder / "hosts.json", secrets),
                    env=env,
                    cwd=_home(inside, project.config),
                    descriptor=descriptor,
                    timeout=timeout,
                )
        finally:
            end_masters(folder)
            library.end()
            _forget_here(folder)
        told.note_inputs((str(folder), *project.program.folders))
        try:
            judge(inside, play, told, result)
        except BakeryError:
            if not any(item.outcome == "unreachable" for item in told.items):
                with suppress(BakeryError):  # it may be dead, and what brought us here says more
                    m.run(removal(folder, prepared.results), user="root", hide=True)
            raise
        m.run(removal(folder, prepared.results), user="root", hide=True)
        return finish(inside, told)


def _forget_here(folder: Path) -> None:
    """Remove what tasks had that ran on this host."""
    place = Path(remote_folder(folder))
    for path in (*place.parent.glob(f"{place.name}-*"), Path.home() / f".{folder.name}-async"):
        shutil.rmtree(path, ignore_errors=True)


def finish(inside: MachineAccess, told: Told) -> Applied:
    """Say what a play that went well has done."""
    for name in told.idle:
        inside.work.notice(f"ansible: no host matches the play {name}")
    rescued = (replace(item, outcome="ignored") if item.outcome == "failed" else item for item in told.items)
    return settle(inside, "ansible", tuple(rescued))


@contextmanager
def private_folder() -> Generator[Path]:
    """Make a private folder of a short name: OpenSSH has sockets in it, whose paths may have 108 characters."""
    usual = tempfile.gettempdir()
    place = usual if len(usual) <= LONGEST else "/tmp"  # noqa: S108  made with a name of its own
    with tempfile.TemporaryDirectory(prefix="bakery-", dir=place, ignore_cleanup_errors=True) as name:
        yield Path(name)


def nearest_config(inside: MachineAccess, given: str | os.PathLike[str] | None, playbook: Path) -> Path | None:
    """Find the project's ansible.cfg; the user's own and the host's are not read, so that all hosts build alike."""
    if given is not None:
        return absolute_paths(inside, given)[0]
    folders = [folder for folder in playbook.parents if folder.is_relative_to(inside.folder)] or [playbook.parent]
    for folder in folders:
        note_input("file", str(folder / "ansible.cfg"))
        if (folder / "ansible.cfg").is_file():
            return folder / "ansible.cfg"
    return None


def _home(inside: MachineAccess, config: Path | None) -> Path:
    return inside.folder if config is None else config.parent
