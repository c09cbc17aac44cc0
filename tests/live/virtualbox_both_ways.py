"""Asks the same through pyvbox and through VBoxManage, in the Python of VirtualBox's API; prints both as JSON."""

from __future__ import annotations

import json
import os
import sys


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
    uuid = plain.machines()[0].uuid
    pairs = [
        (list(plain.version()), list(other.version())),
        (sorted(map(str, plain.machines())), sorted(map(str, other.machines()))),
        (plain.extra_data(uuid), other.extra_data(uuid)),
    ]
    sys.stdout.write(json.dumps({"pairs": pairs, "asked": asked}) + "\n")
    sys.stdout.flush()
    os._exit(0)  # XPCOM's own end may hang


if __name__ == "__main__":
    main()
