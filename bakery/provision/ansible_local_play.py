"""Ansible inside the machine, in a Python environment that is gone afterwards: for where this host has none."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bakery.machine.access import access
from bakery.provision.ansible_guest import GuestProject
from bakery.provision.ansible_inventory import become, become_settings
from bakery.provision.ansible_play import finish, nearest_config
from bakery.provision.ansible_verdict import judge
from bakery.provision.ansible_words import Paths, PlayOptions, Vaults, absolute_paths, play_options
from bakery.provision.guest_python import PythonNeeds, environment
from bakery.provision.items import Applied, announce, require
from bakery.provision.uploads import uploads

if TYPE_CHECKING:
    from bakery.machine.machine import Machine

VERSION: Final = "ansible-core>=2.19"
FIND: Final = 'p=$(command -v ansible-playbook) && sed -n "1s/^#! *//p" "$p"'


def ansible_local(
    m: Machine,
    playbook: Paths,
    *,
    tree: str | os.PathLike[str] | None = None,
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
    roles_path: Paths = (),
    collections_path: Paths = (),
    install: Sequence[str] | str | None = VERSION,
    packages: Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
    verbosity: int = 0,
    check: bool = False,
    options: Sequence[str] = (),
    timeout: float | None = None,
) -> Applied:
    """Run a playbook of this host inside the machine, by an ansible-core there that is gone afterwards.

    `ansible` is faster and leaves the machine alone; this is for playbooks that must run where they act. The verdict is
    told in the same way.

    Args:
        m: the machine.
        playbook: the playbook, or several in one folder.
        tree: the folder that is sent, playbooks in it. When None, it is the first playbook's, of which those files and
            folders are sent in which Ansible looks.
        host: the name by which plays and `host_vars` know the machine.
        groups: those that it belongs to.
        inventory: the project's own, for its variables, with the `group_vars` and `host_vars` beside it.
        extra_vars: variables, of JSON's types; a `Secret` in them goes by a file that only root can read.
        vars_files: files of variables, vaulted or not.
        vault: the password of vaulted files, a file that holds it, or several by vault id.
        tags: run these only.
        skip_tags: do not run these.
        limit: a pattern that the machine must match as well.
        start_at_task: begin here.
        requirements: roles and collections that ansible-galaxy fetches on the machine.
        roles_path: more folders with roles.
        collections_path: more folders with collections.
        install: what is installed into an environment of its own, as pip takes it; None uses the `ansible-playbook`
            that is there.
        packages: those of the machine that are there for the time of the run; gone afterwards where they were not there
            before. When None, what the environment needs.
        env: more environment for Ansible.
        verbosity: 0 to 6, as so many -v.
        check: True changes nothing, and tells what would be changed.
        options: more words for ansible-playbook.
        timeout: seconds for the run, and for the installation.

    Raises:
        TaskError: a task failed, with the module's message and the play's file and line; nothing was run; Ansible could
            not read something, or cannot be installed.
    """
    inside = access(m)
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
    around = LocalProject(
        tree=None if tree is None else absolute_paths(inside, tree)[0],
        roles=absolute_paths(inside, roles_path),
        collections=absolute_paths(inside, collections_path),
        requirements=None if requirements is None else absolute_paths(inside, requirements)[0],
        needs=PythonNeeds.of(install, packages),
        env=dict(env or {}),
    )
    return _play(m, play, around, timeout)


@dataclass(frozen=True, kw_only=True)
class LocalProject:
    """What surrounds a play: where it comes from, and by what it is run."""

    tree: Path | None
    roles: tuple[Path, ...]
    collections: tuple[Path, ...]
    requirements: Path | None
    needs: PythonNeeds
    env: Mapping[str, str]

    def folder(self, playbooks: Sequence[Path]) -> Path:
        """Return the project's folder; refuse a playbook that is not in it."""
        folder = self.tree or playbooks[0].parent
        for path in playbooks:
            require(path.is_file(), f"there is no playbook {path}")
            require(
                path.is_relative_to(folder), f"the playbook {path} is not in {folder}", hint="tree= names its folder"
            )
        return folder


def _play(m: Machine, play: PlayOptions, around: LocalProject, timeout: float | None) -> Applied:
    inside, root, folder = access(m), m.with_defaults(user="root"), around.folder(play.playbooks)
    config = nearest_config(inside, None, play.playbooks[0])
    with (
        environment(m, around.needs, timeout) as programs,
        uploads(m, inside, "ansible") as sent,
    ):
        guest = GuestProject(root=root, sent=sent, folder=folder, config=config)
        there = guest.send_play(play, whole=around.tree is not None)
        guest.send_folders(around.roles, around.collections)
        guest.write_own(there, become(inside.user, "root"))
        python = f"{programs}/python" if programs else root.run(FIND, hide=True).stdout.strip()
        if around.requirements is not None:
            guest.fetch(python, around.requirements, around.env, timeout)
        sent.begin_trace()
        done, told = guest.run(python, there, {**become_settings(inside.user, "root"), **around.env}, timeout)
        sent.note_inputs()
        for item in told.items:
            announce(inside, "ansible", item)
        judge(inside, play, told, done)
    return finish(inside, told)
