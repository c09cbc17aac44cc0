"""Machines that were left on purpose, by `--on-failure=keep`: how to reach them later, from another process."""

from __future__ import annotations

import json
from pathlib import Path

from bakery.errors import PreflightError
from bakery.model import Endpoint, from_json, to_json
from bakery.state.project import RunFolder
from bakery.state.ssh_keys import Keys, read_keys
from bakery.util.files import write_whole

FILE = "endpoint.json"


def remember(endpoint: Endpoint, folder: Path) -> None:
    """Write down how to reach a machine, beside its keys."""
    write_whole(folder / FILE, json.dumps(to_json(endpoint)), durable=True)


def held_machines(run: RunFolder) -> list[tuple[Path, Endpoint, Keys]]:
    """Return the machines of a run that were kept on purpose: folder, how to reach it, its keys.

    Raises:
        PreflightError: what is written about one is damaged.
    """
    folders = sorted(
        path.parent for path in run.path.glob(f"machines/*/{FILE}") if (path.parent / "keys.json").exists()
    )
    return [_held_machine(folder) for folder in folders]


def _held_machine(folder: Path) -> tuple[Path, Endpoint, Keys]:
    try:
        return folder, from_json(Endpoint, json.loads((folder / FILE).read_text())), read_keys(folder)
    except ValueError as error:
        raise PreflightError(
            f"what is known of a machine that was kept is damaged: {folder}",
            why=str(error),
            hint=f"`bake gc {folder.parent.parent.name}` destroys the machine",
        ) from error
