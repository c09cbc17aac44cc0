"""Holds a machine's lock, as VirtualBox's own process does while a machine runs.

Runs by itself, in the Python that VirtualBox's API is installed for. Takes the machine's
UUID; says `locked` once it has it; lets go when its standard input ends.
"""

import sys
from importlib import import_module


def main(uuid: str) -> None:
    """Hold the lock of one machine."""
    manager = import_module("vboxapi").VirtualBoxManager(None, None)
    machine = manager.getVirtualBox().findMachine(uuid)
    session = manager.openMachineSession(machine, fPermitSharing=False)
    sys.stdout.write("locked\n")
    sys.stdout.flush()
    sys.stdin.read()
    manager.closeMachineSession(session)


if __name__ == "__main__":
    main(sys.argv[1])
