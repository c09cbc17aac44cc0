"""A machine of vcsim as a real QEMU guest: what `docker` is asked for, done with the tiny guest's disk.

The machine's RUN.container is `["ID", "ADDRESS", "DISK"]`: an id of ours for its files, the loopback address at which
its SSH shall answer, and the disk that it starts from. What vcsim hands on of `guestinfo.*` becomes a NoCloud seed, as
cloud-init's VMware datasource would have it.

Environment: VM_RIG, the folder for disks, logs and sockets; VM_RIG_MEMORY, MiB (128); VM_RIG_PASSWORD, of root, with
which the simulator is told no address: such guests are entered by guest operations.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import yaml

RIG = Path(os.environ["VM_RIG"])
PASSWORD = os.environ.get("VM_RIG_PASSWORD", "")
OBEYS = 120.0
"""Seconds that a guest may take to power off when its button was pressed."""


def file(guest: str, suffix: str) -> Path:
    """A file of a guest."""
    return RIG / f"{guest}.{suffix}"


def pid(guest: str) -> int | None:
    """The process of a guest that runs."""
    with contextlib.suppress(OSError, ValueError):
        number = int(file(guest, "pid").read_text())
        words = Path(f"/proc/{number}/cmdline").read_bytes()
        return number if str(file(guest, "qcow2")).encode() in words else None
    return None


def tell(guest: str, command: str) -> None:
    """Tell QEMU something."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as monitor:
        monitor.settimeout(5)
        monitor.connect(str(file(guest, "qmp")))
        stream = monitor.makefile("rw")
        stream.readline()
        for word in ("qmp_capabilities", command):
            stream.write(json.dumps({"execute": word}) + "\n")
            stream.flush()
            stream.readline()


def boot(guest: str) -> None:
    """Start a guest from its disk."""
    words = ["qemu-system-x86_64", "-accel", "tcg", "-m", os.environ.get("VM_RIG_MEMORY", "128")]
    words += ["-display", "none", "-nodefaults", "-daemonize", "-pidfile", str(file(guest, "pid"))]
    words += ["-serial", f"file:{file(guest, 'console')}", "-qmp", f"unix:{file(guest, 'qmp')},server,nowait"]
    words += ["-drive", f"file={file(guest, 'qcow2')},if=virtio"]
    words += ["-drive", f"file={file(guest, 'seed')},if=virtio,format=raw,readonly=on"]
    address = file(guest, "address").read_text()
    words += ["-netdev", f"user,id=n,restrict=on,hostfwd=tcp:{address}:22-:22", "-device", "virtio-net-pci,netdev=n"]
    with file(guest, "log").open("ab") as log:
        subprocess.run(words, check=True, stdout=log, stderr=log)


def seed(guest: str, environ: dict[str, str]) -> None:
    """Write what cloud-init would have read."""
    from bakery.drivers import cloudinit
    from bakery.testing.aws import tinyinit

    def read(name: str) -> str:
        data = base64.b64decode(environ.get(f"VMX_GUESTINFO_{name}", ""))
        packed = environ.get(f"VMX_GUESTINFO_{name}_ENCODING") == "gzip+base64"
        return (gzip.decompress(data) if packed and data else data).decode()

    metadata = yaml.safe_load(read("METADATA")) or {"instance-id": guest}
    script = tinyinit.script(read("USERDATA") or "#!/bin/sh\n")
    if PASSWORD:  # an account of the base's own; the tiny guest's has too short a one, and no chpasswd
        told = subprocess.run(
            ["openssl", "passwd", "-6", "-stdin"], input=PASSWORD.encode(), capture_output=True, check=True
        )
        head, _, rest = script.partition("\n")
        script = f"{head}\nsed -i 's|^root:[^:]*:|root:{told.stdout.decode().strip()}:|' /etc/shadow\n{rest}"
    files = {"meta-data": yaml.safe_dump(metadata), "user-data": script}
    file(guest, "seed").write_bytes(cloudinit._iso(files).ljust(cloudinit.LEAST, b"\0"))


def run(words: list[str]) -> None:
    """Make a guest's disk and start it."""
    if "--rm" in words:  # a volume with the machine's UUID: nothing to keep
        sys.stdin.buffer.read()
        return
    environ: dict[str, str] = {}
    names: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--env":
            name, _, value = next(rest).partition("=")
            environ[name] = value  # the simulator appends what is set again
        elif word in {"--name", "-v"}:
            next(rest)
        elif word not in {"-d", "-i"}:
            names.append(word)
    guest, address, disk = names
    file(guest, "address").write_text(address)
    if Path(disk) == file(guest, "qcow2"):
        pass  # it was imported
    elif Path(disk).parent == RIG:
        shutil.copyfile(disk, file(guest, "qcow2"))
    else:
        made = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", disk, "-F", "qcow2", str(file(guest, "qcow2"))]
        subprocess.run(made, check=True)
    seed(guest, environ)
    boot(guest)
    sys.stdout.write(f"{guest}\n")


def stop(guest: str) -> None:
    """Press the power button, or pull the plug where `ID.plug` says so."""
    if not file(guest, "plug").exists():
        tell(guest, "system_powerdown")
        end = time.monotonic() + OBEYS
        while pid(guest) and time.monotonic() < end and not file(guest, "plug").exists():
            time.sleep(0.05)
    if number := pid(guest):
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
        while pid(guest):
            time.sleep(0.02)
    file(guest, "plug").unlink(missing_ok=True)


def remove(guest: str) -> None:
    """End a guest and delete its files."""
    file(guest, "plug").touch()
    stop(guest)
    for path in RIG.glob(f"{guest}.*"):
        path.unlink()


def main() -> None:
    """Do what docker was asked for."""
    verb, *words = sys.argv[1:]
    match verb:
        case "run":
            run(words)
        case "inspect":
            address = "" if PASSWORD else file(words[0], "address").read_text()
            json.dump([{"State": {"Status": "running"}, "NetworkSettings": {"IPAddress": address}}], sys.stdout)
        case "start":
            if not pid(words[0]):
                boot(words[0])
        case "stop":
            stop(words[0])
        case "pause":
            tell(words[0], "stop")
        case "unpause":
            tell(words[0], "cont")
        case "rm":
            remove(words[-1])
        case "volume":
            pass
        case _:
            sys.exit(f"docker stand-in: no {verb!r}")


if __name__ == "__main__":
    main()
