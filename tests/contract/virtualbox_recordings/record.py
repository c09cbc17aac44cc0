"""Records what the real VirtualBox answers to the driver: `python -m tests.contract.virtualbox_recordings.record ROOT`.

ROOT is a folder of `bakery.testing.virtualbox.root.make`. Needs root; boots the tiny guest some times; takes minutes.
Names of lives behind ROOT record only those.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from bakery.drivers.virtualbox.api.answers import machines
from bakery.testing.virtualbox.root import ROOT, Home, words
from tests.contract import virtualboxlife as lives
from tests.live import virtualboxrig as rig
from tests.unit.drivers.virtualbox.record import damage

HERE = Path(__file__).parent
NEEDS_NO_GUEST = ("a_host_without_the_kernel_module_starts_no_machine",)


class Outside:
    """What others do while a build runs.

    Args:
        home: the registry.
        folder: of the life.
    """

    def __init__(self, home: Home, folder: Path) -> None:
        self._home = home
        self._folder = folder

    def __call__(self, what: str) -> None:
        """Do one thing."""
        match what:
            case "guest is up":
                console = self._folder / "1" / "serial.log"
                rig.wait_for(lambda: b"rig-guest-ready" in console.read_bytes(), 240)
            case "kill the guest":
                (guest,) = (int(thing.split()[-1]) for thing in rig.left(self._home) if thing.startswith("process"))
                psutil.Process(guest).kill()
                rig.wait_for(lambda: not psutil.pid_exists(guest), 20)
            case "save the state":
                (machine,) = machines(self._home.real("list", "vms").stdout)
                state = self._home.path / "state.sav"
                state.write_bytes(bytes(1000))
                rig.wait_for(lambda: self._home.real("adoptstate", machine.uuid, str(state)).returncode == 0, 20)
            case "kill the service soon":
                threading.Thread(target=self._kill_the_service, daemon=True).start()
            case _:
                raise LookupError(what)

    def _kill_the_service(self) -> None:
        rig.wait_for(lambda: any(path.stat().st_size > 1 << 16 for path in self._folder.glob("images/.web.*.ova")), 60)
        for service in self._home.services():
            service.kill()


def prepare(name: str, home: Home, folder: Path) -> None:
    """Make what is there before a life begins."""
    if "snapshot" in name:
        rig.golden(home, folder)
    elif "damaged" in name:
        rig.golden(home, folder)
        assert home.real("export", "golden", f"--output={folder / 'bad.ova'}", "--options=manifest").returncode == 0
        damage(folder / "bad.ova")
        assert home.real("unregistervm", "golden", "--delete").returncode == 0


@contextmanager
def small(folder: Path) -> Iterator[None]:
    """Lend a file system with room for a part of an image, where images are written to."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4M", "none", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def record(name: str, place: Path) -> None:
    """Live one life, and write down its tape."""
    folder, tapes = place / "life", place / "tape"
    folder.mkdir()
    tapes.mkdir()
    with ExitStack() as stack:
        if "full_disk" in name:
            stack.enter_context(small(folder / "images"))  # first: the service sees only mounts that are older
        home = stack.enter_context(rig.registry(place / "home"))
        os.environ.update(home.environ)
        prepare(name, home, folder)
        real = words(home.root, "/usr/bin/VBoxManage") if name in NEEDS_NO_GUEST else [f"{home.path}/bin/VBoxManage"]
        instead = {str(home.path): "/home/user/.config/VirtualBox"}
        deck = stack.enter_context(lives.deck(tapes, folder, tape=[], real=real, instead=instead))
        disk = Path(rig.tiny().id)
        lives.LIVES[name](lives.World(folder, disk, outside=Outside(home, folder)))
        tape = json.loads(deck.read_text(encoding="utf-8"))["tape"]
    text = json.dumps(tape, indent=1) + "\n"
    (HERE / f"{name}.json").write_text(text, encoding="utf-8")
    assert str(place) not in text
    print(name, len(tape), "answers", flush=True)  # noqa: T201  it is slow


def main(root: str, *names: str) -> None:
    """Record all lives, or some."""
    os.environ[ROOT] = root
    for name in names or lives.LIVES:
        with tempfile.TemporaryDirectory(prefix="virtualbox-") as place:
            record(name, Path(place))


if __name__ == "__main__":
    main(*sys.argv[1:])
