"""How many builds run at once: bounded by what the host has, by --jobs and by labels; one always fits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bakery.build import capacity
from bakery.build.capacity import Capacity, cpus, memory
from bakery.model import Needs

GIB = 1 << 30


def test_one_build_always_fits_however_large() -> None:
    room = Capacity(jobs=1, limits={"memory": 1, "cpus": 1, "gpu": 0})
    assert room.take(Needs(memory=64 * GIB, cpus=64, labels=(("gpu", 2),)), "large")


@pytest.mark.parametrize(
    ("limits", "needs", "lacks"),
    [
        ({"memory": 3 * GIB}, Needs(memory=2 * GIB), "2048 MiB of memory"),
        ({"cpus": 3}, Needs(cpus=2), "2 processors"),
        ({"licence": 1}, Needs(labels=(("licence", 1),)), "1 of 1 licence"),
        ({"gpu": 3}, Needs(labels=(("gpu", 2),)), "2 of 3 gpu"),
    ],
)
def test_a_second_one_waits_for_what_there_is_too_little_of(limits: dict[str, int], needs: Needs, lacks: str) -> None:
    room = Capacity(limits=limits)
    assert room.take(needs, "first")
    assert room.lacks(needs) == lacks
    assert not room.take(needs, "second")
    room.give_back("first")
    assert room.take(needs, "second")


def test_jobs_bound_builds_that_need_nothing() -> None:
    room = Capacity(jobs=2)
    assert [room.take(Needs(), name) for name in "abc"] == [True, True, False]
    assert room.lacks(Needs()) == "one of 2 jobs"


def test_a_label_without_a_limit_bounds_nobody() -> None:
    room = Capacity(jobs=None)
    assert all(room.take(Needs(labels=(("licence", 5),)), name) for name in "abc")


def test_what_this_host_has_bounds_where_the_user_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "memory", lambda: 4 * GIB)
    monkeypatch.setattr(capacity, "cpus", lambda: 2)
    room = Capacity()
    assert room.take(Needs(memory=2 * GIB, cpus=1), "a")
    assert room.lacks(Needs(memory=2 * GIB)) == "2048 MiB of memory"  # something is left for the host itself
    assert room.lacks(Needs(cpus=4)) == "4 processors"
    assert room.lacks(Needs(cpus=3)) == ""


def test_memory_is_what_the_kernel_says_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "MemTotal: 9 kB\nMemAvailable:  2048 kB\n")
    assert memory() == 2 << 20


def test_elsewhere_than_on_linux_half_of_all_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}[name])
    assert memory() == 2_048_000
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cpus() == 1
