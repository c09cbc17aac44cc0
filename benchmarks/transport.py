"""The way to a machine against OpenSSH's own tools, on a loopback sshd of its own. Needs root."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bakery.state.ssh_keys import make_keys
from bakery.testing.sshd import Server, start_sshd
from benchmarks.bench import Aim, Row

MEGABYTES: Final = 300
FILES: Final = 10_000
ROUNDS: Final = 5


def median(call: Callable[[], object], rounds: int) -> float:
    """Return the median seconds of some calls."""
    times = []
    for _ in range(rounds):
        started = time.monotonic()
        call()
        times.append(time.monotonic() - started)
    return statistics.median(times)


def prepare(server: Server) -> list[str]:
    """Make what is sent; return the options of OpenSSH's tools."""
    folder = server.folder
    (folder / "id").touch(mode=0o600)
    (folder / "id").write_text(server.keys.user_private)
    (folder / "known").write_text(f"[127.0.0.1]:{server.port} {server.keys.host_public}\n")
    with (folder / "big").open("wb") as file:
        for _ in range(MEGABYTES):
            file.write(os.urandom(1 << 20))
    for number in range(FILES):
        path = folder / "tree" / f"d{number % 100}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * (number % 4096))
    options = {"IdentityFile": folder / "id", "UserKnownHostsFile": folder / "known", "IdentitiesOnly": "yes"}
    return ["-F", "none", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]


def run(folder: Path) -> list[Row]:
    """Measure on a server of our own."""
    folder.mkdir(parents=True)
    server = start_sshd(folder / "sshd", make_keys("bakery-benchmark"))
    try:
        return measure(server, ROUNDS)
    finally:
        server.stop()


def measure(server: Server, rounds: int) -> list[Row]:
    """Run all measurements; of the transfers the best round counts."""
    options, folder = prepare(server), server.folder
    machine = server.machine()
    connect = median(lambda: server.link().open(), rounds)
    machine.run("true")
    call = median(lambda: machine.run("true"), 100)
    there = f"root@127.0.0.1:{folder}"

    def tar() -> None:
        ssh = f"ssh {' '.join(options)} -p {server.port} root@127.0.0.1"
        line = f"tar -C {folder}/tree -cf - . | {ssh} tar -C {folder}/t -xf -"
        subprocess.run(["rm", "-rf", folder / "t"], check=True)
        (folder / "t").mkdir()
        subprocess.run(["bash", "-c", line], check=True)

    def copy() -> None:
        subprocess.run(["rm", "-rf", folder / "t"], check=True)
        machine.copy("tree", str(folder / "t"))

    scp = ["scp", "-q", *options, "-P", str(server.port)]
    cases = [
        (
            f"`put` of {MEGABYTES} MB",
            "scp",
            Aim(1.1),
            lambda: machine.put("big", folder / "out"),
            lambda: subprocess.run([*scp, folder / "big", f"{there}/out"], check=True),
        ),
        (
            f"`get` of {MEGABYTES} MB",
            "scp",
            None,
            lambda: machine.get(folder / "big", "in"),
            lambda: subprocess.run([*scp, f"{there}/big", folder / "in"], check=True),
        ),
        (f"`copy` of {FILES} small files", "tar over ssh", Aim(1.1), copy, tar),
    ]
    note = f"connect {connect * 1000:.1f} ms, a command {call * 1000:.2f} ms"
    rows: list[Row] = []
    for case, against, aim, ours, theirs in cases:
        pairs = [(median(ours, 1), median(theirs, 1)) for _ in range(rounds)]  # in turns, for a busy host
        mine, other = (min(times) for times in zip(*pairs, strict=True))
        rows.append(Row(case, against, mine, other, aim, note))
    return rows
