"""Accounts with any login shell and start files behind an sshd, on this host and yet not in its /etc."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from bakery.state.ssh_keys import make_keys
from bakery.testing.sshd import Server, start_sshd

LOGIN = """
set -e
cd {folder}
grep -v '^{user}:' /etc/passwd >passwd
grep -v '^{user}:' /etc/shadow >shadow
echo '{user}:x:{uid}:{uid}::{folder}/home:{shell}' >>passwd
echo '{user}:*:19000:0:99999:7:::' >>shadow
mkdir -p sudoers.d
printf '%s\\n' '{sudoers}' >sudoers.d/test
chmod 0440 sudoers.d/test
chown -R {uid} home
mount --bind passwd /etc/passwd
mount --bind shadow /etc/shadow
mount --bind sudoers.d /etc/sudoers.d
exec "$@"
"""

Account = Callable[..., Server]


def start_account(
    folder: Path,
    shell: str = "/bin/sh",
    files: Mapping[str, str] | None = None,
    *,
    user: str = "root",
    settings: str = "",
    key_options: str = "",
    sudoers: str = "",
) -> Server:
    """Start an sshd that knows one account as a test wants it.

    Args:
        folder: for its files; must not be there yet.
        shell: the account's login shell.
        files: what is in its home folder.
        user: its name; it has root's user id when that is `root`.
        settings: lines of sshd's configuration, which go before ours.
        key_options: what stands in front of the key in authorized_keys.
        sudoers: lines of sudoers.
    """
    folder.mkdir()
    (folder / "home").mkdir(mode=0o755)
    for name, text in (files or {}).items():
        path = folder / "home" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    uid = 0 if user == "root" else 4711
    script = LOGIN.format(folder=folder, shell=shell, user=user, uid=uid, sudoers=sudoers)
    wrap = ["unshare", "--mount", "sh", "-c", script, "login"]
    server = start_sshd(folder / "sshd", make_keys("bakery-test"), wrap=wrap, settings=settings, user=user)
    if key_options:
        (folder / "sshd" / "authorized_keys").write_text(f"{key_options} {server.keys.user_public}\n")
    return server
