"""Builds over four workers of eight slots in all: against the ideal time, and against a script over SSH."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from statistics import median

import psutil

from bakery.state.ssh_keys import make_keys
from bakery.testing.folder.cloud import FolderCloud
from bakery.testing.sshd import start_sshd
from benchmarks.bench import BAKE, Aim, Failed, Project, Row, timed
from benchmarks.folder import IMAGEFILE
from tests.contract.clusterrig import ClusterRig

COUNT = int(os.environ.get("BAKERY_BENCHMARK_BUILDS", "200"))
MEMORY = Path("/dev/shm")  # noqa: S108  folders of our own in it
LEFT_OUT = os.environ.get("BAKERY_BENCHMARK_WITHOUT", "").split()
"""Of `alone` and `ssh`, what is not measured besides."""
BYTECODE = "PYTHONPYCACHEPREFIX"
WORKERS, SLOTS, SECONDS = 4, 2, 2.0


def run(folder: Path) -> list[Row]:
    """Measure both, one after the other."""
    folder.mkdir(parents=True)
    os.environ[BYTECODE] = str(folder / "bytecode")  # of all projects: what pip would have made
    others = _load_of_others()
    try:
        return _rows(folder, others)
    finally:
        for place in MEMORY.glob(f"{'-'.join(folder.parts[1:])}*"):
            shutil.rmtree(place)


def _rows(folder: Path, others: float) -> list[Row]:
    ours, single, note = _on_cluster(folder / "cluster")
    case = f"{COUNT} builds of 2 s of task, {WORKERS} workers with {SLOTS} slots"
    note = f"{note}; before it, others used {others:.0%} of this host"
    rounds = COUNT / (WORKERS * SLOTS)
    rows = [
        Row(case, f"ideal: {rounds:g} times one build alone on the cluster", ours, rounds * single, Aim(1.15), note),
        Row(case, "their tasks alone, which sleep, all slots busy", ours, rounds * SECONDS),
    ]
    if "alone" not in LEFT_OUT:
        rows.append(Row(case, f"one `bake --jobs {WORKERS * SLOTS}` here", ours, _alone(folder / "alone"), Aim(1.15)))
    if "ssh" not in LEFT_OUT:
        rows.append(Row(case, "`concurrent.futures` over SSH", ours, _over_ssh(folder / "ssh"), Aim(1.0)))
    return rows


def _load_of_others() -> float:
    """Return the part of this host's processors that was in use while we did nothing."""
    return psutil.cpu_percent(interval=3.0) / 100


def _project(folder: Path, count: int) -> tuple[Project, FolderCloud]:
    """Return a project and its provider, which is in memory where that can be: it stands for what is elsewhere."""
    project = Project(folder / "project", environ={BYTECODE: os.environ[BYTECODE]})
    cloud = FolderCloud(_memory(folder) / "cloud")
    project.write(IMAGEFILE.format(cloud=str(cloud.path), count=count))
    (project.folder / ".bakeryignore").write_text("cache\n")
    return project, cloud


def _memory(folder: Path) -> Path:
    """Return a folder in memory that stands for this one; the one itself where there is no memory for it."""
    if not os.access(MEMORY, os.W_OK):
        return folder
    place = MEMORY / "-".join(folder.parts[1:])
    place.mkdir(exist_ok=True)
    return place


def _on_cluster(folder: Path) -> tuple[float, float, str]:
    """Return wall seconds of all builds and of one alone, and what they cost besides."""
    folder.mkdir()
    with ClusterRig(folder) as rig:
        names = [f"w{number}" for number in range(WORKERS)]
        rig.start_workers(*names, words=("--slots", str(SLOTS), "--label", "kvm:2", "--memory", "8G", "--cpus", "8"))
        small, _ = _project(folder / "small", WORKERS * SLOTS)
        few = _bake(small, rig)  # each worker has forked its first by now
        single = _single(folder / "single", rig)
        project, cloud = _project(folder / "large", COUNT)
        started, before = time.perf_counter(), _processor_seconds(rig)
        many = _bake(project, rig)
        wall = time.perf_counter() - started
        spent = {part: seconds - before[part] for part, seconds in _processor_seconds(rig).items()}
        images = len([image for image in cloud.list("images") if image["name"].startswith("many-")])
        if images != COUNT:
            raise Failed(f"{images} images, not {COUNT}")
    busy = COUNT * SECONDS / (WORKERS * SLOTS * wall)
    memory = (many.ru_maxrss - few.ru_maxrss) / 1024 / (COUNT - WORKERS * SLOTS)
    spent["client"] = many.ru_utime + many.ru_stime
    each = ", ".join(f"{part} {seconds / COUNT * 1000:.0f}" for part, seconds in spent.items())
    return (
        wall,
        single,
        (
            f"one build alone took {single:.2f} s; tasks filled {busy:.0%} of the slots' time; "
            f"{memory:.1f} MB of memory a build at the client (aim: under 5); "
            f"processor time a build in ms: {each}"
        ),
    )


