"""Machines that were left on purpose, by `--on-failure=keep`: how to reach them later, from another process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bakery.model import Endpoint, to_json
from bakery.state.project import RunFolder
from bakery.state.ssh_keys import Keys, read_keys
from bakery.util.files import write_whole

FILE = "endpoint.json"


def remember(endpoint: Endpoint, folder: Path) -> None:
    """Write down how to reach a machine, beside its keys."""
    write_whole(folder / FILE, json.dumps(to_json(endpoint)), durable=True)


def held_machines(run: RunFolder) -> list[tuple[Path, Endpoint, Keys]]:
    """Return the machines of a run that were kept on purpose: folder, how to reach it, its keys."""
    folders = sorted(
        path.parent for path in run.path.glob(f"machines/*/{FILE}") if (path.parent / "keys.json").exists()
    )
    return [(folder, _endpoint(json.loads((folder / FILE).read_text())), read_keys(folder)) for folder in folders]


def _endpoint(data: dict[str, Any]) -> Endpoint:
    values = {key: value for key, value in data.items() if key != "type"}
    if values.get("gateway"):
        values["gateway"] = _endpoint(values["gateway"])
    return Endpoint(**values)
