"""VBoxManage's answers are read, whatever stands in front of and between them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakery.drivers.virtualbox.api import answers
from tests.unit.drivers.virtualbox.box import info
from tests.unit.drivers.virtualbox.recorded import ANSWERS


def test_a_version_is_found_behind_debians_warning() -> None:
    assert "WARNING" in ANSWERS["version"].stdout
    assert answers.version(ANSWERS["version"].stdout) == (7, 2, 22)


@pytest.mark.parametrize("text", ["", "WARNING: nothing", "linux-headers-6.1.0-amd64"])
def test_no_version_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="no version"):
        answers.version(text)


def test_a_machine_is_read_with_its_disks_port_and_serial_file() -> None:
    machine = answers.machine_info(ANSWERS["info"].stdout)
    assert (machine.name, machine.state) == ("web", "poweroff")
    assert machine.config == Path("/recorded/machines/web/web.vbox")
    assert machine.forwards == {"bakery-ssh": 22022}
    assert machine.attachments == {("disk", 0, 0): "/recorded/disk.vdi", ("disk", 1, 0): "/recorded/seed.iso"}
    assert machine.values["uartmode1"] == "file,/recorded/serial.log"
    assert machine.snapshots == {}


def test_a_snapshot_is_named_with_its_uuid() -> None:
    machine = answers.machine_info(ANSWERS["info_snapshot"].stdout)
    assert list(machine.snapshots) == ["clean"]
    assert len(machine.snapshots["clean"]) == 36


def test_snapshots_of_snapshots_are_all_there() -> None:
    text = info() + 'SnapshotName="a"\nSnapshotUUID="1"\nSnapshotName-1="b"\nSnapshotUUID-1="2"\n'
    assert answers.machine_info(text).snapshots == {"a": "1", "b": "2"}


def test_a_record_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="VMState"):
        answers.machine_info('name="x"\nUUID="y"\n')


def test_machines_are_listed_by_name_and_uuid() -> None:
    assert answers.machines(ANSWERS["vms_none"].stdout) == []
    assert answers.machines(ANSWERS["vms"].stdout) == [
        answers.MachineName("web", "8fd92fe8-17a6-4e42-946d-0cec6d104080")
    ]


def test_a_name_with_quotes_and_braces_is_kept() -> None:
    text = '"a "b" {c}" {8fd92fe8-17a6-4e42-946d-0cec6d104080}\n'
    assert [machine.name for machine in answers.machines(text)] == ['a "b" {c}']


def test_a_differencing_disk_names_its_parent() -> None:
    base, child = answers.media(ANSWERS["disks"].stdout)
    assert (base.parent, child.parent) == ("", base.uuid)
    assert base.location == Path("/recorded/disk.vdi")
    assert (base.state, base.format) == ("created", "VDI")


def test_cds_are_media_too() -> None:
    assert [medium.location.name for medium in answers.media(ANSWERS["cds"].stdout)] == ["seed.iso"]


def test_extra_data_are_read_by_key() -> None:
    assert answers.extra_data(ANSWERS["extra_data"].stdout) == {"bakery:run": "r1"}


def test_types_of_guests_are_read_in_the_form_of_7_2_and_of_7_0() -> None:
    assert {"Linux_64", "Debian12_64", "Windows11_64"} <= answers.os_types(ANSWERS["os_types"].stdout)
    assert answers.os_types("ID:          Other\nDescription: Other/Unknown\n\nID:          Linux_64\n") == {
        "Other",
        "Linux_64",
    }


@given(st.dictionaries(st.from_regex(r"[A-Za-z][A-Za-z0-9()]*", fullmatch=True), st.text("abc =,/{}'", max_size=9)))
def test_pairs_are_read_whatever_their_values(values: dict[str, str]) -> None:
    text = "WARNING: a line\n" + "".join(f'{key}="{value}"\n' for key, value in values.items())
    assert answers.pairs(text) == values


def test_guest_properties_are_read_by_name_whatever_their_values() -> None:
    assert answers.guest_properties(ANSWERS["guest_properties"].stdout) == ["/Example/lines", "/Example/role"]


def test_the_iso_of_the_guest_additions_is_where_virtualbox_says() -> None:
    iso = Path("/usr/share/virtualbox/VBoxGuestAdditions.iso")
    assert answers.additions(ANSWERS["system_properties"].stdout) == iso
    assert answers.additions("Default Guest Additions ISO:     /Applications/Virtual Box/X.iso\n") == Path(
        "/Applications/Virtual Box/X.iso"
    )


@pytest.mark.parametrize("text", ["Default Guest Additions ISO:     \nLogging Level: 3\n", ""])
def test_no_iso_is_none(text: str) -> None:
    assert answers.additions(text) is None
