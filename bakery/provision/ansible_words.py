"""The words of one call of ansible-playbook."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bakery.provision.json_data import plain
from bakery.provision.secret_files import SecretFiles
from bakery.redaction.secret import Secret


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
