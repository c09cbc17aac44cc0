"""Where control groups can be made, read from what the kernel says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bakery.drivers.nspawn import host


def write(folder: Path, mounts: list[tuple[Path, str, str]], own: str) -> tuple[Path, Path]:
    lines = [f"{n} 31 0:{n} / {at} rw,relatime - {kind} {kind} {opts}" for n, (at, kind, opts) in enumerate(mounts)]
    (folder / "mountinfo").write_text("".join(f"{line}\n" for line in lines))
    (folder / "cgroup").write_text(own)
    return folder / "mountinfo", folder / "cgroup"


def test_the_unified_hierarchy_is_enough(tmp_path: Path) -> None:
    group = tmp_path / "fs" / "user.slice"
    group.mkdir(parents=True)
    found = host.cgroup_parents(*write(tmp_path, [(tmp_path / "fs", "cgroup2", "rw")], "0::/user.slice\n"))
    assert found == [group]


def test_with_several_hierarchies_systemds_own_is_taken_too_and_the_controllers_are_not(tmp_path: Path) -> None:
    for name in ("unified", "systemd", "cpu"):
        (tmp_path / name).mkdir()
    mounts = [
        (tmp_path / "cpu", "cgroup", "rw,cpu"),
        (tmp_path / "systemd", "cgroup", "rw,name=systemd"),
        (tmp_path / "unified", "cgroup2", "rw"),
    ]
    found = host.cgroup_parents(*write(tmp_path, mounts, "3:cpu:/\n1:name=systemd:/\n0::/\n"))
    assert found == [tmp_path / "systemd", tmp_path / "unified"]


def test_a_group_that_is_not_there_is_no_place_for_another(tmp_path: Path) -> None:
    (tmp_path / "fs").mkdir()
    assert host.cgroup_parents(*write(tmp_path, [(tmp_path / "fs", "cgroup2", "rw")], "0::/gone\n")) == []


def test_a_base_without_systemd_is_not_booted_and_the_reason_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "rootless", lambda: False)
    monkeypatch.setattr(host, "managed", lambda: True)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: "/usr/bin/it")
    assert host.why_plain(tmp_path) == "the base has no systemd"
    (tmp_path / "usr/lib/systemd").mkdir(parents=True)
    (tmp_path / "usr/lib/systemd/systemd").touch()
    assert host.mode(tmp_path) == "booted"


def test_somebody_who_is_not_root_gets_a_plain_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "rootless", lambda: True)
    assert host.mode() == "plain"
    assert "root" in host.why_plain()


def test_what_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "rootless", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    problems = {problem.what: problem for problem in host.problems()}
    assert problems["slirp4netns is not installed"].hint == "apt install slirp4netns"
    assert not problems["tasks will run without systemd inside"].fatal