def _single(folder: Path, rig: ClusterRig) -> float:
    """Return the seconds of one build that has the cluster to itself: the median of three."""
    project, _ = _project(folder, 1)
    seconds: list[float] = []
    for _ in range(3):
        _bake(project, rig, "--no-cache")
        log = max((project.folder / ".bakery" / "runs").iterdir()) / "events.jsonl"
        events = map(json.loads, log.read_text(encoding="utf-8").splitlines())
        seconds += [event["seconds"] for event in events if event["type"] == "build-ended"]
    return median(seconds)


def _processor_seconds(rig: ClusterRig) -> dict[str, float]:
    """Return the processor time that the parts have used so far; that of builds with all that they have waited for."""
    assert rig.scheduler is not None  # noqa: S101  the rig is running
    spent = {"scheduler": _own(psutil.Process(rig.scheduler.pid)), "workers": 0.0, "builds": 0.0}
    for worker in map(psutil.Process, (process.pid for process in rig.workers.values())):
        spent["workers"] += _own(worker)
        for other in worker.children(recursive=True):
            times = other.cpu_times()
            spent["builds"] += times.user + times.system + times.children_user + times.children_system
    return spent


def _own(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _bake(project: Project, rig: ClusterRig, *options: str) -> resource.struct_rusage:
    """Build, and return what the process used."""
    words = [*BAKE, "-C", str(project.folder), "build", "--no-test", "--on", rig.address, *options]
    with (project.folder.parent / "log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, env={**os.environ, **project.environ})
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Failed((project.folder.parent / "log").read_text())
    return usage


def _alone(folder: Path) -> float:
    """Return wall seconds of the same builds without a cluster."""
    folder.mkdir()
    project, _ = _project(folder, COUNT)
    words = [*BAKE, "-C", str(project.folder), "build", "--no-test", "--jobs", str(WORKERS * SLOTS)]
    return timed(words, folder, {**project.environ, "BAKERY_LIMITS": "memory:64G cpus:64"})


def _over_ssh(folder: Path) -> float:
    """Run `bake` on each host by ssh, a build at a time in each slot; return wall seconds."""
    folder.mkdir()
    keys = make_keys("benchmark")
    server = start_sshd(folder / "sshd", keys)
    try:
        (folder / "key").touch(mode=0o600)
        (folder / "key").write_text(keys.user_private)
        slots: SimpleQueue[Project] = SimpleQueue()
        for host in range(WORKERS):
            project = Project(folder / f"host{host}", environ={BYTECODE: os.environ[BYTECODE]})
            project.write(IMAGEFILE.format(cloud=str(_memory(folder) / "cloud"), count=COUNT))
            for _ in range(SLOTS):
                slots.put(project)
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        command = ["ssh", "-i", str(folder / "key"), "-p", str(server.port), *options, "root@127.0.0.1"]

        def one(number: int) -> None:
            project = slots.get()
            environ = " ".join(f"{name}={value}" for name, value in project.environ.items())
            words = (
                f"{environ} {sys.executable} -m bakery -C {project.folder} build --no-test 'many[[]number={number}]*'"
            )
            done = subprocess.run([*command, words], check=False, capture_output=True, text=True)
            slots.put(project)
            if done.returncode:
                raise Failed(done.stderr[-3000:])

        started = time.perf_counter()
        with ThreadPoolExecutor(WORKERS * SLOTS) as pool:
            list(pool.map(one, range(COUNT)))
        return time.perf_counter() - started
    finally:
        server.stop()
