"""Files that a container needs while it is built, and that must not be in the image.

They are a layer of their own, above the base and below the machine's layer. The machine sees them; a capture, which
looks at base and machine's layer alone, does not. A task that changes one of them makes the change its own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from bakery.state.ssh_keys import Keys

ADDRESS = "10.0.2.100/24"
GATEWAY = "10.0.2.2"
RESOLVER = "10.0.2.3"
"""slirp4netns(1): the addresses of its built-in network; the resolver forwards to this host's."""

NETWORKD = f"""\
[Match]
Name=host0

[Network]
Address={ADDRESS}
Gateway={GATEWAY}
DNS={RESOLVER}
KeepConfiguration=static
LinkLocalAddressing=no
IPv6AcceptRA=no
"""
"""slirp4netns has set the same address already: networkd shall keep it, and not wait for a lease."""

RESOLVED = f"[Resolve]\nDNS={RESOLVER}\n"
RESOLV_CONF = f"nameserver {RESOLVER}\n"
NO_SERVICES = "#!/bin/sh\nexit 101\n"
"""policy-rc.d of invoke-rc.d(8): without systemd no package may start its service by a script of its own."""


SSH = "etc/ssh"
HOST_KEY = f"{SSH}/ssh_host_ed25519_key"


def build(folder: Path, lowers: Sequence[Path], keys: Keys, *, booted: bool) -> None:
    """Write the layer into `folder`.

    Args:
        folder: a new folder.
        lowers: the layers below, topmost first: folders there lend their owner, mode and times.
        keys: of the machine. Nobody logs in by SSH, but a task may restart sshd, which wants a host key; making one at
            boot takes longer than the rest of the boot.
        booted: whether systemd runs inside.
    """
    folder.mkdir()
    folder.chmod(0o755)
    for name, (text, mode) in _files(lowers, keys, booted=booted).items():
        path = folder / name
        _make_folder(path.parent)
        path.touch(mode=mode)
        path.write_text(text)
        path.chmod(mode)  # whatever the umask is
    _borrow_attributes(folder, lowers)


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, open to everybody whatever the umask is: a task's file may go into it."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir()
        folder.chmod(0o755)


def _files(lowers: Sequence[Path], keys: Keys, *, booted: bool) -> dict[str, tuple[str, int]]:
    """Content and mode by path."""
    files: dict[str, tuple[str, int]] = {}
    if booted:
        files["etc/systemd/network/10-bakery.network"] = (NETWORKD, 0o644)
        files["etc/systemd/resolved.conf.d/10-bakery.conf"] = (RESOLVED, 0o644)
    else:
        files["usr/sbin/policy-rc.d"] = (NO_SERVICES, 0o755)
    if not (booted and _filled_by_resolved(lowers)):
        files["etc/resolv.conf"] = (RESOLV_CONF, 0o644)
    if _top(lowers, SSH) is not None:
        files[HOST_KEY] = (keys.host_private, 0o600)
        files[f"{HOST_KEY}.pub"] = (f"{keys.host_public.rstrip()}\n", 0o644)
    return files


def _filled_by_resolved(lowers: Sequence[Path]) -> bool:
    found = _top(lowers, "etc/resolv.conf")
    return found is not None and found.is_symlink() and "systemd/resolve" in str(found.readlink())


def _borrow_attributes(folder: Path, lowers: Sequence[Path]) -> None:
    """Give our folders the looks of those below: an overlay shows a folder as its topmost layer has it."""
    folders = [Path(parent) for parent, _, _ in os.walk(folder, topdown=False)]
    for made in folders:
        below = _top(lowers, made.relative_to(folder).as_posix())
        if below is None:
            continue
        shutil.copystat(below, made)
        if os.geteuid() == 0:
            status = below.stat()
            os.chown(made, status.st_uid, status.st_gid)


def _top(lowers: Sequence[Path], name: str) -> Path | None:
    return next((lower / name for lower in lowers if os.path.lexists(lower / name)), None)
