"""A build best goes where its image, its checkpoints or its base are, and nobody gets more than a fair share."""

from __future__ import annotations

from typing import Any, cast

import pytest

from bakery.build.cluster.connection import Connection, KnownWorker
from bakery.build.cluster.placement import BuildPlacement, base_digest
from bakery.disk.bases.debian import Debian
from bakery.drivers.qemu.source import Qemu
from bakery.errors import DriverError
from bakery.imagefile.builds import Build

WORKERS = [KnownWorker(address=name, name=name, host="h", offer={"slots": 2.0}) for name in ("w1", "w2", "w3")]


class Cluster:
    """Answers what its workers have."""

    def __init__(self, **holdings: dict[str, Any]) -> None:
        self.holdings = holdings

    def call(self, worker: str, question: str, *, patience: float, builds: list[str]) -> dict[str, Any]:
        assert (question, patience) == ("bake_holdings", 5.0)
        assert builds
        if worker not in self.holdings:
            raise DriverError("it does not answer")
        return {"builds": {}, "bases": [], **self.holdings[worker]}


def build(name: str = "web@here") -> Build:
    boot = Qemu(base=Debian("bookworm"))
    none: Any = {"axes": {}, "variables": (), "steps": (), "tests": (), "post": ()}
    words: Any = {**none, "spec": "web", "image": "web", "source": "here", "driver": "qemu", "where": "imagefile.py:1"}
    return Build(name=name, boot=boot, **words)


def placed(count: int = 1, **holdings: Any) -> BuildPlacement:
    placement = BuildPlacement(count)
    placement.look(cast("Connection", Cluster(**holdings)), WORKERS, [build()])
    return placement


def test_a_build_goes_where_most_of_its_checkpoints_are() -> None:
    placement = placed(w1={"builds": {"web@here": 2}}, w2={"builds": {"web@here": 8}}, w3={"bases": ["b"]})
    assert placement.best(build(), "", WORKERS) == ["w2"]
    assert placement.best(build(), "", [WORKERS[0], WORKERS[2]]) == ["w1"]


def test_a_build_without_checkpoints_goes_where_its_base_is() -> None:
    assert placed(w3={"bases": [base_digest(build())]}).best(build(), "", WORKERS) == ["w3"]


def test_the_image_that_it_stands_on_comes_first() -> None:
    placement = placed(w2={"builds": {"web@here": 8}})
    placement.remember_image("1" * 64, "w1")
    assert placement.best(build(), "1" * 64, WORKERS) == ["w1"]
    assert placement.best(build(), "1" * 64, WORKERS[1:]) == ["w2"]


@pytest.mark.parametrize("holdings", [{}, {name: {"bases": [base_digest(build())]} for name in ("w1", "w2", "w3")}])
def test_where_all_have_the_same_it_does_not_matter(holdings: dict[str, Any]) -> None:
    assert placed(1, **holdings).best(build(), "", WORKERS) == []


def test_a_worker_is_not_given_more_than_its_share_of_the_run() -> None:
    placement = placed(12, w1={"bases": [base_digest(build())]})
    assert [placement.best(build(), "", WORKERS) for _ in range(6)] == [["w1"]] * 4 + [[], []]
