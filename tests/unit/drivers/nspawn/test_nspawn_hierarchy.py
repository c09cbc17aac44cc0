"""The control groups that a tree's systemd can live with, and those that a host has."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bakery.drivers.nspawn import hierarchy, host

HostMounts = Callable[..., None]
UNIFIED = {"BAKERY_CGROUP2": "1"}


@pytest.fixture
def host_mounts(monkeypatch: pytest.MonkeyPatch) -> HostMounts:
    """Return what says which kinds of control groups this host mounts."""

    def say(*kinds: str) -> None:
        monkeypatch.setattr(hierarchy, "host_has", lambda kind: kind in kinds)

    return say


def tree(folder: Path, library: str) -> Path:
    path = folder / library
    path.parent.mkdir(parents=True)
    path.touch()
    return folder


@pytest.mark.parametrize(
    ("library", "version"),
    [
        ("usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-262.so", 262),  # Debian 14
        ("usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so", 252),
        ("lib/systemd/libsystemd-shared-247.so", 247),  # Debian 11
        ("usr/lib/systemd/libsystemd-shared-258.2-1.fc43.so", 258),
        ("usr/lib/systemd/libsystemd-shared-local.so", None),
        ("usr/lib/libsystemd.so.0", None),
    ],
)
def test_the_version_is_read_where_distributions_keep_it(tmp_path: Path, library: str, version: int | None) -> None:
    assert hierarchy.systemd_version([tree(tmp_path, library)]) == version


def test_a_systemd_that_a_task_has_installed_counts(tmp_path: Path) -> None:
    base = tree(tmp_path / "base", "usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so")
    saved = tree(tmp_path / "saved", "usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-257.so")
    assert hierarchy.systemd_version([saved, base]) == 257


def test_the_kernel_says_what_is_mounted(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "30 20 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
        "31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:5 - cgroup2 cgroup2 rw\n"
    )
    assert [hierarchy.host_has(kind, mounts) for kind in ("cgroup2", "cgroup")] == [True, False]


@pytest.mark.parametrize(
    ("version", "kinds", "expected"),
    [
        (262, ("cgroup", "cgroup2"), UNIFIED),
        (247, ("cgroup", "cgroup2"), UNIFIED),
        (219, ("cgroup", "cgroup2"), {}),  # knows no cgroup2
        (262, ("cgroup2",), {}),  # there is nothing to choose
        (252, ("cgroup",), {}),
    ],
)
def test_a_container_gets_the_unified_groups_where_both_are_mounted(
    tmp_path: Path, host_mounts: HostMounts, version: int, kinds: tuple[str, ...], expected: dict[str, str]
) -> None:
    host_mounts(*kinds)
    layer = tree(tmp_path, f"usr/lib/systemd/libsystemd-shared-{version}.so")
    assert hierarchy.environment([layer]) == expected


def test_a_systemd_that_refuses_what_the_host_has_is_not_booted(
    tmp_path: Path, host_mounts: HostMounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    host_mounts("cgroup")
    monkeypatch.setattr(host, "rootless", lambda: False)
    monkeypatch.setattr(host, "managed", lambda: True)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: "/usr/bin/it")
    (tree(tmp_path, "usr/lib/systemd/libsystemd-shared-262.so") / "usr/lib/systemd/systemd").touch()
    assert host.mode(tmp_path) == "plain"
    assert host.why_plain(tmp_path) == (
        "the base's systemd 262 wants the unified control groups (cgroup2), and this host mounts none"
    )
    host_mounts("cgroup", "cgroup2")
    assert host.mode(tmp_path) == "booted"
