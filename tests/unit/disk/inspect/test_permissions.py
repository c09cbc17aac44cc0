"""Owners and modes: what lets others rule a system, and what every sound system has."""

from __future__ import annotations

import stat

import pytest

from bakery.disk.inspect.ext4_reader import DirectoryEntry
from bakery.disk.inspect.permissions import judge

SHADOW = 42


def file(path: str, mode: int = 0o644, uid: int = 0, gid: int = 0) -> DirectoryEntry:
    return DirectoryEntry(path, 1, stat.S_IFREG | mode, 1, uid=uid, gid=gid)


def folder(path: str, mode: int = 0o755, uid: int = 0, gid: int = 0) -> DirectoryEntry:
    return DirectoryEntry(path, 1, stat.S_IFDIR | mode, 0, uid=uid, gid=gid)


def kinds(*entries: DirectoryEntry) -> list[tuple[str, str]]:
    return [(finding.kind, finding.path) for finding in judge(entries, SHADOW)]


@pytest.mark.parametrize(
    "entry",
    [
        folder("/"),
        folder("/etc"),
        folder("/tmp", 0o1777),
        folder("/var/log", 0o775, gid=104),  # Ubuntu: of the group syslog
        folder("/usr/local/bin", 0o2775, gid=50),  # Debian 11: of the group staff
        folder("/etc/polkit-1/rules.d", 0o750, gid=990),
        folder("/var/mail", 0o2775, gid=8),
        file("/etc/shadow", 0o640, gid=SHADOW),
        file("/etc/shadow", 0o000),  # Fedora
        file("/etc/sudoers", 0o440),
        file("/usr/bin/passwd", 0o4755),
        file("/usr/bin/at", 0o6755, uid=1, gid=1),  # Debian 11: of daemon
        file("/usr/bin/crontab", 0o2755, gid=101),
        file("/srv/app/data", 0o644, uid=1000, gid=1000),
        file("/etc/app/app.conf", 0o640, uid=1000, gid=1000),
        file("/opt/app/lib/libapp.so", uid=1000),
        file("/usr/local/lib/node_modules/app/index.js", uid=1000),
        file("/usr/lib/systemd/user/app.service.d/x.conf", uid=33),
        DirectoryEntry("/dev/null", 1, stat.S_IFCHR | 0o666, 0),
        DirectoryEntry("/etc/localtime", 1, stat.S_IFLNK | 0o777, 0),
        DirectoryEntry("/run/x.sock", 1, stat.S_IFSOCK | 0o777, 0),
    ],
    ids=lambda entry: f"{entry.path} {entry.mode:o} {entry.uid}",
)
def test_what_sound_systems_have_is_no_finding(entry: DirectoryEntry) -> None:
    assert kinds(entry) == []


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        (folder("/", uid=1000), "owner"),
        (folder("/etc", uid=1000, gid=1000), "owner"),
        (file("/etc/passwd", uid=1000), "owner"),
        (file("/etc/sudoers.d/90-app", 0o440, uid=1000), "owner"),
        (file("/usr/bin/passwd", 0o4755, uid=1000), "owner"),
        (file("/usr/bin/anything", 0o755, uid=100_000), "owner"),
        (folder("/usr/sbin", uid=3), "owner"),
        (file("/usr/local/bin/tool", 0o755, uid=1001), "owner"),
        (file("/usr/lib/x86_64-linux-gnu/libc.so.6", 0o755, uid=1000), "owner"),
        (file("/lib/x86_64-linux-gnu/security/pam_unix.so", uid=1000), "owner"),
        (file("/usr/lib64/libz.so.1.2.13", uid=1000), "owner"),
        (file("/usr/lib/systemd/system/ssh.service", uid=1000), "owner"),
        (folder("/", 0o700), "mode"),
        (folder("/etc", 0o700), "mode"),
        (file("/etc/passwd", 0o600), "mode"),
        (file("/etc/passwd", 0o664, gid=100), "mode"),
        (file("/etc/sudoers.d/app", 0o466), "mode"),
        (folder("/etc/cron.d", 0o777), "mode"),
        (folder("/usr/local/bin", 0o777), "mode"),
        (folder("/tmp", 0o777), "mode"),
        (folder("/var/tmp", 0o777), "mode"),
        (file("/etc/shadow", 0o644), "mode"),
        (file("/etc/shadow", 0o640, gid=100), "mode"),
        (file("/etc/gshadow-", 0o660, gid=SHADOW), "mode"),
        (file("/etc/app.conf", 0o666), "mode"),
        (file("/usr/bin/bash", 0o4755), "setuid"),
        (file("/opt/python3.11", 0o4755), "setuid"),
        (file("/opt/tool", 0o4757), "setuid"),
        (file("/opt/tool", 0o2775, gid=100), "setuid"),
        (file("/home/ann/tool", 0o4755), "setuid"),
        (folder("/srv/www", 0o777), "world-writable"),
        (file("/opt/app/run.sh", 0o777), "world-writable"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.path} {value.mode:o} {value.uid}",
)
def test_what_lets_others_rule_the_system_is_a_finding(entry: DirectoryEntry, kind: str) -> None:
    assert kind in {named for named, _ in kinds(entry)}


def test_a_setuid_program_that_all_can_write_is_named_in_both_ways() -> None:
    assert kinds(file("/usr/bin/su", 0o4757)) == [("setuid", "/usr/bin/su"), ("mode", "/usr/bin/su")]


def test_many_open_files_of_one_folder_are_said_once() -> None:
    assert kinds(*(file(f"/srv/app/{number}", 0o666) for number in range(50))) == [("world-writable", "/srv/app")]


def test_below_an_open_folder_nothing_more_is_said() -> None:
    below = (file(f"/srv/app/{number}", 0o666) for number in range(2))
    assert kinds(folder("/srv/app", 0o777), *below) == [("world-writable", "/srv/app")]


def test_where_there_is_no_shadow_group_nobody_but_root_reads_the_hashes() -> None:
    assert [finding.kind for finding in judge([file("/etc/shadow", 0o640, gid=SHADOW)], None)] == ["mode"]
