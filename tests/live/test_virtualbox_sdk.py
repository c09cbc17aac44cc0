"""What pyvbox 2.1.1 does on the real VirtualBox is what docs/virtualbox.md says of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from bakery.testing.virtualbox.root import Home, words
from tests.live import virtualboxrig as rig

pytestmark = [pytest.mark.live, pytest.mark.virtualbox, pytest.mark.timeout(1800)]
VERBS = Path(__file__).with_name("virtualbox_sdk_verbs.py")
BOTH = Path(__file__).with_name("virtualbox_both_ways.py")
REPOSITORY = Path(__file__).parents[2]
FAIL = {
    "VirtualBox.create_machine": "createMachine() missing 4 required positional arguments",
    "IMachine.firmware_type": "Failed to find attribute firmwareType",
    "IMachine.chipset_type": "Failed to find attribute chipsetType",
    "IMachine.bios_settings": "Failed to find attribute BIOSSettings",
    "IMachine.audio_adapter": "Failed to find attribute audioAdapter",
    "IMachine.rtc_use_utc": "Failed to find attribute RTCUseUTC",
    "IMachine.hpet_enabled": "Failed to find attribute HPETEnabled",
    "IMachine.vram_size": "has no attribute 'vram_size'",
    "IMachine.firmware_type = efi": "Failed to find attribute firmwareType",
    "IMachine.vram_size = 16": "no error, and the graphics memory is 8 MiB as before",
    "IMachine.take_snapshot, off": "Cannot take a live snapshot",
    "IMachine.clone": "is not a valid Guid",
    "IMachine.launch_vm_process": "environment_changes can only be an instance of type list",
    "IMedium.clone_to": "parent can only be an instance of type IMedium",
    "IMachine.attach_device, then detach_device": "NS_ERROR_ABORT",
}
"""Verbs that do not do what they say, and how that shows; all others work."""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A registry with what the verbs are tried on."""
    with rig.registry(tmp_path / "home") as home:
        rig.golden(home, tmp_path)
        for name in ("extra", "other"):
            disk = str(tmp_path / f"{name}.vdi")
            subprocess.run(["qemu-img", "create", "-q", "-f", "vdi", disk, "10M"], check=True)
        spare = ["createvm", "--name=spare", "--platform-architecture=x86", "--register"]
        for verb in (
            [*spare, f"--basefolder={tmp_path / 'spare'}"],
            ["setextradata", "golden", "bakery:run", "r1"],
            ["export", "golden", f"--output={tmp_path / 'golden.ova'}"],
        ):
            assert home.real(*verb).returncode == 0
        yield home


def run(home: Home, folder: Path, script: Path, *arguments: str) -> str:
    """Run a script in the Python that VirtualBox's API is installed for; returns the last line that it wrote."""
    package = find_spec("virtualbox")
    assert package is not None
    assert package.origin is not None
    packages = folder / "packages"
    packages.mkdir(exist_ok=True)
    if not (packages / "virtualbox").exists():  # it alone: the rest is of another Python
        (packages / "virtualbox").symlink_to(Path(package.origin).parent)
    done = subprocess.run(
        words(home.root, "/usr/bin/python3", str(script), str(packages), *arguments),
        env={**os.environ, **home.environ, "VBOX_PROGRAM_PATH": "/usr/lib/virtualbox"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout, done.stderr
    return done.stdout.splitlines()[-1]


def ask(home: Home, folder: Path, *verb: str) -> list[str] | dict[str, str]:
    """Try one verb, or return all names."""
    answer: list[str] | dict[str, str] = json.loads(run(home, folder, VERBS, str(folder), *verb))
    return answer


def test_both_ways_in_give_the_same_answers_and_refusals(home: Home, tmp_path: Path) -> None:
    create = ["createvm", "--name=lost", "--platform-architecture=x86", "--register"]
    assert home.real(*create, f"--basefolder={tmp_path / 'lost'}").returncode == 0
    shutil.rmtree(tmp_path / "lost")
    home.end()  # the next service finds no settings of it
    answer = json.loads(run(home, tmp_path, BOTH, str(REPOSITORY)))
    assert answer["asked"] == [], "pyvbox could not answer"
    assert [pair for pair in answer["pairs"] if pair[0] != pair[1]] == []
    _, machines, extra, unknown, lost = (pair[0] for pair in answer["pairs"])
    assert any("<inaccessible>" in machine for machine in machines)
    assert extra["bakery:run"] == "r1"
    assert [refusal[0] for refusal in (unknown, lost)] == ["refused", "refused"]


def test_each_verb_of_pyvbox_does_what_the_manual_says_of_it(home: Home, tmp_path: Path) -> None:
    names = ask(home, tmp_path)
    assert isinstance(names, list)
    assert set(FAIL) <= set(names)
    wrong = {}
    for name in names:
        answer = ask(home, tmp_path, name)
        assert isinstance(answer, dict)
        expected = FAIL.get(name)
        as_said = answer["verdict"] == "works" if expected is None else expected in answer["text"]
        if not as_said:
            wrong[name] = answer
    assert wrong == {}
