"""A run told in events: one build that ends well, one whose task fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bakery import events as e

GOOD, BAD = "web@laptop", "db[release=bookworm]@aws"


def story(folder: str = "", text: str = "Setting up nginx (1.22.1-9) ...") -> Iterator[e.Event]:
    """Yield a whole run; `text` stands wherever somebody else's words may stand."""
    for number, event in enumerate(_story(folder, text)):
        yield replace(event, time=1_763_821_234.5 + number, run="20261122-143005-9f3a")


def _story(folder: str, text: str) -> Iterator[e.Event]:
    yield e.RunStarted(builds=(GOOD, BAD), folder=folder)
    yield e.BuildStarted(build=GOOD, image="web", driver="qemu", steps=("base", "nginx"), tests=2)
    yield e.BuildStarted(build=BAD, image="db", driver="ec2", steps=("base",), tests=1)
    yield e.PhaseStarted(build=GOOD, phase="launch")
    yield e.Progress(build=GOOD, what=f"downloading {text}", done=512_345_678, total=1_023_456_789)
    yield e.Waiting(build=GOOD, what=f"SSH banner {text}", seconds=7)
    yield e.PhaseEnded(build=GOOD, phase="launch", seconds=3)
    yield e.StepEnded(build=GOOD, step="base", index=0, seconds=0, outcome="cached", reason=text)
    yield e.StepStarted(build=GOOD, step="nginx", index=1, location="imagefile.py:30")
    yield e.Output(build=GOOD, step="nginx", text=f"Unpacking\n{text}")
    yield e.StepStarted(build=BAD, step="base", index=0, location="imagefile.py:20")
    yield e.Output(build=BAD, step="base", text=f"E: {text}", stream="stderr")
    yield e.StepEnded(build=BAD, step="base", index=0, seconds=2, outcome="failed", reason=f"{text}\nmore")
    yield e.Failed(
        build=BAD,
        error="CommandFailed",
        what=f"task base: {text}",
        why=f"first line\n{text}",
        hint=f"see {text}",
        location="imagefile.py:21",
        exit_code=7,
        folder=folder,
    )
    yield e.BuildEnded(build=BAD, outcome="failed", seconds=9, reason=text)
    yield e.StepEnded(build=GOOD, step="nginx", index=1, seconds=6)
    yield e.PhaseStarted(build=GOOD, phase="smoke")
    yield e.TestEnded(build=GOOD, test="nginx_runs", outcome="passed", seconds=0.1)
    yield e.TestEnded(
        build=GOOD, test=f"answers[{text}]", outcome="failed", seconds=0.2, location="imagefile.py:40", text=text
    )
    yield e.PhaseEnded(build=GOOD, phase="smoke", seconds=2)
    yield e.Notice(build=GOOD, level="warning", message=text, hint=text)
    yield e.ResourceChanged(build=GOOD, op="made", resource=f"qemu process {text}")
    yield e.ArtifactKept(
        build=GOOD, name="web", id=f"/images/{text}.qcow2", format="qcow2", size=412_000_000, sha256="ab" * 32
    )
    yield e.BuildEnded(build=GOOD, outcome="ok", seconds=20)
    yield e.Failed(error="CleanupError", what=f"left behind: {text}", hint="bake gc", exit_code=10)
    yield e.RunEnded(seconds=25, exit_code=10)
