"""An image that was made here becomes an appliance by way of a machine that is never started and does not stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bakery.drivers.virtualbox import publisher
from bakery.drivers.virtualbox.api.errors import VirtualBoxError
from bakery.model import Artifact
from bakery.publish import VirtualBox as Publisher
from bakery.testing.contract import RecordingLedger
from bakery.util import tools
from tests.unit.drivers.virtualbox.box import Reply, TableBox, info
from tests.unit.drivers.virtualbox.test_virtualbox_image import claim, exporting


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TableBox:
    """A VirtualBox that makes one machine in the claim's folder, and exports it."""
    config = tmp_path / "virtualbox" / "web" / "web.vbox"
    answers: dict[str, list[Reply]] = {
        "--version": ["7.2.22\n"],
        "showvminfo": [info("web", config=str(config))],
        "export": [exporting],
    }
    made = TableBox(replies=answers)
    monkeypatch.setattr(publisher, "way_in", lambda: made)

    def run(words: Sequence[str | Path], *_: Any, **__: Any) -> bytes:
        Path(words[-1]).write_bytes(b"vdi")
        return b""

    monkeypatch.setattr(tools, "run", run)
    return made


@pytest.fixture
def image(tmp_path: Path) -> Artifact:
    (tmp_path / "web.qcow2").write_bytes(b"disk")
    return Artifact(driver="qemu", id=str(tmp_path / "web.qcow2"), name="web", format="qcow2", key="k7")


def publish(tmp_path: Path, image: Artifact, **options: Any) -> tuple[Artifact, RecordingLedger]:
    ledger = RecordingLedger()
    under = replace(claim(tmp_path), ledger=ledger)
    return Publisher.from_settings(options).publish(image, "web", under), ledger


def test_the_machine_is_never_started_and_is_gone_when_the_appliance_is_there(
    tmp_path: Path, box: TableBox, image: Artifact
) -> None:
    made, ledger = publish(tmp_path, image, product={"vendor": "Example"})
    assert (made.driver, made.format, made.key) == ("virtualbox", "ova", "k7")
    assert made.path.read_bytes() == b"ova"
    assert "startvm" not in box.verbs()
    assert box.verbs().index("unregistervm") > box.verbs().index("export")
    assert {resource.kind for resource in ledger.resources.values()} == {"machine", "file"}
    assert not (tmp_path / "virtualbox").exists()


def test_it_has_no_connection_to_this_host(tmp_path: Path, box: TableBox, image: Artifact) -> None:
    publish(tmp_path, image)
    words = [word for call in box.asked for word in call]
    assert not [word for word in words if word.startswith(("--nat-pf", "--uart"))]
    assert "setextradata" not in words


def test_the_users_own_words_come_last(tmp_path: Path, box: TableBox, image: Artifact) -> None:
    publish(tmp_path, image, modifyvm=["--nested-hw-virt=on"])
    changes = [call for call in box.asked if call[0] == "modifyvm"]
    assert changes[-1][2:] == ("--nested-hw-virt=on",)


@pytest.mark.parametrize(
    "case", [("uefi", "bios", "efi"), ("bios", "bios", "bios"), ("uefi", "efi-secure", "efi"), ("bios", "efi", "efi")]
)
def test_an_image_that_boots_with_uefi_gets_it(
    tmp_path: Path, box: TableBox, image: Artifact, case: tuple[str, str, str]
) -> None:
    firmware, asked, word = case
    made, _ = publish(tmp_path, replace(image, settings={"firmware": firmware}), firmware=asked)
    (hardware,) = [call for call in box.asked if call[0] == "modifyvm" and "--ioapic=on" in call]
    assert f"--firmware={word}" in hardware
    assert made.settings["firmware"] == (asked if asked != "bios" else word)
    assert ("modifynvram" in box.verbs()) == (asked == "efi-secure")


def test_a_refused_export_leaves_a_machine_that_the_journal_knows(
    tmp_path: Path, box: TableBox, image: Artifact
) -> None:
    box.replies["export"] = [VirtualBoxError("the disk is full")]
    ledger = RecordingLedger()
    with pytest.raises(VirtualBoxError, match="full"):
        Publisher(base=None).publish(image, "web", replace(claim(tmp_path), ledger=ledger))
    assert {resource.kind for resource in ledger.resources.values()} == {"machine", "file"}


def test_what_stands_in_its_way_is_said_before(box: TableBox) -> None:
    box.replies["--version"] = ["6.1.0\n"]
    assert [problem.what for problem in Publisher(base=None).check() if "too old" in problem.what] != []
