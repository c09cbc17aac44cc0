"""Passphrases of encrypted partitions are looked for before anything is made."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from bakery import Secret
from bakery.build import disk_layout
from bakery.drivers import Debian, Disk, Nspawn, Partition, Qemu
from bakery.model import Artifact
from bakery.provision import storage

LAYOUT = [Partition("1G", mount="/vault", encrypted_by="vault"), Partition("1G", mount="/srv")]


@contextmanager
def phase(name: str) -> Generator[None]:
    assert name == "layout"
    yield


def job(disk: Any, **secrets: Secret) -> Any:
    boot = Qemu(base=Debian("bookworm"), disk=disk)
    return SimpleNamespace(
        build=SimpleNamespace(boot=boot, driver="qemu"), secrets=secrets, missing_secrets={"late": "VAULT is empty"}
    )


def test_a_passphrase_is_a_secret_that_somebody_gave() -> None:
    assert not [*disk_layout.check(job(Disk("9G", LAYOUT), vault=Secret("correct-horse", "vault")))]
    (problem,) = disk_layout.check(job(Disk("9G", LAYOUT)))
    assert "encrypted_by='vault'" in problem.what
    assert "bakery.secret" in problem.why
    (late,) = disk_layout.check(job(Disk("9G", [Partition("1G", encrypted_by="late")])))
    assert late.why == "VAULT is empty"
    assert not [*disk_layout.check(job("9G"))]


def test_a_machine_gets_its_partitions_where_it_has_some(monkeypatch: pytest.MonkeyPatch) -> None:
    applied: list[Any] = []
    monkeypatch.setattr(storage, "apply_layout", lambda *given: applied.append(given))
    running: Any = SimpleNamespace(machine=SimpleNamespace(for_step=lambda name: name))
    for disk in ("9G", Disk("9G"), Disk("9G", LAYOUT)):
        scope: Any = SimpleNamespace(job=job(disk), phase=phase)
        disk_layout.enter(scope, running)
    assert applied == [("disk layout", LAYOUT, {})]


def test_the_partitions_of_all_disks_are_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    applied: list[Any] = []
    monkeypatch.setattr(storage, "apply_layout", lambda *given: applied.append(given[1]))
    running: Any = SimpleNamespace(machine=SimpleNamespace(for_step=lambda name: name))
    other = Partition("1G", mount="/data")
    boot = Qemu(base=Debian("bookworm"), disk=Disk("9G", LAYOUT), disks=(Disk("2G", [other]), Disk("1G")))
    scope: Any = SimpleNamespace(job=SimpleNamespace(build=SimpleNamespace(boot=boot), secrets={}), phase=phase)
    disk_layout.enter(scope, running)
    assert applied == [[*LAYOUT, other]]


def test_a_base_whose_further_disks_would_be_lost_is_refused() -> None:
    golden = Artifact(driver="qemu", id="/i/golden.qcow2", name="golden", data={"disks": [{"name": "disk2"}]})
    for boot, driver, count in ((Nspawn(base=golden), "nspawn", 1), (Qemu(base=golden), "qemu", 0)):
        made: Any = SimpleNamespace(build=SimpleNamespace(boot=boot, driver=driver), secrets={})
        assert len([*disk_layout.check(made)]) == count
