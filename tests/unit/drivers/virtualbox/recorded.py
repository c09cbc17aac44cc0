"""What the real VirtualBox 7.2.22 answered; `record.py` wrote it down."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Answer:
    """One answer of VBoxManage."""

    exit: int
    stdout: str
    stderr: str


ANSWERS = {
    name: Answer(**answer)
    for name, answer in json.loads(Path(__file__).with_name("recordings.json").read_text(encoding="utf-8")).items()
}
