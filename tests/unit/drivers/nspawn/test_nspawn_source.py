"""What a user may write in `Nspawn(...)`, and the virtual machine that follows from it."""

from __future__ import annotations

from typing import Any

import pytest

from bakery.disk.bases.debian import Debian
from bakery.drivers.nspawn.source import Nspawn, Rooted
from bakery.errors import ImagefileError


def test_the_smoke_tests_machine_has_the_shape_that_was_asked_for() -> None:
    source = Nspawn(base=Debian("bookworm"), memory="2G", cpus=1, firmware="uefi", format="raw")
    shape = source.shape("credentials")
    assert (shape.memory, shape.cpus, shape.firmware, shape.format) == (2 << 30, 1, "uefi", "raw")
    assert shape.login == "credentials"


def test_a_disk_size_is_read_as_bytes() -> None:
    assert Nspawn(base=None, disk="4G").disk_bytes == 4 << 30


@pytest.mark.parametrize(
    "wrong",
    [{"format": "vmdk"}, {"firmware": "openboot"}, {"disk": "large"}, {"memory": "1 cup"}, {"user": "debian"}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_value_that_does_not_exist_is_refused_where_it_is_written(wrong: dict[str, Any]) -> None:
    with pytest.raises(ImagefileError):
        Nspawn(base=None, **wrong)


def test_a_debian_base_can_be_had_as_a_tree_and_a_disk_cannot() -> None:
    assert isinstance(Debian("bookworm"), Rooted)
    assert not isinstance(object(), Rooted)
