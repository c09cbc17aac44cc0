"""How a machine is given its keys: as systemd credentials, or on a cloud-init seed disk. Never on a command line."""

from __future__ import annotations

import base64
import os
import time
from pathlib import Path

from bakery.drivers import cloudinit
from bakery.drivers.qemu.command import SEED
from bakery.drivers.qemu.machine_spec import MachineSpec
from bakery.errors import DriverError, SmokeError
from bakery.machine.transport.diagnose import sshd_is_down
from bakery.model import Login
from bakery.state.ssh_keys import Keys

CREDENTIALS = "credentials.smbios"
SILENT = 60.0
"""Seconds without a word on the console after which a machine whose sshd has failed is taken to stay so."""
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"
SUDO_RULE = "/etc/sudoers.d/zz-bakery-tests"
"""Read last, so that it stands above what the image says of that user."""


def prepare(
    shape: MachineSpec, keys: Keys, *, folder: Path, instance: str, host_key: bool = True, entry: Login | None = None
) -> tuple[str, ...]:
    """Write what the machine reads its keys from; returns the names of files for SMBIOS.

    Args:
        shape: the machine's.
        keys: its keys.
        folder: its folder.
        instance: cloud-init's instance id.
        host_key: whether it takes our host key; else it makes its own, as a user's machine does.
        entry: how the tests' machine is entered; a key of the image's own stands in place of ours.

    Raises:
        DriverError: this base cannot be told about that user.
    """
    entry = entry or Login()
    user = "root" if entry.key else shape.user
    if shape.login != "credentials":
        text = shape.user_data or cloudinit.user_data(keys, user=user, host_key=host_key, exists=bool(entry.user))
        cloudinit.seed(folder / SEED, keys, instance=instance, text=text)
        return ()
    if user != "root" and not entry.user:
        raise DriverError(
            f"user={user!r}: this base takes keys for root only",
            hint='leave out `user`; for a task as another user: @bakery.task(user="..."); '
            'for tests: @bakery.image(login=bakery.Login(user="..."))',
        )
    lines = tmpfiles(keys, host_key=host_key, user=user, home=entry.home)
    encoded = base64.b64encode(lines.encode()).decode()
    descriptor = os.open(folder / CREDENTIALS, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"io.systemd.credential.binary:tmpfiles.extra={encoded}")
    return (CREDENTIALS,)


def tmpfiles(keys: Keys, *, host_key: bool = True, user: str = "root", home: str = "") -> str:
    """Lines for systemd-tmpfiles, which takes them from the credential `tmpfiles.extra` early in the boot.

    Our login key is added to those that the image may have; its host key becomes ours, if so asked. See tmpfiles.d(5):
    `f` makes, `w+` adds, `f+` replaces, `~` stands for base64.

    Args:
        keys: the machine's.
        host_key: whether it takes our host key.
        user: who logs in; an account of the image, which then becomes root by sudo.
        home: that user's, where it is not in /home.
    """
    folder = f"{home or ('/root' if user == 'root' else f'/home/{user}')}/.ssh"
    lines = [
        f"d {folder} 0700 {user} - -",
        f"f {folder}/authorized_keys 0600 {user} - -",
        f"w+~ {folder}/authorized_keys - - - - {_coded(keys.user_public)}",
    ]
    if user != "root":
        lines.append(f"f+~ {SUDO_RULE} 0440 root root - {_coded(f'{user} ALL=(ALL:ALL) NOPASSWD: ALL')}")
    if host_key:
        lines += [
            f"f+~ {HOST_KEY} 0600 root root - {_coded(keys.host_private)}",
            f"f+~ {HOST_KEY}.pub 0644 root root - {_coded(keys.host_public)}",
        ]
    return "\n".join(lines) + "\n"


def _coded(text: str) -> str:
    return base64.b64encode((text.rstrip("\n") + "\n").encode()).decode()


def must_let_in(serial: Path) -> None:
    """See that a machine which was given no host key may still let us in.

    Args:
        serial: what it writes on its console.

    Raises:
        SmokeError: it said that its sshd does not start; either often, or once and nothing more for a minute.
    """
    try:
        silent = time.time() - serial.stat().st_mtime
        text = serial.read_text(errors="replace")
    except FileNotFoundError:
        return
    if sshd_is_down(text, silent=silent > SILENT):
        raise SmokeError(
            "nobody can log in to a machine of this image: its sshd does not start",
            why="this machine was given no host key, as a user's machine is given none",
            hint="does something in the image make host keys at boot (see what sealing said of host_keys)? "
            "If so, look at sshd's configuration (sshd -t)",
        )
