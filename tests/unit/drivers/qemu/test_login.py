"""How a machine is given its keys."""

from __future__ import annotations

import base64
import os
import re
import stat
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from bakery.drivers import cloudinit
from bakery.drivers.qemu import credentials
from bakery.drivers.qemu.command import SEED
from bakery.drivers.qemu.machine_spec import MachineSpec
from bakery.drivers.qemu.restore import script
from bakery.drivers.shared.console import host_key_from
from bakery.errors import DriverError, NotYet, SmokeError
from bakery.model import Login
from bakery.state.ssh_keys import Keys, make_keys

KEYS = make_keys("bakery-r")


def config(keys: Keys, user: str = "root") -> dict[str, Any]:
    text = cloudinit.user_data(keys, user=user)
    assert text.startswith("#cloud-config\n")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def test_user_data_give_the_host_key_as_it_is_line_by_line() -> None:
    assert config(KEYS)["ssh_keys"] == {"ed25519_private": KEYS.host_private, "ed25519_public": KEYS.host_public}
    assert config(KEYS)["ssh_deletekeys"] is True


def test_a_machine_with_a_seed_disk_finds_the_host_key_there_and_not_in_its_user_data(tmp_path: Path) -> None:
    text, path = cloudinit.user_data_for_seed(KEYS), tmp_path / "seed.iso"
    assert KEYS.host_private.splitlines()[1] not in text
    told = yaml.safe_load(text)
    assert (told["ssh_deletekeys"], told["ssh_genkeytypes"]) == (False, ["ed25519"])
    assert told["ssh_authorized_keys"] == [KEYS.user_public]
    cloudinit.seed(path, KEYS, instance="i-1", text=text, host_key=True)
    assert path.read_bytes().count(KEYS.host_private.encode()) == 1


def test_root_logs_in_without_an_account_that_would_stay_in_the_image() -> None:
    told = config(KEYS)
    assert told["disable_root"] is False
    assert told["users"] == []
    assert told["ssh_authorized_keys"] == [KEYS.user_public]


@pytest.mark.parametrize(
    ("shadow", "after"),
    [("root:!*::0:::::", "root:*::0:::::"), ("root:!::0:::::", "root:*::0:::::"), ("root:$6$x:1::", "root:$6$x:1::")],
)
def test_root_may_log_in_by_key_where_alpine_locks_it(shadow: str, after: str) -> None:
    """The expression is sed's, which for this one is Python's."""
    (unlock,) = config(KEYS)["bootcmd"]
    assert unlock[:3] == ["cloud-init-per", "instance", "bakery-root-login"]
    assert "/etc/alpine-release" in unlock[-1]
    _, found, put, _ = unlock[-1].split("/etc/alpine-release ] || ")[1].split("'")[1].split("/")
    assert re.sub(found, put, shadow) == after
    assert "bootcmd" not in config(KEYS, "admin")


def test_another_user_is_made_and_may_sudo() -> None:
    (account,) = config(KEYS, "admin")["users"]
    assert account["name"] == "admin"
    assert account["ssh_authorized_keys"] == [KEYS.user_public]


def test_more_user_data_win_over_ours() -> None:
    text = cloudinit.user_data(KEYS, extra={"users": ["default"], "package_update": True})
    assert yaml.safe_load(text)["users"] == ["default"]
    assert yaml.safe_load(text)["package_update"] is True


def test_a_seed_disk_is_labelled_and_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "seed.iso"
    cloudinit.seed(path, KEYS, instance="i-1")
    content = path.read_bytes()
    assert content[32808:32814] == b"cidata"
    assert b"instance-id: i-1" in content
    assert KEYS.user_public.encode() in content
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(content) >= cloudinit.LEAST


def test_a_seed_disk_is_written_anew_over_an_old_one(tmp_path: Path) -> None:
    path = tmp_path / "seed.iso"
    cloudinit.seed(path, KEYS, instance="i-1")
    cloudinit.seed(path, KEYS, instance="i-2", text="#!/bin/sh\ntrue\n")
    assert b"i-1" not in path.read_bytes()
    assert b"#!/bin/sh\ntrue\n" in path.read_bytes()


def test_credentials_hold_both_keys_and_are_closed_to_others(tmp_path: Path) -> None:
    files = credentials.prepare(MachineSpec(login="credentials"), KEYS, folder=tmp_path, instance="i-1")
    (path,) = (tmp_path / name for name in files)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    name, _, value = path.read_text().partition("=")
    assert name == "io.systemd.credential.binary:tmpfiles.extra"
    lines = base64.b64decode(value).decode().splitlines()
    written = {line.split()[1]: base64.b64decode(line.split()[-1]).decode() for line in lines if "~" in line.split()[0]}
    assert written["/root/.ssh/authorized_keys"] == KEYS.user_public + "\n"
    assert written["/etc/ssh/ssh_host_ed25519_key"] == KEYS.host_private
    assert written["/etc/ssh/ssh_host_ed25519_key.pub"] == KEYS.host_public + "\n"
    assert not (tmp_path / SEED).exists()


