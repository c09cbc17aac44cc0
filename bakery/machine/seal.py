"""Sealing: what belongs to one machine's life is removed before the machine becomes an image."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from bakery.errors import TaskError

if TYPE_CHECKING:
    from bakery.machine.machine import Machine

TIMEOUT: Final = 600.0
"""Seconds. A trim of a large disk takes longest."""


@dataclass(frozen=True, kw_only=True)
class Seal:
    """What is removed from a machine before capture. Everything, unless switched off.

    Args:
        build_keys: login keys of builds, from every user's `authorized_keys`; others stay.
        host_keys: SSH host keys. A unit that makes new ones at boot is installed where nothing does it yet
            or only on a "first boot", which that of an image with an empty machine-id is not (systemd).
        machine_id: `/etc/machine-id` and what is derived from it; a new one is made at boot.
        cloud_init: cloud-init's memory of this instance and the network configuration that it wrote.
        leases: DHCP leases and names of network cards.
        logs: everything in `/var/log`, the journal included; folders and empty files stay.
        caches: downloaded packages and package lists.
        histories: what shells and other prompts remember, of every user.
        temporary: `/tmp`, `/var/tmp` and crash dumps.
        random_seed: the random seed, which two clones must not share.
        selinux: labels of SELinux, where the system uses it: put right now, or at the next boot where its policy is not
            loaded, as in a container.
        trim: give free blocks back to the disk, so that deleted data is in no image and the image is small.
    """

    build_keys: bool = True
    host_keys: bool = True
    machine_id: bool = True
    cloud_init: bool = True
    leases: bool = True
    logs: bool = True
    caches: bool = True
    histories: bool = True
    temporary: bool = True
    random_seed: bool = True
    selinux: bool = True
    trim: bool = True


def script(options: Seal, key: str) -> str:
    """Return the whole shell script.

    Args:
        options: what to remove.
        key: the public key that we log in with, `ssh-ed25519 AAAA...`.
    """
    words = key.split()
    blob = words[1] if len(words) > 1 else "no key"
    wanted = [field.name for field in fields(options) if getattr(options, field.name)]
    calls = [f"option={name}\n{name}" + (f" {shlex.quote(blob)}" if name == "build_keys" else "") for name in wanted]
    functions = files("bakery.machine").joinpath("seal.sh").read_text(encoding="utf-8")
    # Read as a whole before it runs, and with another standard input: no command can eat the rest of the script.
    # A container's files are read from here: waiting for this host's disks would be for nothing.
    sync = "[ -e /run/systemd/container ] || [ -e /run/.containerenv ] || sync"
    return "\n".join([functions, "option=", "{", "settle", *calls, sync, "echo sealed", "} </dev/null", ""])


def seal(machine: Machine, options: Seal) -> list[str]:
    """Remove what no image may hold, in one round trip. Safe to repeat. The machine stays on, its connection too.

    Args:
        machine: the provisioned machine. Afterwards nobody can log in with its build key any more.
        options: what to remove.

    Returns:
        What was done and what was skipped, a line each: `host_keys: removed 6`.

    Raises:
        TaskError: the script did not come to its end.
    """
    text = script(options, machine.login_key)
    result = machine.run(["sh", "-s"], input=text, user="root", hide=True, warn=True, timeout=TIMEOUT, cwd="/")
    lines = result.stdout.splitlines()
    if result.failed or lines[-1:] != ["sealed"]:
        raise TaskError(
            "the machine could not be sealed",
            why="\n".join([*lines[-5:], result.stderr.strip()]).strip(),
            hint="switch off the part that fails: @bakery.image(seal=Seal(...=False))",
        )
    return lines[:-1]
