"""Every question of testinfra's, over a backend of its own and over ours, on one machine: the answers are the same.

The machines: this host's Debian in a container, through an sshd as root, by a user with zsh and by one who is not root,
and through its namespaces; and the tiny guest, with busybox and dropbear.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from testinfra.modules import modules

from bakery.model import Endpoint
from bakery.state.ssh_keys import Keys
from tests.live.smoke import both_ways
from tests.live.smoke.both_ways import Debian
from tests.live.smoke.differential.check_modules import ALL
from tests.live.test_qemu_driver import DRIVER, Bench, tiny

pytestmark = [pytest.mark.live, pytest.mark.all, pytest.mark.timeout(3600)]

SUITE = Path(__file__).parent / "differential" / "check_modules.py"
OURS_ALONE = {"ansible"}
"""Questions to which testinfra's own backends have no answer."""


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Debian]:
    """This host's Debian in a container, with an sshd of its own."""
    if os.geteuid() != 0 or not shutil.which("zsh"):
        pytest.skip("a container is made by root here, and zsh is needed")
    with both_ways.debian(tmp_path_factory.mktemp("debian")) as machine:
        yield machine


def test_every_module_of_testinfra_is_asked() -> None:
    asked = {name.partition("(")[0].partition(".")[0].partition(" ")[0] for name in ALL}
    same = {"puppet_resource": "puppet", "command": "run"}
    assert {same.get(name, name) for name in modules} - asked == set()


def compare(folder: Path, theirs: Callable[[Path], object], ours: Callable[[Path], object]) -> None:
    """Ask both ways, and see that the answers are the same."""
    (folder / "suite").mkdir()
    shutil.copy(SUITE, folder / "suite")
    (folder / "pytest.ini").write_text("[pytest]\npython_files = check_*.py\n")
    theirs(folder)
    ours(folder)
    expected, got = answers(folder / "theirs"), answers(folder / "ours")
    assert expected.keys() == got.keys() == ALL.keys()
    same = [name for name in expected if expected[name] == got[name]]
    sys.stdout.write(f"\n{len(same)} of {len(expected)} answers are the same\n")
    other = {name: (expected[name], got[name]) for name in expected if name not in same}
    assert {name: pair for name, pair in other.items() if name not in OURS_ALONE} == {}
    raising = sum(answer.startswith("raises") for answer in expected.values())
    assert raising < len(expected) / 2, "most questions have an answer"


def answers(file: Path) -> dict[str, str]:
    """Return what a run wrote down."""
    return dict(json.loads(line) for line in file.read_text().splitlines())


def over_ssh(folder: Path, endpoint: Endpoint, keys: Keys) -> None:
    """Compare testinfra's ssh backend with ours."""
    compare(
        folder,
        lambda work: both_ways.theirs(work, endpoint, keys, ["suite"], work=work),
        lambda work: both_ways.ours(work, endpoint, keys, ["suite"], work=work),
    )


@pytest.mark.parametrize("user", ["root", "zed", "diff"])
def test_a_debian_is_the_same_by_both(debian: Debian, tmp_path: Path, user: str) -> None:
    over_ssh(tmp_path, replace(debian.endpoint, user=user), debian.keys)


def test_a_container_is_the_same_inside_and_from_outside(debian: Debian, tmp_path: Path) -> None:
    """The local backend, run in the container, against ours that enters it."""
    inside = Path(f"/proc/{debian.leader}/root{tmp_path}")

    def theirs(folder: Path) -> None:
        shutil.copytree(folder, inside, dirs_exist_ok=True)
        both_ways.theirs_inside(folder, debian.leader, ["suite"], work=folder)

    compare(tmp_path, theirs, lambda work: both_ways.ours(work, debian.entered, debian.keys, ["suite"], work=work))


def test_the_tiny_guest_is_the_same_by_both(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "bench")
    try:
        handle, claim, _ = bench.launch(tiny(bench.cache))
        over_ssh(tmp_path, DRIVER.endpoint(handle), claim.keys)
    finally:
        bench.end()