def test_credentials_are_for_root_alone(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="root only"):
        credentials.prepare(MachineSpec(login="credentials", user="app"), KEYS, folder=tmp_path, instance="i-1")


PRINTED = """\
[  OK  ] Reached target
ci-info: no authorized SSH keys
-----BEGIN SSH HOST KEY KEYS-----
ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY= root@web
ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDaEAEEBn+wcvHTFpCA4+Ruz90RKYpyti5cMuFWUVxbY root@web
-----END SSH HOST KEY KEYS-----
"""


def test_the_host_key_is_read_from_the_console_without_its_comment() -> None:
    key = host_key_from(PRINTED)
    assert key == "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDaEAEEBn+wcvHTFpCA4+Ruz90RKYpyti5cMuFWUVxbY"


def test_the_last_of_several_printed_host_keys_counts() -> None:
    newer = PRINTED.replace("IDaEAEEB", "INEWERNE")
    assert "INEWERNE" in host_key_from(PRINTED + newer)


@pytest.mark.parametrize("text", ["", "ssh-ed25519 AAAA not in a block", PRINTED[:150]])
def test_without_a_whole_block_nothing_is_trusted(text: str) -> None:
    with pytest.raises(NotYet, match="host key is not on the console yet"):
        host_key_from(text)


def test_a_restored_machine_is_told_the_time_before_anything_else() -> None:
    new = make_keys("bakery-s")
    text = script(KEYS, new, now=1_800_000_000.25, with_host_key=True)
    assert text.splitlines()[1].startswith("date -u -s @1800000000.25")
    assert new.host_private in text
    assert KEYS.host_private not in text
    assert KEYS.user_private not in text


def test_a_machine_with_a_host_key_of_its_own_keeps_it() -> None:
    assert "ssh_host" not in script(KEYS, make_keys("s"), now=1, with_host_key=False)


FAILED = "[\x1b[0;1;31mFAILED\x1b[0m] Failed to start \x1b[0;1;39mssh.service\x1b[0m - OpenBSD Secure Shell server.\n"
PROMPT = "Debian GNU/Linux 13 debian ttyS0\n\ndebian login: "


@pytest.mark.parametrize(
    ("text", "age", "fails"),
    [
        (FAILED + PROMPT, 90, True),
        (FAILED + PROMPT, 10, False),
        (FAILED, 90, False),
        (PROMPT, 90, False),
        (FAILED * 10, 0, True),
    ],
)
def test_an_image_whose_sshd_does_not_start_is_told_when_its_console_has_been_silent_for_a_minute(
    tmp_path: Path, text: str, age: float, fails: bool
) -> None:
    serial = tmp_path / "serial.log"
    credentials.must_let_in(serial)
    serial.write_text(text)
    os.utime(serial, (time.time() - age,) * 2)
    if not fails:
        credentials.must_let_in(serial)
        return
    with pytest.raises(SmokeError, match="nobody can log in to a machine of this image"):
        credentials.must_let_in(serial)


def test_a_machine_that_makes_its_own_host_key_is_given_none(tmp_path: Path) -> None:
    assert credentials.HOST_KEY not in credentials.tmpfiles(KEYS, host_key=False)
    assert KEYS.user_public.split()[1] not in credentials.tmpfiles(KEYS, host_key=False)  # it is coded
    assert "authorized_keys" in credentials.tmpfiles(KEYS, host_key=False)
    assert "ssh_keys" not in yaml.safe_load(cloudinit.user_data(KEYS, host_key=False))


def test_the_tests_enter_as_an_account_of_the_image_and_become_root_by_a_rule_of_that_machine() -> None:
    lines = credentials.tmpfiles(KEYS, host_key=False, user="deploy")
    assert "/root" not in lines
    assert "f /home/deploy/.ssh/authorized_keys 0600 deploy - -" in lines
    rule = next(line for line in lines.splitlines() if credentials.SUDO_RULE in line)
    assert base64.b64decode(rule.split()[-1]) == b"deploy ALL=(ALL:ALL) NOPASSWD: ALL\n"
    assert "d /srv/app/.ssh 0700 app - -" in credentials.tmpfiles(KEYS, user="app", home="/srv/app")


@pytest.mark.parametrize(
    ("entry", "planted"), [(Login(user="deploy"), "/home/deploy/"), (Login(user="deploy", key="/id"), "/root/")]
)
def test_a_debian_base_takes_keys_for_the_tests_user(tmp_path: Path, entry: Login, planted: str) -> None:
    shape = MachineSpec(login="credentials", user="deploy")
    credentials.prepare(shape, KEYS, folder=tmp_path, instance="i-1", entry=entry)
    credential = (tmp_path / credentials.CREDENTIALS).read_text().partition("extra=")[2]
    assert planted in base64.b64decode(credential).decode()
    with pytest.raises(DriverError, match="root only"):
        credentials.prepare(shape, KEYS, folder=tmp_path, instance="i-1")


def test_the_password_of_an_account_that_exists_is_left_alone() -> None:
    (account,) = yaml.safe_load(cloudinit.user_data(KEYS, user="deploy", exists=True))["users"]
    assert account["lock_passwd"] is False
