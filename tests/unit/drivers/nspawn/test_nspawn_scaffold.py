"""Files for the time of the build: there for the machine, never in the image."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from bakery.drivers.nspawn import build_time_files
from bakery.state.ssh_keys import Keys

KEYS = Keys(user_private="-", user_public="-", host_private="a private key\n", host_public="ssh-ed25519 AAAA")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    (folder / "etc/systemd/network").mkdir(parents=True)
    (folder / "usr/sbin").mkdir(parents=True)
    return folder


def built(base: Path, *, booted: bool = True) -> Path:
    folder = base.parent / "scaffold"
    build_time_files.build(folder, [base], KEYS, booted=booted)
    return folder


def test_networkd_is_told_to_keep_the_address_that_is_there(base: Path) -> None:
    text = (built(base) / "etc/systemd/network/10-bakery.network").read_text()
    assert build_time_files.ADDRESS in text
    assert "KeepConfiguration=static" in text


def test_where_resolved_fills_resolv_conf_it_is_left_alone(base: Path) -> None:
    (base / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    folder = built(base)
    assert not (folder / "etc/resolv.conf").exists()
    assert build_time_files.RESOLVER in (folder / "etc/systemd/resolved.conf.d/10-bakery.conf").read_text()


def test_any_other_resolv_conf_is_hidden_behind_one_that_works(base: Path) -> None:
    (base / "etc/resolv.conf").write_text("nameserver 192.0.2.1\n")
    assert (built(base) / "etc/resolv.conf").read_text() == "nameserver 10.0.2.3\n"


def test_without_systemd_no_package_starts_its_service(base: Path) -> None:
    (base / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    folder = built(base, booted=False)
    policy = folder / "usr/sbin/policy-rc.d"
    assert policy.read_text().endswith("exit 101\n")
    assert stat.S_IMODE(policy.stat().st_mode) == 0o755
    assert (folder / "etc/resolv.conf").read_text() == "nameserver 10.0.2.3\n"
    assert not (folder / "etc/systemd").exists()


def test_folders_look_as_they_do_below(base: Path) -> None:
    (base / "etc").chmod(0o750)
    folder = built(base)
    assert stat.S_IMODE((folder / "etc").stat().st_mode) == 0o750
    assert (folder / "etc").stat().st_mtime_ns == (base / "etc").stat().st_mtime_ns


def test_sshd_has_a_host_key_that_nobody_else_can_read(base: Path) -> None:
    (base / "etc/ssh").mkdir()
    key = built(base) / "etc/ssh/ssh_host_ed25519_key"
    assert key.read_text() == KEYS.host_private
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.with_suffix(".pub").read_text() == "ssh-ed25519 AAAA\n"


def test_a_base_without_sshd_gets_no_host_key(base: Path) -> None:
    assert not (built(base) / "etc/ssh").exists()
