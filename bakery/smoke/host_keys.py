"""Whether an image makes SSH host keys by itself, on a machine that was given one."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final

from bakery.smoke.identity import Identity, fingerprint, key_blob

if TYPE_CHECKING:
    from bakery.smoke.host import Host
    from bakery.smoke.job import SmokeJob

TIMEOUT: Final = 180.0
"""Seconds. RSA keys take a while where every instruction is emulated."""
UNITS: Final = "systemctl show --all --no-pager --property=Id,ConditionTimestampMonotonic,ExecStart,ExecStartPre '*'"
KEYGEN: Final = re.compile(r"ssh-keygen +-A|sshd-keygen|sshdgenkeys")
MADE_AGAIN: Final = r"""
aside=$(mktemp -d /etc/ssh/.bakery.XXXXXX) || exit 9
back() {
  if [ -e /etc/ssh/.host-keys-wanted ]; then systemctl stop ssh-host-keys.service; rm -f /etc/ssh/.host-keys-wanted; fi
  rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.*
  mv "$aside"/* /etc/ssh/
  rmdir "$aside"
}
trap back EXIT
mv /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub "$aside"/
for unit in %s; do systemctl restart "$unit"; done >/dev/null 2>&1
ls /etc/ssh/ssh_host_*_key 2>/dev/null || true
"""


def was_given(job: SmokeJob, identity: Identity) -> bool:
    """Say whether the machine under test was given its host key.

    Args:
        job: what is tested, and how it is reached.
        identity: the machine's.
    """
    given = key_blob(job.keys.host_public)
    return bool(given) and (
        key_blob(job.endpoint.host_key) == given or fingerprint(job.keys.host_public) in identity.host_keys
    )


def makers(shown: str) -> list[str]:
    """Return the units that this boot has started, or would have but for a condition, and that make host keys.

    Args:
        shown: what `UNITS` printed.
    """
    units: list[str] = []
    for block in shown.split("\n\n"):
        parts = [line.partition("=") for line in block.strip().splitlines()]
        lines = [(name, value) for name, _, value in parts]
        properties = dict(lines)
        was_tried = properties.get("ConditionTimestampMonotonic", "0") != "0"
        if was_tried and any(KEYGEN.search(value) for name, value in lines if name.startswith("Exec")):
            units.append(properties["Id"])
    return units


def keys_made_again(host: Host) -> tuple[list[str], list[str]]:
    """Put the host keys aside, start again what makes some at boot, and put them back.

    Systemd judges the units' conditions as it did at this boot: a "first boot" stays one, and another does not become
    one.

    Returns:
        The units that were started, and the files that they made.
    """
    units = makers(host.check_output(UNITS))
    if not units:
        return [], []
    script = MADE_AGAIN % " ".join(map(shlex.quote, units))
    return units, host.run("sh -c %s", script, timeout=TIMEOUT).stdout.split()
