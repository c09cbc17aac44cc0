"""Completion as the shells ask for it: the script that is printed, loaded by the real shell, and what it offers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Place

BASH = """
source <(bake completion bash)
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_bake_completion bake
printf '%s\\n' "${COMPREPLY[@]}"
"""
FISH = 'bake completion fish | source; complete -C "$argv"'


def ask(place: Place, tmp_path: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a shell that finds `bake` on its path."""
    programs = tmp_path / "bin"
    programs.mkdir(exist_ok=True)
    bake = programs / "bake"
    bake.write_text(f'#!/bin/sh\nexec {sys.executable} -m bakery "$@"\n')
    bake.chmod(0o755)
    environ = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        words, cwd=place.folder, env=environ, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["bake", "gra"], {"graph"}),
        (["bake", "build", "web"], {"web", "web-bookworm", "web-trixie"}),
        (["bake", "build", "--phase-timeout", "cap"], {"capture="}),
        (["bake", "build", "--only", ""], {"box"}),
        (["bake", "doctor", "q"], {"qemu"}),
        (["bake", "report", "--as", ""], {"text", "html", "junit"}),
        (["bake", "completion", "f"], {"fish"}),
    ],
)
def test_bash_offers_what_may_follow_and_says_nothing_else(
    place: Place, secret: str, tmp_path: Path, words: list[str], offered: set[str]
) -> None:
    done = ask(place, tmp_path, ["bash", "--norc", "-c", BASH, "bash", *words])
    assert (set(done.stdout.split()), done.stderr) == (offered, "")


@pytest.mark.skipif(shutil.which("fish") is None, reason="no fish here")
def test_fish_offers_names_with_their_help(place: Place, tmp_path: Path) -> None:
    done = ask(place, tmp_path, ["fish", "--no-config", "-c", FISH, "bake comp"])
    assert done.stdout.startswith("completion\tPrint what makes")
    assert done.stderr == ""


def test_a_mistake_in_the_imagefile_says_nothing_while_the_user_types(place: Place, tmp_path: Path) -> None:
    place.write("syntax error")
    done = ask(place, tmp_path, ["bash", "--norc", "-c", BASH, "bash", "bake", "build", "w"])
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_a_shell_that_is_not_known_is_refused_with_those_that_are(place: Place) -> None:
    done = place.bake("completion", "csh")
    assert done.code == 2
    assert "'bash', 'zsh', 'fish'" in done.err
