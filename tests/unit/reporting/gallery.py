"""A run that has everything a report can show: for the page's tests, and for looking at it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bakery import events as e
from bakery.reporting.html import Html
from bakery.reporting.run_state import RunState

BAD, GOOD, OLD = "web[release=trixie]@laptop", "web[release=bookworm]@laptop", "db@laptop"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
TRACE = """    def nginx_answers(host):
>       assert host.socket("tcp://0.0.0.0:80").is_listening
E       assert False
E        +  where False = <socket tcp://0.0.0.0:80>.is_listening"""


def run(folder: Path | None = None) -> RunState:
    """Return the state of the run, with what was collected of its failure in a folder."""
    if folder is not None:
        place = folder / "failures" / "web-release-trixie--laptop"
        place.mkdir(parents=True)
        (place / "screen.png").write_bytes(PIXEL)
        (place / "console.log").write_text("[  OK  ] Reached target Multi-User System\n" * 3)
    reader = Html()
    for event in told(str(folder or "")):
        reader.read(event)
    return reader.board


def told(folder: str) -> Iterator[e.Event]:
    """Yield its events."""
    at = 1_763_821_234.0
    for seconds, event in _events(folder):
        yield replace(event, time=at + seconds, run="20261122-143005-9f3a")


def _events(folder: str) -> Iterator[tuple[float, e.Event]]:
    yield (
        0,
        e.RunStarted(
            builds=(BAD, GOOD, OLD),
            folder=folder,
            command="bake web db -v workers=... --jobs 2",
            version="0.1.0",
            host="Linux 6.1.0-13-amd64 x86_64, 2 processors, Python 3.11.7",
        ),
    )
    yield 0, e.Notice(level="warning", message="machines are emulated", hint="`sudo usermod -aG kvm $USER`")
    yield (
        0,
        e.BuildEnded(
            build=OLD,
            outcome="cached",
            seconds=0,
            reason="up to date",
            artifact={"name": "db", "id": "/i/db.qcow2", "sha256": "cd" * 32, "size": 300 << 20},
        ),
    )
    for build, release in ((GOOD, "bookworm"), (BAD, "trixie")):
        yield from _build(build, release)
    yield 96, e.RunEnded(seconds=96, exit_code=8)


def _build(build: str, release: str) -> Iterator[tuple[float, e.Event]]:
    begun = e.BuildStarted(
        build=build,
        image=f"web-{release}",
        driver="qemu",
        steps=("base", "nginx", "harden"),
        tests=2,
        base=f"Debian(suite='{release}')",
        values=(f"release = '{release}' (matrix)", "workers = 8 (-v)", "admin_password = (secret) (environment)"),
        commit="1f2e3d4c5b6a79880716253443526170f1e2d3c4+",
    )
    yield 0, begun
    yield from _phase(build, "base", 0, 0.2)
    yield from _phase(build, "launch", 0.2, 1.2)
    details = ("accelerator: tcg", "memory: 1.0 GiB", "processors: 2", "firmware: bios")
    yield 1.4, e.MachineStarted(build=build, role="build", details=details)
    yield from _phase(build, "connect", 1.4, 14.3)
    yield 16, e.StepEnded(build=build, step="base", index=0, seconds=0, outcome="cached", reason="nothing changed")
    yield 16, e.StepStarted(build=build, step="nginx", index=1, location="imagefile.py:30")
    yield 20, e.Output(build=build, step="nginx", text="Reading package lists...\nSetting up nginx (1.22.1-9) ...")
    why = "files/site.conf changed; variable workers: 4 -> 8"
    yield 41, e.StepEnded(build=build, step="nginx", index=1, seconds=25, reason=why)
    yield 41, e.StepStarted(build=build, step="harden", index=2, location="imagefile.py:41")
    yield 42, e.StepEnded(build=build, step="harden", index=2, seconds=1.1, reason="a step before it runs")
    listed = e.PackagesListed(
        build=build,
        count=312,
        before=f"web-{release}",
        added=("nginx 1.22.1-9", "nginx-common 1.22.1-9"),
        changed=("openssl 3.0.11-1~deb12u2 -> 3.0.13-1~deb12u1",),
        removed=("telnet 0.17",),
    )
    yield 43, listed
    yield from _phase(build, "seal", 42, 2)
    yield from _phase(build, "capture", 44, 12)
    yield from _phase(build, "relaunch", 56, 1)
    yield from _phase(build, "reconnect", 57, 21)
    yield 78, e.TestEnded(build=build, test="hygiene", outcome="passed", seconds=3)
    good = build == GOOD
    for test in ("no_failed_units", "machine_id_is_new"):
        yield 79, e.TestEnded(build=build, test=test, outcome="passed", seconds=0.1)
    yield 79, e.TestEnded(build=build, test="tls", outcome="skipped", seconds=0, text="no certificate here")
    if good:
        yield 80, e.TestEnded(build=build, test="nginx_answers", outcome="passed", seconds=0.2)
        yield (
            81,
            e.BootTimed(
                build=build,
                stages=(("firmware", 2.1), ("loader", 1.4), ("kernel", 3.2), ("initrd", 4.1), ("userspace", 9.6)),
                units=(
                    ("systemd-udevd.service", 7.6, 0.8),
                    ("networking.service", 9.0, 2.4),
                    ("nginx.service", 12.2, 1.1),
                    ("ssh.service", 12.4, 0.4),
                ),
            ),
        )
        yield from _phase(build, "smoke", 78, 4)
        kept = e.ArtifactKept(
            build=build,
            name=f"web-{release}",
            id=f"/srv/images/.bakery/images/laptop/web-{release}.qcow2",
            format="qcow2",
            size=412_000_000,
            sha256="ab12" * 16,
            verdict="passed",
        )
        yield 83, kept
        yield 84, e.BuildEnded(build=build, outcome="ok", seconds=84)
        return
    yield (
        80,
        e.TestEnded(
            build=build, test="nginx_answers", outcome="failed", seconds=0.2, location="imagefile.py:52", text=TRACE
        ),
    )
    yield from _phase(build, "smoke", 78, 4, outcome="failed")
    yield (
        95,
        e.Failed(
            build=build,
            error="SmokeError",
            what="1 of 3 smoke tests failed: nginx_answers",
            hint="no image was kept; the tests' report is in .bakery/runs/20261122-143005-9f3a",
            exit_code=8,
            folder=".bakery/runs/20261122-143005-9f3a",
        ),
    )
    yield 96, e.BuildEnded(build=build, outcome="failed", seconds=96, reason="1 of 3 smoke tests failed")


def _phase(
    build: str, name: str, began: float, seconds: float, *, outcome: str = "ok"
) -> Iterator[tuple[float, e.Event]]:
    yield began, e.PhaseStarted(build=build, phase=name)
    ended = e.PhaseEnded(build=build, phase=name, seconds=seconds, outcome=outcome)  # type: ignore[arg-type]
    yield began + seconds, ended
