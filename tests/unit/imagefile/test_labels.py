"""Builds at once: bounded by memory, processors, jobs, and labels."""

from __future__ import annotations

import pytest

from bakery.build.capacity import Capacity
from bakery.errors import UsageError
from bakery.imagefile.labels import limits, parse, refuse_unknown
from bakery.model import Needs


@pytest.mark.parametrize(
    ("text", "label"), [("kvm", ("kvm", 1)), ("kvm:3", ("kvm", 3)), ("memory:8G", ("memory", 8 << 30))]
)
def test_a_label_is_a_name_and_a_number(text: str, label: tuple[str, int]) -> None:
    assert parse(text) == label


@pytest.mark.parametrize("text", ["", "kvm:", "kvm:0", "kvm:-1", "kvm:many", ":1", "a b"])
def test_what_is_no_label_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="as in kvm:1"):
        limits([text], {})


def test_the_hosts_limits_hold_where_the_command_line_sets_no_other() -> None:
    environ = {"BAKERY_LIMITS": "kvm:1, licence:2"}
    assert limits(["licence:5"], environ) == {"kvm": 1, "licence": 5}
    with pytest.raises(UsageError, match="BAKERY_LIMITS"):
        limits([], {"BAKERY_LIMITS": "kvm=1"})


def test_a_misspelt_limit_is_refused_with_what_was_meant() -> None:
    refuse_unknown(["licence:1"], {"licence", "qemu"})
    with pytest.raises(UsageError) as caught:
        refuse_unknown(["licens:1"], {"licence", "qemu"})
    assert caught.value.hint == "did you mean licence?"


def test_labels_bound_builds_and_are_given_back() -> None:
    capacity = Capacity(limits={"licence": 3, "cpus": 100, "memory": 1 << 40})
    two = Needs().taking({"licence": 2})
    assert capacity.take(two, "a")
    assert capacity.lacks(two) == "2 of 3 licence"
    assert not capacity.take(two, "b")
    assert capacity.take(Needs().taking({"licence": 1}), "c")
    assert capacity.take(Needs().taking({"other": 9}), "d")
    capacity.give_back("a")
    assert capacity.take(two, "b")


@pytest.mark.parametrize(
    ("limit", "needs", "lacking"),
    [
        ({"memory": 3 << 30}, Needs(memory=2 << 30), "2048 MiB of memory"),
        ({"cpus": 3}, Needs(cpus=2), "2 processors"),
    ],
)
def test_memory_and_processors_bound_builds_too(limit: dict[str, int], needs: Needs, lacking: str) -> None:
    capacity = Capacity(limits=limit)
    assert capacity.take(needs, "a")
    assert capacity.lacks(needs) == lacking
    assert not capacity.take(needs, "b")


def test_jobs_bound_builds() -> None:
    capacity = Capacity(2)
    assert [capacity.take(Needs(), name) for name in "abc"] == [True, True, False]


def test_one_build_always_fits_so_that_a_small_host_builds_one_after_the_other() -> None:
    capacity = Capacity(limits={"memory": 1, "cpus": 1})
    assert capacity.take(Needs(memory=1 << 40, cpus=64), "a")
    assert not capacity.take(Needs(memory=1 << 40, cpus=64), "b")
