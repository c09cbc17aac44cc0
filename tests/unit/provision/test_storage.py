"""Filling the partitions of a layout: what the machine is asked to do, in which order."""

from __future__ import annotations

from typing import Any

import pytest

from bakery import Secret
from bakery.drivers import Partition, Volume
from bakery.errors import TaskError
from bakery.model import Result
from bakery.provision.storage import apply_layout
from bakery.testing import FakeMachine


def machine(*lacks: str) -> FakeMachine:
    """One that has all tools but these, and the partition /dev/vda9."""
    given: dict[Any, Any] = {
        **{f"command -v {tool}": Result(command="", exited=1) for tool in lacks},
        "sh -c *blkid --match-token*": "/dev/vda9\n",
        "blkid --match-tag*": "1234-abcd\n",
        "cryptsetup luksUUID*": "dead-beef\n",
        "*": "",
    }
    return FakeMachine(given)


def lines(m: FakeMachine) -> list[str]:
    return [asked.command if isinstance(asked.command, str) else " ".join(asked.command) for asked in m.ran]


def written(m: FakeMachine, file: str) -> list[str]:
    return [line for line in lines(m) if line.endswith(f" {file}")]


def test_a_partition_is_made_named_in_fstab_and_mounted() -> None:
    m = machine()
    apply_layout(m, [Partition("1G", mount="/srv", filesystem="xfs", options="noatime")], {})
    said = lines(m)
    assert "mkfs.xfs -q -f /dev/vda9" in said
    assert any("UUID=1234-abcd /srv xfs noatime 0 0" in line for line in written(m, "/etc/fstab"))
    assert any(line.endswith("/dev/vda9 xfs noatime /srv") for line in said)


def test_mount_points_inside_of_others_come_behind_them() -> None:
    m = machine()
    apply_layout(m, [Partition("1G", mount="/var/log"), Partition("1G", mount="/var")], {})
    mounted = [line.rsplit(" ", 1)[-1] for line in lines(m) if "mount --bind" in line]
    assert mounted == ["/var", "/var/log"]


def test_swap_is_written_down_and_not_used_while_the_image_is_built() -> None:
    m = machine()
    apply_layout(m, [Partition("1G", filesystem="swap")], {})
    assert "mkswap /dev/vda9" in lines(m)
    assert any("UUID=1234-abcd none swap defaults 0 0" in line for line in written(m, "/etc/fstab"))
    assert not any("swapon" in line for line in lines(m))


def test_the_volume_that_takes_the_rest_is_made_last() -> None:
    m = machine()
    volumes = [Volume(mount="/rest"), Volume("64M", mount="/small")]
    apply_layout(m, [Partition("1G", name="data", volumes=volumes)], {})
    made = [line for line in lines(m) if "lvcreate" in line]
    assert "--size 67108864b --name small data" in made[0]
    assert "--extents 100%FREE --name rest data" in made[1]
    assert any("/dev/data/small /small ext4 defaults 0 2" in line for line in written(m, "/etc/fstab"))


def test_a_passphrase_is_read_from_standard_input_and_nothing_waits_for_it_at_boot() -> None:
    m = machine()
    secret = Secret("correct-horse", "vault")
    apply_layout(m, [Partition("1G", mount="/vault", encrypted_by="vault")], {"vault": secret})
    inputs = {
        asked.input for asked in m.ran if "cryptsetup" in str(asked.command) and "--key-file" in str(asked.command)
    }
    assert inputs == {b"correct-horse"}
    assert not any("correct-horse" in line for line in lines(m))
    assert any("vault-open UUID=dead-beef none luks,noauto" in line for line in written(m, "/etc/crypttab"))
    assert any(
        "/dev/mapper/vault-open /vault ext4 defaults,noauto,nofail 0 2" in line for line in written(m, "/etc/fstab")
    )


def test_tools_that_the_machine_lacks_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[str] = []
    monkeypatch.setattr("bakery.provision.storage.packages", lambda _, name: installed.append(name))
    m = machine("mkfs.xfs", "lvm")
    layout = [Partition("1G", name="data", volumes=[Volume(mount="/a", filesystem="xfs")]), Partition("1G", mount="/b")]
    apply_layout(m, layout, {})
    assert installed == ["xfsprogs", "lvm2"]


def test_a_partition_that_is_not_there_is_an_error() -> None:
    m = FakeMachine({"sh -c *blkid --match-token*": "\n", "*": ""})
    with pytest.raises(TaskError, match="the partition srv is not there"):
        apply_layout(m, [Partition("1G", mount="/srv")], {})
