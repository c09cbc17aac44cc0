"""The keys of one machine's life: made in memory, written to its folder, read back."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bakery.model import from_json
from bakery.util.files import write_whole

PROOF: Final = "/run/bakery-proof"
"""Where a machine keeps its proof until it is switched off, for everybody in it to read."""


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The keys of one machine's life, made in memory; all ed25519, in OpenSSH's text forms.

    Args:
        user_private: what we log in with.
        user_public: what the machine must accept, `ssh-ed25519 AAAA... bakery-RUN`.
        host_private: the host key that the machine is given.
        host_public: what it must therefore present.
    """

    user_private: str
    user_public: str
    host_private: str
    host_public: str


NO_KEYS: Final = Keys(user_private="", user_public="", host_private="", host_public="")


def make_keys(comment: str) -> Keys:
    """Make a login key and a host key, ed25519 both: milliseconds, and the strongest that every sshd takes."""
    user_private, user_public = _pair()
    host_private, host_public = _pair()
    return Keys(
        user_private=user_private,
        user_public=f"{user_public} {comment}",
        host_private=host_private,
        host_public=host_public,
    )


def proof_of(user_private: str) -> str:
    """Return what a machine shows to prove that it is the one that was given a login key; it tells nothing of the key.

    Args:
        user_private: the private half, in OpenSSH's text form.
    """
    return hmac.new(user_private.encode(), b"bakery: this is the machine", hashlib.sha256).hexdigest()


def _pair() -> tuple[str, str]:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # reading an imagefile needs none
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return private, public


def save_keys(keys: Keys, folder: Path) -> None:
    """Keep a machine's keys beside it, readable by nobody else, for `bake ssh` and for a run that is resumed."""
    write_whole(folder / "keys.json", json.dumps(asdict(keys)), durable=True, mode=0o600)


def read_keys(folder: Path) -> Keys:
    """Read a machine's keys.

    Raises:
        ValueError: the file is damaged.
    """
    return from_json(Keys, json.loads((folder / "keys.json").read_text(encoding="utf-8")))
