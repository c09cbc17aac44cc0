"""Why a machine cannot be reached: read from its console, the stage that failed and the last error."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from bakery.machine.transport.stages import HANGS_UP, Stage


class Diagnosis(NamedTuple):
    """What is wrong, in one line, and what to do about it."""

    verdict: str
    hint: str


class Sign(NamedTuple):
    """What a console shows when something is wrong. The text that matched is the evidence."""

    pattern: str
    verdict: str
    hint: str
    stages: tuple[Stage, ...] = ()
    """Where it explains the failure; empty for everywhere."""


_SSHD_FAILED: Final = (
    r"(?:FAILED|Failed)\W+(?:to start )?[^\n]*(?:OpenBSD Secure Shell|ssh(?:d)?\.service|OpenSSH)[^\n]*"
)
MANY: Final = 10
"""Failures of sshd to start. systemd gives up after five within ten seconds; a slow machine has fewer, and goes on."""
_UNREACHED: Final[tuple[Stage, ...]] = ("address", "port", "banner")

# From the gravest to the mildest: a panic explains a missing lease, and not the other way round.
SIGNS: Final = (
    Sign(
        r"Kernel panic - not syncing: VFS: Unable to mount root fs[^\n]*",
        "kernel panic: the kernel did not find its root disk",
        "the initramfs lacks the driver of this disk bus, or root= names another disk; try another disk_bus",
    ),
    Sign(
        r"Kernel panic - not syncing: IO-APIC \+ timer doesn't work[^\n]*",
        "kernel panic: an emulated timer stood still while this host was busy",
        "bake again, with fewer --jobs; no_timer_check on the kernel's command line switches the check off",
    ),
    Sign(r"Kernel panic - not syncing[^\n]*", "kernel panic", "read the lines above it on the console"),
    Sign(
        r"No bootable device|Boot failed: not a bootable disk|Operating System not found|no bootable media"
        r"|BdsDxe: No bootable option[^\n]*|Booting from Hard Disk\.\.\.\s*Boot failed",
        "no bootable device: the firmware found no boot loader on the disk",
        'a disk made for UEFI needs firmware="uefi", one for BIOS firmware="bios"',
    ),
    Sign(
        r"error: no such (?:device|partition)[^\n]*|grub rescue>|grub>\s*$|error: unknown filesystem[^\n]*",
        "the boot loader dropped to the GRUB shell",
        "GRUB does not find its configuration: the disk's partitions are not those it was installed on",
    ),
    Sign(
        r"ALERT!\s+[^\n]*does not exist|\(initramfs\)|dracut-emergency|dracut:/#"
        r"|Gave up waiting for (?:root file system|suspend/resume) device[^\n]*",
        "the initramfs did not find the root disk and dropped to a shell",
        "the initramfs lacks the driver of this disk bus, or root= names a disk that is not there",
    ),
    Sign(
        r"You are in (?:emergency|rescue) mode[^\n]*|Reached target [^\n]*Emergency Mode[^\n]*"
        r"|Welcome to emergency mode[^\n]*",
        "the system stopped in emergency mode",
        "a mount of /etc/fstab failed most often; the failed unit is named above it on the console",
    ),
    Sign(
        r"Out of memory: Killed process \d+ \([^)]+\)[^\n]*|Kernel panic[^\n]*out of memory[^\n]*",
        "the machine ran out of memory",
        "give it more memory",
    ),
    Sign(
        r"No DHCPOFFERS received[^\n]*|DHCP(?:v4)?[^\n]*(?:timed out|[Nn]o lease)[^\n]*|udhcpc: no lease[^\n]*"
        r"|no lease, (?:failing|forking)[^\n]*|Timeout occured, unable to get a lease[^\n]*|no working leases[^\n]*",
        "no DHCP lease: the machine has no address",
        "the network has no DHCP server, or the system lacks the driver of this network card; try another nic",
        _UNREACHED,
    ),
    Sign(
        r"(?:FAILED|Failed)\W+(?:to start )?[^\n]*(?:wait-online|Raise network interfaces|networking\.service)[^\n]*",
        "the network did not come up",
        "the system configures another network card than the one it has; try another nic",
        _UNREACHED,
    ),
    Sign(
        r"sshd: no hostkeys available[^\n]*|Could not load host key[^\n]*|no host key files found[^\n]*",
        "sshd has no host key and does not start",
        "the image lost its host keys and nothing makes new ones at boot: add a unit that runs ssh-keygen -A",
        ("port", "banner", "host key"),
    ),
    Sign(
        _SSHD_FAILED,
        "sshd failed to start",
        "its configuration may be wrong (sshd -t), or it has no host key: does anything in the image make some?",
        ("port", "banner"),
    ),
)

_ESCAPES: Final = re.compile(r"\x1b\[[0-9;?=]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1bc|[\x00-\x08\x0b-\x1a\x1c-\x1f]")
_LOGIN: Final = re.compile(r"^\S*\s*login: *$", re.MULTILINE)


def clean(console: str) -> str:
    """Take terminal control out of a console's text."""
    return _ESCAPES.sub("", console.replace("\r\n", "\n").replace("\r", "\n"))


