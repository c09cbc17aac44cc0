"""The lines that find and break things are read by real shells."""

from __future__ import annotations

import subprocess

import pytest

from bakery.smoke.mutations import FIND, KINDS, Mutation

pytestmark = pytest.mark.live


@pytest.mark.parametrize("script", [FIND, *(Mutation(kind, "x y").script for kind in KINDS)])  # type: ignore[arg-type]
@pytest.mark.parametrize("shell", [["dash"], ["bash", "--posix"], ["busybox", "sh"]])
def test_every_script_is_one_that_a_posix_shell_reads(shell: list[str], script: str) -> None:
    done = subprocess.run([*shell, "-n"], input=script, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
