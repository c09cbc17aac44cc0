"""What a fresh machine is told through cloud-init: which key to accept, and which host key to present.

The formats are cloud-init's: https://docs.cloud-init.io/en/latest/reference/modules.html (users, ssh) and
https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html (the seed disk).
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bakery.state.ssh_keys import PROOF, Keys, proof_of

LABEL = "cidata"
HOST_KEY = "ssh_host_ed25519_key"
"""The file of the private host key on a seed disk and in /etc/ssh; the public one has `.pub` behind it."""
_TAKE = f"""\
rm -f /etc/ssh/ssh_host_*
mkdir /run/bakery-seed && mount -o ro LABEL={LABEL} /run/bakery-seed || exit
(umask 077 && cat /run/bakery-seed/{HOST_KEY} >/etc/ssh/{HOST_KEY})
(umask 022 && cat /run/bakery-seed/{HOST_KEY}.pub >/etc/ssh/{HOST_KEY}.pub)
umount /run/bakery-seed && rmdir /run/bakery-seed
! command -v restorecon || restorecon /etc/ssh/{HOST_KEY}*
"""
_UNLOCK = [
    *("cloud-init-per", "instance", "bakery-root-login", "sh", "-c"),
    "[ ! -e /etc/alpine-release ] || sed -i 's/^root:![^:]*:/root:*:/' /etc/shadow",
]
"""Alpine's images lock root with a `!`, for which an sshd without PAM refuses keys as well; no password fits `*`.
Source: alpine-cloud-images, scripts/setup; OpenSSH's sshd(8), "account is locked"."""
LEAST = 1 << 20
"""Bytes of a seed disk. Programs that look for labels probe for other file systems far behind the end of ours, and
some (busybox) take the short read for a broken disk."""


def user_data(
    keys: Keys,
    *,
    user: str = "root",
    extra: Mapping[str, Any] | None = None,
    host_key: bool = True,
    exists: bool = False,
) -> str:
    """Write the user data (`#cloud-config`) of a machine that takes our keys.

    It holds the private host key of a machine that lives for minutes; whoever can read it (root in the guest,
    the account that launched it) could read the key from the guest's disk as well.

    Args:
        keys: this machine's keys.
        user: who logs in. For root no other account is made, so that none ends up in the image; any other user is
            made if it is missing and may `sudo` without a password.
        extra: more top-level entries; they win over ours.
        host_key: False where the machine shall make its own, as a user's machine does.
        exists: True where the user is an account of the image, whose password is left alone.
    """
    config = configuration(keys, user=user, host_key=host_key, exists=exists)
    if unlocking := _unlocking(user):
        config["bootcmd"] = unlocking
    import yaml  # slow to import, and a plan needs none

    return "#cloud-config\n" + yaml.safe_dump({**config, **(extra or {})}, sort_keys=False, width=10_000)


def user_data_for_seed(keys: Keys, *, user: str = "root") -> str:
    """Write user data as `user_data` does, for a machine that takes its host key from its seed disk.

    cloud-init keeps its user data on the disk in a dozen places, and writes some of them anew at each stage. Whoever
    deletes them later leaves the key in blocks that are only marked as free, and so in the image of a disk that takes
    no discard. What the machine copies itself is in one file, which the seal overwrites.

    Args:
        keys: this machine's keys.
        user: who logs in.
    """
    return user_data(keys, user=user, host_key=False, extra=_taken(user))


def configuration_for_seed(keys: Keys, *, user: str = "root") -> dict[str, Any]:
    """Return the entries of what `user_data_for_seed` writes."""
    return {**configuration(keys, user=user, host_key=False), **_taken(user)}


def user_data_for_test(keys: Keys, *, user: str = "root") -> str:
    """Write user data as `user_data` does, for a machine that makes its own host keys and proves that it is ours.

    So the image is seen to boot as a user's machine does; see `bakery.machine.transport.learned_key`.

    Args:
        keys: this machine's keys.
        user: who logs in.
    """
    show = f"umask 022; echo {proof_of(keys.user_private)} >{PROOF}"
    once = ["cloud-init-per", "instance", "bakery-proof", "sh", "-c", show]
    return user_data(keys, user=user, host_key=False, extra={"bootcmd": [*_unlocking(user), once]})


def _taken(user: str) -> dict[str, Any]:
    once = ["cloud-init-per", "instance", "bakery-host-key", "sh", "-c", _TAKE]
    # Without `ssh_keys`, cloud-init makes those of these kinds that are missing.
    return {"bootcmd": [*_unlocking(user), once], "ssh_deletekeys": False, "ssh_genkeytypes": ["ed25519"]}


def _unlocking(user: str) -> list[list[str]]:
    return [_UNLOCK] if user == "root" else []


def configuration(keys: Keys, *, user: str = "root", host_key: bool = True, exists: bool = False) -> dict[str, Any]:
    """Return the entries of our `#cloud-config`; arguments as those of `user_data`."""
    given = {"ssh_keys": {"ed25519_private": keys.host_private, "ed25519_public": keys.host_public}}
    return {"ssh_deletekeys": True, **(given if host_key else {}), **_login(keys, user, exists=exists)}


def _login(keys: Keys, user: str, *, exists: bool) -> dict[str, Any]:
    if user == "root":
        # cloud-init gives root the top-level keys unless `disable_root`; `users: []` keeps the default account out.
        return {"disable_root": False, "users": [], "ssh_authorized_keys": [keys.user_public]}
    account = {
        "name": user,
        "lock_passwd": not exists,
        "shell": "/bin/sh",
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
        "ssh_authorized_keys": [keys.user_public],
    }
    return {"users": [account]}


def meta_data(keys: Keys, instance: str) -> str:
    """Write NoCloud's meta data.

    Args:
        keys: this machine's keys.
        instance: the instance id. cloud-init does its once-per-instance work again when it changes.
    """
    import yaml

    return yaml.safe_dump({"instance-id": instance, "public-keys": [keys.user_public]}, sort_keys=False, width=10_000)


def seed(path: Path, keys: Keys, *, instance: str, text: str = "", host_key: bool = False) -> None:
    """Write a NoCloud seed disk: an ISO 9660 image labelled `cidata`, readable by its owner only.

    Args:
        path: the file to write; replaced if it is there.
        keys: this machine's keys.
        instance: the instance id.
        text: the user data; those of a root login where there are none.
        host_key: whether it holds the host key too, for `user_data_for_seed`.
    """
    files = {"meta-data": meta_data(keys, instance), "user-data": text or user_data(keys)}
    if host_key:
        files |= {HOST_KEY: keys.host_private, f"{HOST_KEY}.pub": keys.host_public}
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as disk:
        disk.write(_iso(files).ljust(LEAST, b"\0"))


def _iso(files: Mapping[str, str]) -> bytes:
    """Return an ISO image of a few small text files, long names kept through Joliet and Rock Ridge."""
    from pycdlib.pycdlib import PyCdlib

    iso = PyCdlib()
    iso.new(interchange_level=3, vol_ident=LABEL, joliet=3, rock_ridge="1.09")
    for number, (name, text) in enumerate(files.items()):
        content = text.encode()
        iso.add_fp(
            io.BytesIO(content),
            len(content),
            f"/FILE{number}.;1",
            rr_name=name,
            joliet_path=f"/{name}",
            file_mode=0o100400,
        )
    out = io.BytesIO()
    iso.write_fp(out)
    iso.close()
    return out.getvalue()
