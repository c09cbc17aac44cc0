"""The words of one call of ansible-playbook."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from bakery.provision.json_data import plain
from bakery.provision.secret_files import SecretFiles
from bakery.redaction.secret import Secret

if TYPE_CHECKING:
    from bakery.machine.access import MachineAccess

Paths: TypeAlias = "str | os.PathLike[str] | Sequence[str | os.PathLike[str]]"
Vaults: TypeAlias = "Secret | str | os.PathLike[str] | Mapping[str, Secret | str | os.PathLike[str]] | None"


@dataclass(frozen=True, kw_only=True)
class PlayOptions:
    """What a task asked of `ansible`, paths made absolute."""

    playbooks: tuple[Path, ...]
    host: str
    groups: tuple[str, ...]
    inventories: tuple[Path, ...]
    extra_vars: Mapping[str, Any]
    vars_files: tuple[Path, ...]
    vault: Mapping[str, Secret | Path]
    tags: tuple[str, ...]
    skip_tags: tuple[str, ...]
    limit: str
    start_at_task: str
    verbosity: int
    check: bool
    more: tuple[str, ...]


def play_options(
    inside: MachineAccess,
    *,
    playbook: Paths,
    host: str,
    groups: Sequence[str],
    inventory: Paths,
    extra_vars: Mapping[str, Any] | None,
    vars_files: Paths,
    vault: Vaults,
    tags: Sequence[str],
    skip_tags: Sequence[str],
    limit: str,
    start_at_task: str,
    verbosity: int,
    check: bool,
    options: Sequence[str],
) -> PlayOptions:
    """Return what a task asked for, in the words of `ansible` and `ansible_local`, its paths made absolute."""
    return PlayOptions(
        playbooks=absolute_paths(inside, playbook),
        host=host,
        groups=tuple(groups),
        inventories=absolute_paths(inside, inventory),
        extra_vars=extra_vars or {},
        vars_files=absolute_paths(inside, vars_files),
        vault=_vault_passwords(inside, vault),
        tags=tuple(tags),
        skip_tags=tuple(skip_tags),
        limit=limit,
        start_at_task=start_at_task,
        verbosity=verbosity,
        check=check,
        more=tuple(options),
    )


def absolute_paths(inside: MachineAccess, given: Paths) -> tuple[Path, ...]:
    """Return paths that are relative to the imagefile's folder, one or several, as absolute ones."""
    each = [given] if isinstance(given, str | os.PathLike) else given
    return tuple(Path(os.path.abspath(inside.folder / Path(path).expanduser())) for path in each)  # noqa: PTH100  resolve() would follow links


def _vault_passwords(inside: MachineAccess, given: Vaults) -> dict[str, Secret | Path]:
    """Return the passwords, or the files that hold them, by vault id."""
    if given is None:
        return {}
    each = given if isinstance(given, Mapping) else {"default": given}
    return {name: one if isinstance(one, Secret) else absolute_paths(inside, one)[0] for name, one in each.items()}


def words(play: PlayOptions, hosts: Path, secrets: SecretFiles) -> list[str]:
    """Return the words; variables and passwords go by files that are in memory.

    Args:
        play: what was asked for.
        hosts: our own inventory, which comes last and so decides how the machine is reached.
        secrets: gets what must not be in an argument.
    """
    found: list[str] = []
    for each in (*play.inventories, hosts):
        found += ["--inventory", str(each)]
    if play.inventories or play.limit:
        found += ["--limit", limit(play)]
    for each in play.vars_files:
        found += ["--extra-vars", f"@{each}"]
    if play.extra_vars:
        found += ["--extra-vars", f"@{secrets.pipe(json.dumps(plain(play.extra_vars)))}"]
    for name, vault in play.vault.items():
        file = secrets.pipe(vault.reveal()) if isinstance(vault, Secret) else str(vault)
        found += ["--vault-id", f"{name}@{file}"]
    for option, values in (("--tags", play.tags), ("--skip-tags", play.skip_tags)):
        found += [option, ",".join(values)] if values else []
    found += ["--start-at-task", play.start_at_task] if play.start_at_task else []
    found += ["--check", "--diff"] if play.check else []
    found += [f"-{'v' * play.verbosity}"] if play.verbosity else []
    return [*found, *play.more, *(str(file) for file in play.playbooks)]


def limit(play: PlayOptions) -> str:
    """Return the pattern that keeps a play away from every other host of the project's inventory."""
    return f"{play.host}:&{play.limit}" if play.limit else f"{play.host}:localhost"
