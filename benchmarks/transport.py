"""Measures the way to a machine against OpenSSH's own tools, on a loopback sshd of its own. Needs root.

Usage: python benchmarks/transport.py [ROUNDS]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bakery.keys import make_keys
from bakery.testing.sshd import Server, start_sshd

MEGABYTES: Final = 300
FILES: Final = 10_000


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


def main() -> None:
    """Print one line a measurement: ours, theirs, and the ratio."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as base:
        server = start_sshd(Path(base) / "sshd", make_keys("bakery-benchmark"))
        try:
            measure(server, rounds)
        finally:
            server.stop()


def measure(server: Server, rounds: int) -> None:
    """Run all measurements; of the transfers the best round counts."""
    options, folder = prepare(server), server.folder
    machine = server.machine()
    connect = median(lambda: server.link().open(), rounds)
    machine.run("true")
    call = median(lambda: machine.run("true"), 100)
    bare = median(lambda: machine._link.open().run("true"), 100)  # noqa: SLF001  the layer below is measured too
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
    rows = [
        (f"put {MEGABYTES} MB, scp", lambda: machine.put("big", folder / "out"),
         lambda: subprocess.run([*scp, folder / "big", f"{there}/out"], check=True)),
        (f"get {MEGABYTES} MB, scp", lambda: machine.get(folder / "big", "in"),
         lambda: subprocess.run([*scp, f"{there}/big", folder / "in"], check=True)),
        (f"copy {FILES} files, tar | ssh", copy, tar),
    ]  # fmt: skip
    print(f"connect {connect * 1000:.1f} ms; Machine.run {call * 1000:.2f} ms; Transport.run {bare * 1000:.2f} ms")
    for name, ours, theirs in rows:
        pairs = [(median(ours, 1), median(theirs, 1)) for _ in range(rounds)]  # in turns, for a busy host
        mine, other = (min(times) for times in zip(*pairs, strict=True))
        print(f"{name}: {mine:.2f} s, {other:.2f} s, ratio {mine / other:.2f}")


main()
