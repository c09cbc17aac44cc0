"""Finding our machines without a journal: by the note that lies beside them, or the marks in their extra data."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bakery.drivers.virtualbox.api.answers import INACCESSIBLE, MachineInfo
from bakery.drivers.virtualbox.api.vboxmanage import VBoxManage
from bakery.drivers.virtualbox.machine.launch import FOLDER, KIND, RECORD, VIRTUALBOX
from bakery.model import Resource, Where

RUN, BUILD = "bakery:run", "bakery:build"


@dataclass(frozen=True)
class MachineMark:
    """Whose a machine is."""

    run: str
    build: str
    began: float


def find(box: VBoxManage, where: Where) -> Iterator[Resource]:
    """Yield our machines, whatever their state."""
    if not box.installed:
        return
    for named in box.machines():
        machine = box.info(named.uuid)
        folder = folder_of(machine) if machine else None
        mark = mark_of(box, machine, folder) if machine and folder else None
        if machine is None or mark is None:
            continue
        if where.run not in (None, mark.run) or time.time() - mark.began < (where.older_than or 0.0):
            continue
        yield Resource(
            driver="virtualbox",
            kind=KIND,
            key=machine.name,
            id=machine.name,
            run=mark.run,
            build=mark.build,
            data={"folder": str(folder), "uuid": machine.uuid},
        )


def folder_of(machine: MachineInfo) -> Path | None:
    """Return the folder of ours that a machine's settings are in: FOLDER/virtualbox/NAME/NAME.vbox."""
    above = machine.config.parent.parent
    return above.parent if above.name == VIRTUALBOX else None


def mark_of(box: VBoxManage, machine: MachineInfo, folder: Path) -> MachineMark | None:
    """Return whose a machine is; None for one that bakery did not make, such as a user's clone of one that it made."""
    try:
        noted = json.loads((folder / RECORD).read_text())
        return MachineMark(noted["run"], noted["build"], noted["began"])
    except (OSError, ValueError, KeyError):
        pass
    if machine.state == INACCESSIBLE:
        return _of_place(folder)
    extra = box.extra_data(machine.uuid)
    if RUN not in extra or extra.get(FOLDER) != str(folder):
        return None
    return MachineMark(extra[RUN], extra.get(BUILD, ""), _changed(machine))


def _of_place(folder: Path) -> MachineMark | None:
    """Return whose a machine was whose folder somebody has deleted: .bakery/runs/RUN/machines/MACHINE says it."""
    match folder.parts:
        case (*_, ".bakery", "runs", run, "machines", _) if not folder.exists():
            return MachineMark(run, "", 0.0)
    return None


def _changed(machine: MachineInfo) -> float:
    """Seconds since 1970 at which the machine was last started or stopped."""
    text = machine.values.get("VMStateChangeTime", "").partition(".")[0]
    try:
        return datetime.fromisoformat(f"{text}+00:00").timestamp()
    except ValueError:
        return 0.0
