"""What a restored machine does not know: the time, that it is another run now, and whose keys to accept."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from shlex import quote

from bakery.drivers.qemu.credentials import HOST_KEY
from bakery.errors import DriverError
from bakery.machine.transport.link import Link
from bakery.model import Endpoint, Handle
from bakery.state.claim import Claim
from bakery.state.ssh_keys import Keys

PATIENCE = 180.0
"""Seconds until a restored machine must answer; it was running a moment ago, as far as it knows."""


def restore_machine(handle: Handle, endpoint: Callable[[Handle], Endpoint], old: Keys, claim: Claim) -> Handle:
    """Log in with the checkpoint's keys, once, and make the machine this run's.

    Args:
        handle: the machine, pinned to the host key that it had.
        endpoint: says how to reach it.
        old: the keys of the run that saved it. They open nothing but what is restored from that checkpoint.
        claim: this run's, with its keys.

    Returns:
        The handle, pinned to the host key that the machine has now.

    Raises:
        DriverError: the machine does not do as told.
        ConnectError: it does not answer.
    """
    given = handle.settings["host_key"] == "given"
    link = Link(lambda: endpoint(handle), old, claim, timeout=PATIENCE)
    try:
        transport = link.open()
        shell = "sh -s" if transport.user == "root" else "sudo -n sh -s"
        text = script(old, claim.keys, now=time.time(), with_host_key=given)
        result = transport.run(shell, input=text.encode(), timeout=PATIENCE)
    finally:
        link.close()
    if result.failed:
        raise DriverError("a restored machine cannot be made ready", why=result.stderr.strip() or result.stdout.strip())
    if not given:
        return handle
    return replace(handle, data={**handle.data, "host_key": claim.keys.host_public})


def script(old: Keys, new: Keys, *, now: float, with_host_key: bool) -> str:
    """Write what the machine runs, as root, in any POSIX shell.

    The clock first, because package managers and TLS refuse a date in the past. Then bytes for the kernel's pool, on
    top of what the virtual hardware tells it (VM generation id). The login key is replaced wherever it is; the
    host key is, and sshd reads it again.

    Args:
        old: the keys that the machine has.
        new: the keys that it gets.
        now: seconds since 1970.
        with_host_key: False for a machine that keeps a host key of its own.
    """
    seed = base64.b64encode(secrets.token_bytes(64)).decode()
    lines = [
        "set -eu",
        f"date -u -s @{now:.2f} >/dev/null 2>&1 || date -u -s @{now:.0f} >/dev/null",
        f"printf %s {seed} >/dev/urandom",
        # The key itself, without its comment: not every system keeps that.
        f"old={quote(' '.join(old.user_public.split()[:2]))} new={quote(new.user_public)}",
        "for file in /root/.ssh/authorized_keys /home/*/.ssh/authorized_keys; do",
        '  grep -qF "$old" "$file" 2>/dev/null || continue',
        # Written through, not replaced, so that owner and mode stay. In one go: the file is never without a key.
        '  text=$(grep -vF "$old" "$file" || true)',
        '  printf "%s\\n" "$text" "$new" | grep . >"$file.new"',
        '  cat "$file.new" >"$file"',
        '  rm "$file.new"',
        "done",
    ]
    return "\n".join([*lines, *(_host_key(new) if with_host_key else ())]) + "\n"


def _host_key(new: Keys) -> tuple[str, ...]:
    return (
        "umask 077",
        # In place first: the old key's blocks would only be marked as free, and stay in the image.
        f"dd if=/dev/zero of={HOST_KEY} bs=$(wc -c <{HOST_KEY}) count=1 conv=notrunc,fsync 2>/dev/null",
        f"printf %s {quote(new.host_private)} >{HOST_KEY}",
        f"printf '%s\\n' {quote(new.host_public)} >{HOST_KEY}.pub",
        f"chmod 644 {HOST_KEY}.pub",
        "systemctl reload ssh 2>/dev/null || systemctl reload sshd 2>/dev/null || kill -HUP $(cat /run/sshd.pid)",
    )
