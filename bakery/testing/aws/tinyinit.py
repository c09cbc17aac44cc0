"""Plays cloud-init for a guest that has none: turns its configuration into a `#!` script.

Only what bakery's own user data hold, and a user's scripts: login keys, the ed25519 host key for dropbear, commands,
scripts.
"""

from __future__ import annotations

import base64
import shlex
from email import message_from_string
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

DROPBEAR = "/etc/dropbear/dropbear_ed25519_host_key"


def script(user_data: str) -> str:
    """Return a shell script that does what the user data ask for; a script by itself is returned as it is."""
    if user_data.startswith("#!"):
        return user_data
    lines = ["#!/bin/sh", "set -e"]
    for kind, text in _parts(user_data):
        if kind == "cloud-config":
            lines += _config(yaml.safe_load(text) or {})
        elif kind == "x-shellscript":
            lines += [f"printf %s {shlex.quote(text)} > /run/part", "chmod 755 /run/part", "/run/part"]
    lines += _console()
    return "\n".join(lines) + "\n"


def _parts(user_data: str) -> list[tuple[str, str]]:
    if user_data.startswith("#cloud-config"):
        return [("cloud-config", user_data)]
    message = message_from_string(user_data)
    found: list[tuple[str, str]] = []
    for part in message.walk():
        payload = part.get_payload(decode=True)
        if not part.is_multipart() and isinstance(payload, bytes):
            found.append((part.get_content_subtype(), payload.decode()))
    return found


def _config(config: dict[str, Any]) -> list[str]:
    users = [user for user in config.get("users", []) if isinstance(user, dict)]
    theirs = (key for user in users for key in user.get("ssh_authorized_keys", []))
    keys = [*config.get("ssh_authorized_keys", []), *theirs]
    lines = [f"# {key}" for key in keys]  # the guest takes every key that it sees in its seed
    lines += [shlex.join(_command(words)) for words in config.get("bootcmd", [])]
    private = config.get("ssh_keys", {}).get("ed25519_private")
    if private:
        key = base64.b64encode(dropbear_key(private)).decode()
        lines += ["umask 077", f"echo {key} | base64 -d > {DROPBEAR}", "umask 022"]
    return lines


def _command(words: list[str]) -> list[str]:
    """Return a command without cloud-init's word for how often it runs: a guest's script runs once."""
    return words[3:] if words[0] == "cloud-init-per" else words


def _console() -> list[str]:
    """cloud-init shows the host keys on the console, whoever made them."""
    return [
        f"[ -s {DROPBEAR} ] || dropbearkey -t ed25519 -f {DROPBEAR} >/dev/null",
        "{ echo '-----BEGIN SSH HOST KEY KEYS-----'",
        f"dropbearkey -y -f {DROPBEAR} | grep '^ssh-'",
        "echo '-----END SSH HOST KEY KEYS-----'; } > /dev/ttyS0",
    ]


def dropbear_key(openssh: str) -> bytes:
    """Return an ed25519 key in dropbear's own form: its name, then seed and public half together."""
    key = load_ssh_private_key(openssh.encode(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError("only ed25519 host keys are given to machines")
    seed = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    name = b"ssh-ed25519"
    both = seed + public
    return len(name).to_bytes(4, "big") + name + len(both).to_bytes(4, "big") + both
