"""Machines as they were after a step: saved, and read back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bakery.drivers.qemu import checkpoints
from bakery.drivers.qemu.driver import QemuDriver
from bakery.drivers.qemu.layers import Layers
from bakery.drivers.qemu.machine_spec import MachineIdentity, MachineSpec
from bakery.drivers.qemu.restore import script
from bakery.errors import DriverError, NotYet
from bakery.model import Checkpoint, Handle, from_json
from bakery.state.claim import Claim
from bakery.state.ssh_keys import make_keys
from tests.unit.drivers.qemu.fake_qemu import FakeQemu

IDENTITY = MachineIdentity(accel="tcg", uuid="u", mac="52:54:00:00:00:01", instance="i")


# ---- checkpoints ---------------------------------------------------------------------------------------------------


@pytest.fixture
def saving(qemu: FakeQemu, tmp_path: Path) -> FakeQemu:
    """A QEMU that knows its disk, and writes its memory when told to migrate."""
    qemu.answers["query-block"] = [
        {"qdev": "/machine/peripheral/seed/virtio-backend", "inserted": {"node-name": "seed.iso"}},
        {"qdev": "/machine/peripheral/root/virtio-backend", "inserted": {"node-name": "disk"}},
    ]
    qemu.answers["query-migrate"] = {"status": "active"}

    def migrate(uri: str) -> None:
        assert uri.startswith("exec:umask 077; zstd ")
        (tmp_path / "step" / checkpoints.MEMORY).write_bytes(b"memory")

    qemu.answers["migrate"] = migrate
    return qemu


def save(handle: Handle, claim: Claim, folder: Path) -> Checkpoint:
    return checkpoints.save(handle, "key", folder, claim, host_key="ssh-ed25519 AAAA")


def test_a_checkpoint_takes_the_layer_and_the_machine_writes_on_to_another(
    saving: FakeQemu, handle: Handle, claim: Claim, folder: Path, tmp_path: Path
) -> None:
    checkpoint = save(handle, claim, tmp_path / "step")
    assert {path.name for path in (tmp_path / "step").iterdir()} == {"disk.qcow2", "memory", "keys.json"}
    assert (tmp_path / "step").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "step" / "disk.qcow2").stat().st_mode & 0o777 == 0o400
    grown = Layers.read(folder)
    assert [Path(layer.file).name for layer in grown.all(folder)] == ["base.qcow2", "disk.qcow2", "disk-2.qcow2"]
    saved = from_json(checkpoints.Saved, json.loads(json.dumps(checkpoint.settings)))
    assert (saved.layers, saved.qemu, saved.identity.uuid) == (grown.shared, "7.2.1 Debian", "u")
    assert from_json(checkpoints.Saved, saved.to_json()) == saved
    assert saving.status == "running"
    orders = [name for name in saving.questions if not name.startswith("query")]
    assert orders == ["stop", "blockdev-add", "blockdev-snapshot", "migrate-set-parameters", "migrate", "cont"]
    snapshot = dict(saving.asked)["blockdev-snapshot"]
    assert snapshot == {"node": "disk", "overlay": "disk-2.qcow2"}


def test_a_second_checkpoint_stands_on_the_first(
    saving: FakeQemu, handle: Handle, claim: Claim, folder: Path, tmp_path: Path
) -> None:
    save(handle, claim, tmp_path / "step")
    saving.answers["query-block"][1]["inserted"]["node-name"] = "disk-2.qcow2"
    saving.answers["migrate"] = lambda uri: (tmp_path / "two" / "memory").touch() if uri else None
    save(handle, claim, tmp_path / "two")
    names = [Path(layer.file).parent.name for layer in Layers.read(folder).all(folder)]
    assert names == [tmp_path.name, "step", "two", "machine"]
    with pytest.raises(DriverError, match="there is a checkpoint already"):
        save(handle, claim, tmp_path / "two")


@pytest.mark.parametrize("failure", ["failed", "refused", "dead"])
def test_a_memory_that_is_not_saved_leaves_the_machine_its_disk_and_running(
    saving: FakeQemu, handle: Handle, claim: Claim, tmp_path: Path, failure: str
) -> None:
    saving.answers["migrate"] = {}
    if failure == "failed":
        saving.answers["query-migrate"] = {"status": "failed", "error-desc": "zstd: No space left on device"}
    elif failure == "refused":
        saving.refuse("migrate", "there is a device that cannot be migrated")
    else:

        def die() -> Exception:
            saving.is_alive = False
            return NotYet("gone")

        saving.answers["query-migrate"] = die
    with pytest.raises(DriverError) as raised:
        save(handle, claim, tmp_path / "step")
    said = {
        "failed": "zstd: No space left on device",
        "refused": "there is a device that cannot be migrated",
        "dead": "it left no words",
    }
    assert raised.value.why == said[failure]
    layers = Layers.read(handle.folder).all(handle.folder)
    assert [Path(layer.file).name for layer in layers] == ["base.qcow2", "disk-1.qcow2", "disk-2.qcow2"]
    assert all(Path(layer.file).exists() for layer in layers), "whoever owns the checkpoint's folder may delete it"
    if failure != "dead":
        assert "migrate_cancel" in saving.questions
        assert saving.questions[-1] == "cont"
        with pytest.raises(DriverError, match="no checkpoint of this machine is possible"):
            save(handle, claim, tmp_path / "again")


def test_a_disk_that_qemu_does_not_know_is_not_frozen(
    saving: FakeQemu, handle: Handle, claim: Claim, tmp_path: Path
) -> None:
    saving.answers["query-block"] = [{"qdev": "/machine/peripheral/root", "inserted": {"node-name": "#block123"}}]
    with pytest.raises(DriverError, match="QEMU does not know its disk"):
        save(handle, claim, tmp_path / "step")
    assert saving.status == "running"


@pytest.fixture
def saved() -> checkpoints.Saved:
    return checkpoints.Saved(
        shape=MachineSpec(accel="tcg", login="credentials"),
        identity=IDENTITY,
        layers=(),
        host_key="ssh-ed25519 AAAA",
        qemu="7.2.1 Debian",
    )


def test_memory_is_read_back_and_the_machine_runs_on(
    qemu: FakeQemu, handle: Handle, claim: Claim, saved: checkpoints.Saved, tmp_path: Path
) -> None:
    states = iter(["none", "active", "completed"])
    qemu.answers["query-migrate"] = lambda: {"status": next(states)}
    qemu.status = "inmigrate"
    checkpoints.load(handle, tmp_path / "a b", saved, claim)
    assert qemu.status == "running"
    assert dict(qemu.asked)["migrate-incoming"] == {"uri": f"exec:exec zstd -q -d -c '{tmp_path}/a b/memory'"}


def test_memory_of_another_qemu_is_not_trusted(
    qemu: FakeQemu, handle: Handle, claim: Claim, saved: checkpoints.Saved, tmp_path: Path
) -> None:
    with pytest.raises(DriverError, match="made by another QEMU") as raised:
        checkpoints.load(handle, tmp_path, replace(saved, qemu="6.2.0"), claim)
    assert raised.value.why == "6.2.0; this is 7.2.1 Debian"
    assert "migrate-incoming" not in qemu.questions


def test_memory_that_cannot_be_read_is_an_error(
    qemu: FakeQemu, handle: Handle, claim: Claim, saved: checkpoints.Saved, tmp_path: Path
) -> None:
    qemu.answers["query-migrate"] = {"status": "failed", "error-desc": "load of migration failed"}
    with pytest.raises(DriverError, match="the memory cannot be restored") as raised:
        checkpoints.load(handle, tmp_path, saved, claim)
    assert raised.value.why == "load of migration failed"


def test_a_checkpoint_without_files_cannot_be_launched(claim: Claim) -> None:
    with pytest.raises(DriverError, match="has no files"):
        QemuDriver().launch(Checkpoint(driver="qemu", key="k"), claim)


@pytest.mark.parametrize("with_host_key", [True, False])
def test_a_restored_machine_gets_the_time_fresh_chance_and_this_runs_keys(with_host_key: bool) -> None:
    old, new = make_keys("bakery-old"), make_keys("bakery-new")
    text = script(old, new, now=1234.5, with_host_key=with_host_key)
    assert "date -u -s @1234.50" in text
    assert f"old='{' '.join(old.user_public.split()[:2])}'" in text
    assert f"new='{new.user_public}'" in text
    assert (new.host_private in text) is with_host_key
    assert text.index("date -u") < text.index("urandom") < text.index("authorized_keys")
    assert script(old, new, now=1, with_host_key=False) != script(old, new, now=1, with_host_key=False)
