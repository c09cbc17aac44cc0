"""Acceleration, probed and not assumed: what runs a guest on this host, and what only says so."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
import time
from pathlib import Path

from bakery.drivers.qemu import accel_probe
from bakery.drivers.qemu.command import QEMU, accelerator
from bakery.errors import DriverError, NotYet
from bakery.model import Problem
from bakery.util import tools
from bakery.util.context import WorkContext
from bakery.util.files import write_whole
from bakery.util.lock import hold
from bakery.util.process import Process, start_process
from bakery.util.waiting import until

PATIENCE = 6.0
"""Seconds that the boot sector may take: 0.1 s where acceleration works, 3 s in nested ones that emulate much."""
NATIVE = {"Linux": "kvm", "Darwin": "hvf"}


def choose(asked: str, work: WorkContext) -> str:
    """Decide what runs the guest: `kvm`, `hvf` or `tcg`.

    Args:
        asked: what the source says; `auto` takes the host's own if it is seen to work.
        work: where the answer is remembered, until this host boots again or gets another QEMU.

    Raises:
        DriverError: the user insists on what does not work here.
    """
    if asked == "tcg":
        return "tcg"
    native = NATIVE.get(platform.system(), "none") if asked == "auto" else asked
    reason = trouble(native, work)
    if not reason:
        return native
    if asked != "auto":
        raise DriverError(f"{asked} does not run a guest on this host", why=reason, hint='accel="auto" uses what works')
    return "tcg"


def absent(accel: str) -> str:
    """Why an accelerator cannot be used, as far as that can be seen without trying it; empty for `auto` and `tcg`."""
    if accel in ("auto", "tcg"):
        return ""
    if accel != NATIVE.get(platform.system(), ""):
        return f"{platform.system()} has none of that name"
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return f"the guest is x86-64, this host is {platform.machine()}"
    if accel == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        there = Path("/dev/kvm").exists()
        return "this user may not open /dev/kvm" if there else "there is no /dev/kvm"
    return ""


def warning(asked: str) -> Problem | None:
    """Warn before the start where machines will be emulated although nobody asked for that; None where they are not.

    Whether an accelerator that may be opened also runs a guest is only seen at the first launch, which says so.

    Args:
        asked: what the source says.
    """
    native = NATIVE.get(platform.system(), "none")
    if asked != "auto" or not (reason := absent(native)):
        return None
    hint = 'accel="tcg" in the source says that emulation is meant'
    if native == "kvm":
        hint = f"{mend(native)}; {hint}"
    return Problem(
        what=f"machines are emulated, about ten times slower than with {native}", why=reason, hint=hint, fatal=False
    )


def mend(native: str) -> str:
    """Say what lets this user have the host's accelerator."""
    if native != "kvm":
        return f"{native} is this system's own: is this a virtual machine itself?"
    if Path("/dev/kvm").exists() and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "`sudo usermod -aG kvm $USER`, then log in again"
    return "turn virtualisation on in this host's firmware, or nested virtualisation where it is itself a machine"


def labels(asked: str) -> tuple[tuple[str, int], ...]:
    """Return what a machine takes that `--limit` can bound: the accelerator, where it may come to use it.

    Args:
        asked: what the source says.
    """
    native = NATIVE.get(platform.system(), "") if asked == "auto" else asked
    return ((native, 1),) if native not in ("", "tcg") and not absent(native) else ()


def trouble(native: str, work: WorkContext) -> str:
    """Why the host's accelerator cannot be used; empty when it can. Asks a guest the first time, then remembers.

    Args:
        native: `kvm` or `hvf`.
        work: where the answer is remembered; the user is told when it is found.
    """
    if reason := absent(native):
        return reason
    note = work.cache / "hosts" / f"{_this_host(native)}.json"
    with hold(note.with_suffix(".lock"), what="another bake tries this host's acceleration", work=work):
        if not note.exists():
            work.waiting(f"trying {native}")
            reason = _probe(native, work)
            write_whole(note, json.dumps({"accelerator": native, "trouble": reason}))
            if reason:
                work.notice(
                    f"{native} does not run a guest on this host; machines are emulated, about ten times slower",
                    hint=f"{reason}. Remembered until this host boots again; to try again now, delete {note}",
                    warning=True,
                )
        return str(json.loads(note.read_text())["trouble"])


def _this_host(native: str) -> str:
    """Return a digest of what the answer depends on."""
    boot_id = Path("/proc/sys/kernel/random/boot_id")
    if boot_id.exists():
        booted = boot_id.read_text()
    else:
        import psutil  # slow to import, and Linux needs none here

        booted = str(int(psutil.boot_time()))
    qemu = Path(shutil.which(QEMU) or QEMU)
    file = qemu.stat() if qemu.exists() else None  # a plan asks, too: no program runs for it
    which = f"{qemu} {file.st_size} {file.st_mtime_ns}" if file else f"{qemu}"
    return hashlib.sha256(f"{native} {booted} {platform.release()} {which}".encode()).hexdigest()[:24]


def _probe(native: str, work: WorkContext) -> str:
    """Boot the boot sector. Returns why it did not come to its end; empty when it did."""
    with tempfile.TemporaryDirectory(prefix="bake-") as folder:
        disk = Path(folder) / "disk.raw"
        disk.write_bytes(accel_probe.disk())
        words = [QEMU, "-nodefaults", "-display", "none", "-no-reboot", "-machine", "q35", "-m", "64M"]
        words += [*accelerator(native), "-device", "isa-debug-exit,iobase=0xf4,iosize=1"]
        words += ["-drive", f"file={disk},format=raw,if=none,id=disk", "-device", "ide-hd,drive=disk,bootindex=0"]
        log = Path(folder) / "log"
        with log.open("wb") as said:
            guest = start_process([*tools.dies_with_us(), *words], stdout=said, stderr=said)
        try:
            return _verdict(guest, log, work)
        finally:
            guest.kill()
            guest.wait()


def _verdict(guest: Process, log: Path, work: WorkContext) -> str:
    started = time.monotonic()

    def ended() -> str:
        said = log.read_text(errors="replace").strip().splitlines()
        code = guest.poll()
        if code == accel_probe.EXIT_CODE:
            return ""
        if code is not None:
            return f"QEMU ended with exit code {code}" + "".join(f": {line}" for line in said[:1])
        if any("KVM internal error" in line for line in said):  # QEMU only pauses the guest then
            return "the guest ran into a KVM internal error"
        if time.monotonic() - started > PATIENCE:
            return f"a guest that needs 0.1 s did not come to its end in {PATIENCE:g} s"
        raise NotYet("a guest of one sector")

    return until(ended, what="a guest of one sector", timeout=2 * PATIENCE, cancel=work.cancel, every=(0.02, 0.1))
