"""What a machine says of itself for reports: its packages, and how it booted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakery.machine import boot_times, packages
from bakery.machine.packages import Changes

# ---- packages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("nginx|1.22.1-9\nopenssl|3.0.11\n", {"nginx": "1.22.1-9", "openssl": "3.0.11"}),
        ("kernel.x86_64|6.1-1\nkernel.x86_64|6.2-1\n", {"kernel.x86_64": "6.1-1, 6.2-1"}),
        ("rubbish\n|\n x | \nfine|1\n", {"fine": "1"}),
    ],
)
def test_a_list_is_read(text: str, found: dict[str, str]) -> None:
    assert packages.parse(text) == found


def test_two_lists_are_compared() -> None:
    before = {"nginx": "1.22", "openssl": "3.0.11", "vim": "9"}
    now = {"nginx": "1.22", "openssl": "3.0.13", "curl": "8"}
    assert packages.changes(before, now) == Changes(
        added=("curl 8",), removed=("vim 9",), changed=("openssl 3.0.11 -> 3.0.13",)
    )


listed = st.dictionaries(st.text("abc", min_size=1), st.text("123.", min_size=1), max_size=6)


@given(listed, listed)
def test_of_every_package_that_differs_something_is_said(before: dict[str, str], now: dict[str, str]) -> None:
    found = packages.changes(before, now)
    told = {line.split()[0] for line in (*found.added, *found.removed, *found.changed)}
    assert told == {name for name in {**before, **now} if before.get(name) != now.get(name)}


# ---- the boot -------------------------------------------------------------------------------------------------------

HEAD = """FirmwareTimestampMonotonic={firmware}
LoaderTimestampMonotonic={loader}
InitRDTimestampMonotonic={initrd}
UserspaceTimestampMonotonic=4000000
FinishTimestampMonotonic={finish}
"""
UNITS = """
Id=late.service
InactiveExitTimestampMonotonic=8000000
ActiveEnterTimestampMonotonic=9500000

Id=nginx.service
InactiveExitTimestampMonotonic=5000000
ActiveEnterTimestampMonotonic=6200000

Id=quick.service
InactiveExitTimestampMonotonic=5000000
ActiveEnterTimestampMonotonic=5010000

Id=never.service
InactiveExitTimestampMonotonic=0
ActiveEnterTimestampMonotonic=0

Id=afterwards.service
InactiveExitTimestampMonotonic=99000000
ActiveEnterTimestampMonotonic=99900000
"""


def booted(**more: int) -> boot_times.BootTimes:
    values = {"firmware": 0, "loader": 0, "initrd": 0, "finish": 10_000_000, **more}
    return boot_times.parse(HEAD.format(**values) + UNITS)


def test_a_boot_has_stages_and_the_units_that_took_time() -> None:
    found = booted(firmware=3_500_000, loader=1_500_000, initrd=1_000_000)
    assert found.stages == (
        ("firmware", 2.0),
        ("loader", 1.5),
        ("kernel", 1.0),
        ("initrd", 3.0),
        ("userspace", 6.0),
    )
    assert found.units == (("nginx.service", 5.0, 1.2), ("late.service", 8.0, 1.5))


def test_without_firmware_and_initrd_there_are_fewer_stages() -> None:
    assert booted().stages == (("kernel", 4.0), ("userspace", 6.0))


@pytest.mark.parametrize("text", ["", "\n\n", "FinishTimestampMonotonic=0", "rubbish", "FinishTimestampMonotonic=x"])
def test_a_boot_that_has_not_ended_has_no_figures(text: str) -> None:
    assert boot_times.parse(text) == boot_times.BootTimes()


def test_no_more_units_are_shown_than_can_be_looked_at() -> None:
    unit = "\nId=u{n}.service\nInactiveExitTimestampMonotonic={n}00000\nActiveEnterTimestampMonotonic=9000000\n"
    text = HEAD.format(firmware=0, loader=0, initrd=0, finish=10_000_000)
    found = boot_times.parse(text + "".join(unit.format(n=number) for number in range(1, 80)))
    assert len(found.units) == boot_times.MOST
    assert [unit[1] for unit in found.units] == sorted(unit[1] for unit in found.units)
