"""Which paths of a system must be root's, and what nobody else may write: pure rules over lists of entries.

The offline inspection and the built-in smoke test, which looks from inside a machine, apply the same rules.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from bakery.disk.inspect.ext4_reader import DirectoryEntry
from bakery.disk.inspect.findings import Finding

FOLDERS: Final = (
    "/",
    "/bin",
    "/boot",
    "/etc",
    "/lib",
    "/root",
    "/sbin",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/libexec",
    "/usr/sbin",
    "/etc/cron.d",
    "/etc/cron.daily",
    "/etc/cron.hourly",
    "/etc/cron.monthly",
    "/etc/cron.weekly",
    "/etc/default",
    "/etc/init.d",
    "/etc/ld.so.conf.d",
    "/etc/pam.d",
    "/etc/profile.d",
    "/etc/security",
    "/etc/ssh",
    "/etc/ssh/sshd_config.d",
    "/etc/sudoers.d",
    "/etc/systemd",
    "/etc/systemd/system",
)
"""Folders whose owner decides what root runs; the files in those below /etc count as well."""
PROGRAMS: Final = ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin")
"""Root's PATH. A release unpacked by root keeps the builder's number, which is the first account's of the image."""
LOADED: Final = re.compile(
    r"(/usr)?(/local)?/lib\w*(/[^/]+-linux-[^/]+)?((/security)?/[^/]+\.so[\w.]*|/systemd/(system|system-generators)/[^/]+)"
)
"""What root's programs and systemd load from elsewhere: shared libraries, modules of PAM, units."""
OPEN: Final = ("/", "/bin", "/etc", "/lib", "/sbin", "/usr", "/usr/bin", "/usr/lib", "/usr/sbin", "/var", "/var/lib")
"""Folders that everybody must be able to enter, or no service can run as a user of its own."""
PUBLIC: Final = ("/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/ld.so.cache")
"""Files that everybody must be able to read, for the same reason."""
ACCOUNTS: Final = ("/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/sudoers")
VITAL: Final = (
    *ACCOUNTS,
    "/etc/sudo.conf",
    "/etc/login.defs",
    "/etc/profile",
    "/etc/environment",
    "/etc/fstab",
    "/etc/crontab",
    "/etc/ld.so.conf",
    "/etc/ld.so.preload",
    "/etc/ld.so.cache",
    "/etc/nsswitch.conf",
    "/etc/rc.local",
    "/etc/shells",
    *(
        f"{folder}/{name}"
        for folder in ("/bin", "/usr/bin")
        for name in ("bash", "dash", "env", "login", "mount", "passwd", "sh", "su", "sudo", "umount")
    ),
)
"""Files of root's: with one of them in other hands, those are root's hands."""
SECRET: Final = ("/etc/shadow", "/etc/gshadow", "/etc/shadow-", "/etc/gshadow-")
SHELLS: Final = re.compile(
    r"(ba|da|z|k|mk|c|tc|a|fi)?sh|busybox|env|find|awk|gawk|mawk|vim?(\.\w+)?|nano|ed|less|more"
    r"|(python|perl|ruby|lua|php|node|tclsh)[\d.]*"
)
"""Programs that run whatever they are told: setuid, each of them makes everybody root."""
HUMAN: Final = 1000
"""From here on, ids are people's (login.defs, `UID_MIN`): of this image, or of the host that it was made on."""
OTHERS_WRITE: Final = stat.S_IWOTH
GROUP_WRITE: Final = stat.S_IWGRP
SHOWN: Final = 3


def watched(path: str) -> bool:
    """Say whether a path is root's by these rules: a vital file, a vital folder, or a file in one below /etc."""
    folder = _folder(path)
    below_etc = folder.startswith("/etc/") and folder in FOLDERS
    return path in VITAL or path in FOLDERS or path in SECRET or below_etc


