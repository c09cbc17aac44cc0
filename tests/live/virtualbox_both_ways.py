"""Asks the same through pyvbox and through VBoxManage, in the Python of VirtualBox's API; prints both as JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any


def outcome(ask: Callable[[], Any]) -> Any:
    """Return what an answer is, or VirtualBox's code of the refusal and what it was asked for."""
    from bakery.drivers.virtualbox.api.errors import VirtualBoxError

    try:
        return ask()
    except VirtualBoxError as error:
        return ["refused", error.code, error.what]


def main() -> None:
    """Print a list of pairs: what each way answered."""
    sys.path[:0] = sys.argv[1:]
    from bakery.drivers.virtualbox.api.sdk import Sdk, way_in
    from bakery.drivers.virtualbox.api.vboxmanage import VBoxManage

    asked: list[str] = []

    def refuse(*words: object, **_: object) -> str:
        asked.append(str(words))
        return ""

    plain, other = VBoxManage(), way_in()
    assert isinstance(other, Sdk), "pyvbox cannot be used here"
    object.__setattr__(other, "ask", refuse)
    pairs = [
        (list(plain.version()), list(other.version())),
        (sorted(map(str, plain.machines())), sorted(map(str, other.machines()))),
        (plain.extra_data("golden"), other.extra_data("golden")),
    ]
    lost = next(machine.uuid for machine in plain.machines() if machine.name == "<inaccessible>")
    whole = way_in()  # what pyvbox cannot answer, it hands on
    pairs += [tuple(outcome(partial(way.extra_data, name)) for way in (plain, whole)) for name in ("no", lost)]
    sys.stdout.write(json.dumps({"pairs": pairs, "asked": asked}) + "\n")
    sys.stdout.flush()
    os._exit(0)  # XPCOM's own end may hang


if __name__ == "__main__":
    main()
