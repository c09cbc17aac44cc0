"""Options of a wrong kind are refused with what they should be."""

from __future__ import annotations

from typing import Any

import pytest

from bakery.drivers import Qemu, VirtualBox
from bakery.errors import ImagefileError


@pytest.mark.parametrize(
    ("option", "value", "wanted"),
    [
        ("cpus", "2", "a whole number"),
        ("cpus", 1.5, "a whole number"),
        ("cpus", True, "a whole number"),
        ("gui", "yes", "True or False"),
        ("shutdown_timeout", "5m", "a number"),
        ("os_type", 64, "a text"),
        ("extra_data", "x", "a dictionary"),
        ("guest_properties", ["/a"], "a dictionary"),
    ],
)
def test_a_value_of_a_wrong_kind_is_refused(option: str, value: Any, wanted: str) -> None:
    with pytest.raises(ImagefileError) as caught:
        VirtualBox(base=None, **{option: value})
    assert f"VirtualBox({option}={value!r})" in caught.value.what
    assert wanted in caught.value.hint


@pytest.mark.parametrize(("given", "wrong"), [({"version": 1.2}, "1.2"), ({5: "x"}, "5"), ({"eula": None}, "None")])
def test_what_is_in_a_dictionary_of_texts_is_looked_at_too(given: Any, wrong: str) -> None:
    for option in ("product", "extra_data", "credentials"):
        with pytest.raises(ImagefileError) as caught:
            VirtualBox(base=None, **{option: given})
        assert f"VirtualBox({option}=...): {wrong} is no text" in caught.value.what
        assert '{"name": "value"}' in caught.value.hint


def test_it_is_the_same_with_the_other_machines_of_this_host() -> None:
    wrong: Any = "2"
    with pytest.raises(ImagefileError, match="cpus='2'"):
        Qemu(base=None, cpus=wrong)


def test_whole_numbers_are_numbers_too() -> None:
    assert VirtualBox(base=None, shutdown_timeout=5).shutdown_timeout == 5
