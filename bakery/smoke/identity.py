"""What makes a machine that machine: what no two clones of an image may share."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Any, Final, Self

SCRIPT: Final = r"""
for f in /etc/machine-id /var/lib/dbus/machine-id; do
  [ -e "$f" ] && printf 'machine-id %s\n' "$(cat "$f")" && break
done
for f in /etc/ssh/ssh_host_*_key.pub; do
  [ -s "$f" ] && printf 'host-key %s\n' "$(cat "$f")"
done
for f in /etc/dropbear/dropbear_*_host_key; do
  [ -s "$f" ] && printf 'host-digest %s\n' "$(sha256sum "$f")"
done
true
"""
"""A script for any POSIX shell, to be run as root, whose output `Identity.parse` reads."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What must be born anew on each clone.

    Args:
        machine_id: content of /etc/machine-id; empty where it is empty, None where there is no such file.
        host_keys: `SHA256:...` fingerprints of its SSH host keys, as `ssh-keygen -l` shows them.
    """

    machine_id: str | None = None
    host_keys: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `SCRIPT` printed."""
        machine_id: str | None = None
        keys: set[str] = set()
        for line in text.splitlines():
            word, _, rest = line.partition(" ")
            if word == "machine-id":
                machine_id = rest.strip()
            elif word == "host-key":
                keys.add(fingerprint(rest))
            elif word == "host-digest":
                keys.add(f"digest {rest.split()[0]}")
        return cls(machine_id=machine_id, host_keys=frozenset(keys))

    def to_wire(self) -> dict[str, Any]:
        """Return JSON data."""
        return {"machine_id": self.machine_id, "host_keys": sorted(self.host_keys)}


def key_blob(line: str) -> str:
    """Return the base64 part of a public key line, also of one with options in front; empty where there is none."""
    return next((word for word in line.split() if word.startswith("AAAA")), "")


def fingerprint(line: str) -> str:
    """Return the `SHA256:...` form of a public key line; of something else, a digest of the line.

    Source: OpenSSH's sshkey_fingerprint: unpadded base64 of the SHA-256 of the key blob.
    """
    try:
        raw = base64.b64decode(key_blob(line), validate=True)
    except binascii.Error:
        raw = b""
    digest = hashlib.sha256(raw or line.encode()).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def compare(one: Identity, other: Identity) -> tuple[str, ...]:
    """Say, a sentence each, what two clones share and must not; empty when they are as they should be."""
    shared: list[str] = []
    if one.machine_id and one.machine_id == other.machine_id:
        shared.append(f"both have the machine-id {one.machine_id}")
    shared += [f"both have the SSH host key {key}" for key in sorted(one.host_keys & other.host_keys)]
    return tuple(shared)
