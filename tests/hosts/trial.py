"""What runs on a host: bakery's own tests, and one image of a release, built, booted, tested and looked into."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime

from tests.hosts.record import NEXT, TOOLS, Trial
from tests.hosts.roots import LOWEST, NEWEST, HostRoot

OPTIONS = {"nspawn-tree": ("--no-test",), "nspawn-next": ("--clones", "2")}
ACCOUNTS = "not aws and not openstack and not virtualbox and not vmware"
SOURCES = {
    "nspawn-tree": "Nspawn(base=Debian({guest!r}))",
    "nspawn": "Nspawn(base=Debian({guest!r}), memory='1G')",
    "nspawn-next": "Nspawn(base=Debian({guest!r}), memory='1G')",
    "qemu-bios": "Qemu(base=Debian({guest!r}), memory='1G')",
    "qemu-uefi": "Qemu(base=Debian({guest!r}), memory='1G', firmware='uefi')",
}
IMAGEFILE = """\
from pathlib import Path

import bakery
from bakery import Host, Machine
from bakery.drivers import Debian, Nspawn, Qemu


@bakery.source
def here():
    return {source}


{upgrade}@bakery.task
def login(m: Machine) -> None:
    m.run("useradd --create-home --shell /bin/bash baker && echo baker:secret | chpasswd")
    m.run("echo 'baker was here' >/home/baker/note", user="baker")
    Path(__file__).with_name("status").write_text(m.run("cat /var/lib/dpkg/status", hide=True).stdout)


@bakery.test
def somebody_can_log_in(host: Host) -> None:
    assert host.user("baker").shell == "/bin/bash"
    assert host.file("/home/baker/note").user == "baker"


@bakery.test
def runs_its_newest_kernel(host: Host) -> None:
    newest = host.check_output("linux-version list | linux-version sort | tail -n 1")
    assert host.check_output("uname -r") == newest
"""
UPGRADE = """\
APT = "apt-get --yes -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"


@bakery.task(timeout=3600)
def upgrade(m: Machine) -> None:
    m.run("sed -i 's/{guest}/{release}/g; /sid-/d' /etc/apt/sources.list")
    m.run(f"apt-get update && {{APT}} full-upgrade", env={{"DEBIAN_FRONTEND": "noninteractive"}})


"""
"""As a user does it, with the settings that the base has; sid has no suites beside itself."""
PATIENCE = "30m"
"""How long a machine may boot: where several are emulated at once, one has a tenth of a processor."""
LONG = "project-in-a-folder-" * 8
"""Paths as long as users have them: some tools take none of more than 255 bytes in an option."""
PASSED = re.compile(r"(\d+) passed")
TOOK = re.compile(r"(?m)^web@laptop +ok +([\d:]+(?: s)?)")
VERSION = re.compile(r"^(?:\d+:)?(.+?)(?:\+(?:dfsg|ds).*|-[^-]*|~deb.*|\+deb.*)?$")
"""Of a Debian version: what upstream calls it."""


def tools(host: HostRoot) -> dict[str, str]:
    """Return the versions of the host's tools."""
    return tool_versions((host.path / "var/lib/dpkg/status").read_text(encoding="utf-8"))


def tool_versions(status: str) -> dict[str, str]:
    """Return those that dpkg's status file names."""
    found = {name: version for name in TOOLS if (version := package(status, name))}
    if (
        "python3" in found
    ):  # which is a package of its own that says which Python is the usual one, a patch release behind
        minor = ".".join(found["python3"].split(".")[:2])
        found["python3"] = package(status, f"python{minor}") or found["python3"]
    return found


def package(status: str, name: str) -> str:
    """Return the upstream version of a package in dpkg's status file; empty where it is not installed."""
    found = re.search(rf"(?m)^Package: {re.escape(name)}\n(?:.+\n)*?Version: (.+)$", status)
    cut = VERSION.match(found[1]) if found else None
    return cut[1] if cut else ""


def suite(host: HostRoot, what: str) -> Trial:
    """Run some of bakery's own tests, those that `make test` runs."""
    folder, _, lowest = what.partition("-")
    venv = LOWEST if lowest else NEWEST
    host.equip()
    host.install(venv)
    workers, spread = ("auto", "load") if folder == "unit" else (str(2 * (os.cpu_count() or 1)), "loadfile")
    at_once = ("-n", workers, "--dist", spread)  # as in `make test`: what boots machines waits more than it works
    options = ("-q", *at_once, "-p", "no:cacheprovider", "-m", f"not all and {ACCOUNTS}", "--reruns", "1")
    done = host.run("pytest", *options, f"tests/{folder}", venv=venv)
    print(done.stdout)
    last = done.stdout.strip().splitlines()[-1]
    count = PASSED.search(last)
    outcome = "ok" if done.returncode == 0 else re.sub(r" in [0-9.]+s.*", "", last)
    return _trial(host, what, "", outcome, {"passed": count[1]} if count else {})


def example(host: HostRoot) -> Trial:
    """Do what the README begins with, as if for the first time: an environment, the base, the image and its tests."""
    folder = host.work / "example"
    shutil.rmtree(folder, ignore_errors=True)
    inside = f"{host.srv}/example"
    places = (f"VENV={inside}/venv", f"EXAMPLE={inside}/project", f"BAKERY_CACHE_DIR={inside}/cache")
    done = host.run("make", *places, "example")
    print(done.stdout)
    took = TOOK.findall(done.stdout)
    shutil.rmtree(folder, ignore_errors=True)
    return _trial(host, "example", "", "ok" if done.returncode == 0 else "failed", {"took": took[-1]} if took else {})


def imagefile(way: str, guest: str) -> str:
    """Return the imagefile of an image that is made in this way."""
    upgrade = UPGRADE.format(guest=guest, release=NEXT[guest]) if way == "nspawn-next" else ""
    return IMAGEFILE.format(source=SOURCES[way].format(guest=guest), upgrade=upgrade)


def image(host: HostRoot, way: str, guest: str) -> Trial:
    """Build one image, boot and test it."""
    folder = host.work / "images" / f"{way}-{guest}" / LONG
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "imagefile.py").write_text(imagefile(way, guest), encoding="utf-8")
    inside = f"{host.srv}/images/{way}-{guest}/{LONG}"
    options = ("--no-cache", "--connect-timeout", PATIENCE, *OPTIONS.get(way, ()))
    done = host.run("bake", "-C", inside, "--format", "json", "--color", "never", "build", *options)
    print(done.stdout[-6000:])
    outcome = "ok" if done.returncode == 0 else f"{first_error(done.stdout)} (exit code {done.returncode})"
    status = folder / "status"
    facts = _versions(status.read_text(encoding="utf-8")) if status.exists() else {}
    if "no systemd in this container" in done.stdout:
        facts["plain namespace"] = ""
    if done.returncode == 0:  # what failed is kept, to be looked at
        shutil.rmtree(folder)
    return _trial(host, way, guest, outcome, facts)


def _versions(status: str) -> dict[str, str]:
    kernel = package(status, "linux-image-amd64")
    return {"systemd": package(status, "systemd"), "Linux": kernel}


def first_error(text: str) -> str:
    """Return the first error that a run has told, as one line of a table."""
    for line in text.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("type") == "failed":
            return str(event["what"]).splitlines()[0].replace("|", "/")
    return "failed"


def _trial(host: HostRoot, what: str, guest: str, outcome: str, facts: Mapping[str, str]) -> Trial:
    day = datetime.now(UTC).date().isoformat()
    return Trial(host=host.suite, what=what, guest=guest, date=day, outcome=outcome, facts=facts)
