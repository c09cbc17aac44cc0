"""What workers offer, and what builds take."""

from __future__ import annotations

import pytest

from bakery import __version__
from bakery.build.cluster import offers
from bakery.build.cluster.offers import Offer, demand, lacks, refuse_homeless
from bakery.errors import PreflightError

SMALL = Offer(slots=2, memory=4 << 30, cpus=4, labels={"kvm": 1}, drivers=("nspawn", "qemu"), arch="x86_64")
LARGE = Offer(slots=2, memory=64 << 30, cpus=32, labels={}, drivers=("qemu",), arch="aarch64", secrets=("TOKEN",))


def test_a_build_fits_where_all_that_it_takes_is_there() -> None:
    needed = demand(driver="nspawn", memory=1 << 30, cpus=1, labels={"kvm": 1})
    assert lacks(needed, SMALL.resources()) == []
    assert lacks(needed, LARGE.resources()) == ["the driver nspawn", "1 kvm (it has 0)"]


def test_what_a_worker_lacks_is_said_in_the_words_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = demand(driver="qemu", memory=8 << 30, cpus=8, labels={"kvm": 2}, secrets=["TOKEN"])
    assert lacks(needed, SMALL.resources()) == [
        "8.0 GiB memory (it has 4.0 GiB)",
        "8 cpus (it has 4)",
        "2 kvm (it has 1)",
        "the secret TOKEN in its environment",
    ]
    monkeypatch.setattr(offers, "__version__", "9.9")
    assert lacks(demand(driver="qemu", memory=0, cpus=0, labels={}), LARGE.resources()) == []  # its offer is as new


def test_another_version_of_bakery_is_said() -> None:
    offered = {name: count for name, count in SMALL.resources().items() if not name.startswith("bakery ")}
    missing = lacks(demand(driver="qemu", memory=0, cpus=0, labels={}), {**offered, "bakery 0.0.1": 1.0})
    assert missing == [f"bakery {__version__} (it has 0.0.1)"]


def test_builds_that_nobody_can_take_are_an_error_that_names_what_each_worker_lacks() -> None:
    builds = {
        "web": demand(driver="qemu", memory=1 << 30, cpus=1, labels={}),
        "big": demand(driver="qemu", memory=100 << 30, cpus=1, labels={}),
    }
    with pytest.raises(PreflightError) as raised:
        refuse_homeless(builds, {"a on h1": SMALL.resources(), "b on h2": LARGE.resources()})
    assert raised.value.what == "no worker of the cluster can take big"
    assert raised.value.why.splitlines() == [
        "big: a on h1 lacks 100.0 GiB memory (it has 4.0 GiB)",
        "big: b on h2 lacks 100.0 GiB memory (it has 64.0 GiB)",
    ]


def test_a_cluster_without_workers_is_an_error() -> None:
    with pytest.raises(PreflightError, match="no worker that makes images"):
        refuse_homeless({"web": demand(driver="qemu", memory=0, cpus=0, labels={})}, {})
