"""Every question of testinfra's, over its own ssh backend and over ours, on one machine: the answers are the same.

The machines: this host's Debian in a container with an sshd, entered as root, by a user with zsh, and by one who is not
root; and the tiny guest, with busybox and dropbear.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bakery.model import Endpoint
from bakery.state.ssh_keys import Keys
from tests.live.smoke import both_ways
from tests.live.test_qemu_driver import DRIVER, Bench, tiny

pytestmark = [pytest.mark.live, pytest.mark.all, pytest.mark.timeout(3600)]

SUITE = Path(__file__).parent / "differential" / "check_modules.py"


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Endpoint, Keys]]:
    """This host's Debian behind an sshd of its own."""
    if os.geteuid() != 0 or not shutil.which("zsh"):
        pytest.skip("a container is made by root here, and zsh is needed")
    with both_ways.debian(tmp_path_factory.mktemp("debian")) as machine:
        yield machine


def answers(file: Path) -> dict[str, str]:
    """Return what a run wrote down."""
    return dict(json.loads(line) for line in file.read_text().splitlines())


def compare(folder: Path, endpoint: Endpoint, keys: Keys) -> None:
    """Ask both ways, and see that the answers are the same."""
    (folder / "suite").mkdir()
    shutil.copy(SUITE, folder / "suite")
    (folder / "pytest.ini").write_text("[pytest]\npython_files = check_*.py\n")
    slow, _ = both_ways.theirs(folder, endpoint, keys, ["suite"], work=folder)
    fast, _ = both_ways.ours(folder, endpoint, keys, ["suite"], work=folder)
    expected, got = answers(folder / "theirs"), answers(folder / "ours")
    sys.stdout.write(f"\n{len(expected)} questions: testinfra {slow:.2f} s, bakery {fast:.2f} s, {fast / slow:.2f}\n")
    assert {name: (expected[name], got.get(name)) for name in expected if expected[name] != got.get(name)} == {}
    assert expected.keys() == got.keys()
    raising = sum(answer.startswith("raises") for answer in expected.values())
    assert raising < len(expected) / 2, "most questions have an answer"


@pytest.mark.parametrize("user", ["root", "zed", "diff"])
def test_a_debian_is_the_same_by_both(debian: tuple[Endpoint, Keys], tmp_path: Path, user: str) -> None:
    endpoint, keys = debian
    compare(tmp_path, replace(endpoint, user=user), keys)


def test_the_tiny_guest_is_the_same_by_both(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "bench")
    try:
        handle, claim, _ = bench.launch(tiny(bench.cache))
        compare(tmp_path, DRIVER.endpoint(handle), claim.keys)
    finally:
        bench.end()