def judge(entries: Iterable[DirectoryEntry], shadow: int | None = None) -> Iterator[Finding]:
    """Apply all rules to a list of entries, each with its whole path.

    Args:
        entries: what there is; symbolic links, devices and sockets are passed over.
        shadow: the number of the group `shadow`, which may read what is root's alone elsewhere; None for no such group.
    """
    by_folder: dict[str, list[Finding]] = {}
    for entry in entries:
        if not (entry.is_file or entry.is_folder):
            continue
        yield from _owner(entry)
        yield from _setuid(entry)
        for finding in _mode(entry, shadow):
            if finding.fatal:
                yield finding
            else:
                by_folder.setdefault(_folder(entry.path), []).append(finding)
    yield from _grouped(by_folder)


def _folder(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _grouped(by_folder: Mapping[str, Sequence[Finding]]) -> Iterator[Finding]:
    """Say once for each folder what holds for many things in it, and nothing more below one that is named itself."""
    named = {finding.path for findings in by_folder.values() for finding in findings}
    for folder, findings in by_folder.items():
        if folder in named:
            continue
        if len(findings) <= SHOWN:
            yield from findings
        else:
            yield Finding("world-writable", folder, f"everybody can write {len(findings)} files and folders in it")


def _owner(entry: DirectoryEntry) -> Iterator[Finding]:
    runs = _folder(entry.path) in PROGRAMS or LOADED.fullmatch(entry.path) is not None
    program = runs and entry.uid >= HUMAN
    if (watched(entry.path) and entry.uid != 0) or program:
        yield Finding("owner", entry.path, f"must be root's, and belongs to the user id {entry.uid}")


def _mode(entry: DirectoryEntry, shadow: int | None) -> Iterator[Finding]:
    mode, shown = stat.S_IMODE(entry.mode), f"mode {stat.S_IMODE(entry.mode):04o}"
    if entry.path in SECRET and (mode & 0o007 or (entry.gid not in (0, shadow) and mode & 0o070) or mode & 0o030):
        yield Finding("mode", entry.path, f"holds password hashes, and others than root can read it ({shown})")
        return
    if entry.path in OPEN and entry.is_folder and not mode & stat.S_IXOTH:
        yield Finding("mode", entry.path, f"only root can enter it, so that services with a user cannot run ({shown})")
    if entry.path in PUBLIC and not mode & stat.S_IROTH:
        yield Finding("mode", entry.path, f"only root can read it, so that services with a user cannot run ({shown})")
    if mode & OTHERS_WRITE and not (entry.is_folder and mode & stat.S_ISVTX):
        yield _writable(entry, shown)
    elif watched(entry.path) and mode & GROUP_WRITE and entry.gid != 0:
        yield Finding("mode", entry.path, f"the group {entry.gid} can write it ({shown})")


def _writable(entry: DirectoryEntry, shown: str) -> Finding:
    what = "everybody can write it"
    if entry.is_folder:
        what += " and has no sticky bit: everybody can delete and replace what others have in it"
    places = ("/etc/", "/usr/", "/boot/", "/root/", "/bin/", "/sbin/", "/lib")
    system = watched(entry.path) or entry.path in OPEN or entry.path.startswith(places)
    shared = entry.is_folder and entry.path in ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108  the image's, not ours
    return Finding("mode" if system or shared else "world-writable", entry.path, f"{what} ({shown})")


def _setuid(entry: DirectoryEntry) -> Iterator[Finding]:
    if not entry.is_file or not entry.mode & (stat.S_ISUID | stat.S_ISGID):
        return
    what = f"runs as user id {entry.uid}" if entry.mode & stat.S_ISUID else f"runs as group id {entry.gid}"
    if entry.mode & OTHERS_WRITE or (entry.mode & GROUP_WRITE and entry.gid != 0):
        yield Finding("setuid", entry.path, f"{what}, and others can write it")
    elif entry.mode & stat.S_ISUID and entry.uid == 0 and SHELLS.fullmatch(entry.name):
        yield Finding("setuid", entry.path, f"{what} for everybody, and runs whatever it is told")
    elif entry.mode & stat.S_ISUID and entry.path.startswith(("/tmp/", "/var/tmp/", "/home/", "/root/", "/etc/")):  # noqa: S108
        yield Finding("setuid", entry.path, f"{what}, in a folder that holds no programs")