def diagnose(console: str, stage: Stage, last_error: str) -> Diagnosis:
    """Explain a wait that ran out.

    Args:
        console: all that the machine wrote on its console; may be empty.
        stage: the stage that it did not get past.
        last_error: the last attempt's reason.
    """
    text = clean(console)
    if stage in ("algorithms", "host key", "authentication"):
        return _refused(stage, last_error)  # sshd answers, so the machine runs: the console explains nothing
    if HANGS_UP in last_error:
        return Diagnosis(
            last_error,
            "its log says why: no host key of a kind that HostKeyAlgorithms allows, MaxStartups or PerSourcePenalties",
        )
    text = text[_last_boot(text) :]
    for sign in SIGNS:
        match = re.search(sign.pattern, text, re.MULTILINE)
        if match and (not sign.stages or stage in sign.stages):
            evidence = " ".join(match[0].split())
            return Diagnosis(f"{sign.verdict} (console: {evidence!r})", sign.hint)
    return _booting(text, stage, last_error)


def _last_boot(text: str) -> int:
    """Return where the last boot begins: an earlier panic is no explanation for what a machine does after a restart."""
    starts = [match.start() for match in re.finditer(r"^(?:\[ +0\.000000\] )?Linux version ", text, re.MULTILINE)]
    return starts[-1] if len(starts) > 1 else 0


def _refused(stage: Stage, last_error: str) -> Diagnosis:
    if stage == "algorithms":
        return Diagnosis(
            f"sshd and this host have no algorithm in common: {last_error}",
            "KexAlgorithms, Ciphers or MACs of the image's sshd are narrower than what paramiko knows: allow one of "
            "those, if only for this build's Match address",
        )
    if stage == "host key":
        return Diagnosis(
            f"sshd presented another host key: {last_error}",
            "possible interception; or the image kept its old key, or never took the one that it was given",
        )
    if "allowed types" in last_error and "publickey" not in last_error.partition("allowed types")[2]:
        return Diagnosis(
            f"sshd takes no key, or not a key alone: {last_error}",
            "PubkeyAuthentication no, or AuthenticationMethods, in sshd's configuration: let the user in with a key",
        )
    return Diagnosis(
        f"sshd refused the key: {last_error}",
        "the key did not reach the login user's authorized_keys: is the user right, and does the image take keys "
        "from its provider (cloud-init or the like)? Or sshd does not let that user in (PermitRootLogin, AllowUsers, "
        "AuthorizedKeysFile): @bakery.image(login=bakery.Login(user=...)) says as whom the tests log in",
    )


def sshd_is_down(text: str, *, silent: bool) -> bool:
    """Say whether a console tells that sshd does not start, and that nothing more is to be hoped for.

    Args:
        text: the console's.
        silent: whether it has been silent for long; else only many failures tell, where systemd tries for ever.
    """
    text = _ESCAPES.sub("", text)
    failures = len(re.findall(_SSHD_FAILED, text))
    return failures >= MANY or (silent and failures > 0 and _LOGIN.search(text) is not None)


def _booting(text: str, stage: Stage, last_error: str) -> Diagnosis:
    """No sign of a fault: say how far the boot came."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    hints: dict[Stage, Callable[[], str]] = {
        "address": lambda: "the provider gave no address: is the machine on a network with addresses to give?",
        "port": lambda: "a firewall or security group in between, no sshd in the image, or an address out of reach",
        "banner": lambda: "something accepts the connection, but no sshd answers: it has not started, or is too busy",
        "session": lambda: "the login shell or a forced command ends at once, or the disk is full",
    }
    hint = hints.get(stage, lambda: "look at the machine's console")()
    if not lines and stage != "session":  # whoever lets us in has a kernel
        silent = "no kernel wrote to it: is there a boot loader on the disk for this firmware? A screenshot may show "
        return Diagnosis(f"{last_error}; the console is silent", silent + "more; else " + hint)
    if _LOGIN.search(text):
        hint += "; or it listens on another port: @bakery.image(login=bakery.Login(port=...)) says so to the tests"
        return Diagnosis(f"{last_error}, though the system is up (its console shows a login prompt)", hint)
    if not lines:
        return Diagnosis(last_error, hint)
    return Diagnosis(f"{last_error}; still booting: last line {lines[-1][-200:]!r}", "allow more time, or " + hint)
