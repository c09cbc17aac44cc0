"""What a worker offers and what a build takes, in Dask's own terms: resources, each with a number.

Some are used up (`slots`, `memory`, `cpus`, labels), some are only there or not (`driver ec2`, `bakery 0.1.0`): of
these a worker has so many that they never run out, and a build takes one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from shutil import which
from typing import Any, Final

from bakery import __version__
from bakery.errors import PreflightError
from bakery.util.units import format_size

ENOUGH: Final = 1e9
"""How often a worker has what does not run out."""


NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "ec2": ("boto3",),
    "openstack": ("openstack",),
    "virtualbox": ("virtualbox",),
    "vsphere": ("pyVmomi",),
}
"""Python packages without which a driver does nothing; looked for, and not imported."""
PROGRAMS: Final[Mapping[str, tuple[str, ...]]] = {
    "folder": ("busybox",),
    "nspawn": ("systemd-nspawn",),
    "qemu": ("qemu-system-x86_64", "qemu-system-aarch64"),
    "virtualbox": ("VBoxManage",),
}
"""The same for programs; one of them is enough."""


def is_usable(driver: str) -> bool:
    """Say whether a driver has what it needs on this host, at first sight; `check` looks closer before each build."""
    modules, programs = NEEDED.get(driver, ()), PROGRAMS.get(driver, ())
    return all(find_spec(module) for module in modules) and (not programs or any(map(which, programs)))


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What a worker's host can do.

    Args:
        slots: builds at once.
        memory: bytes for machines.
        cpus: processors for machines.
        labels: what `--label` says.
        drivers: names of those that can be used.
        arch: the processor's architecture, `x86_64`.
        secrets: environment variables that builds may read as secrets.
        accel: what runs virtual machines: `kvm`, or `tcg`, which emulates them.
    """

    slots: int
    memory: int
    cpus: int
    labels: Mapping[str, int]
    drivers: tuple[str, ...]
    arch: str
    secrets: tuple[str, ...] = ()
    accel: str = "tcg"

    def resources(self) -> dict[str, float]:
        """Return Dask's resources."""
        there = [f"bakery {__version__}", f"arch {self.arch}", *(f"driver {name}" for name in self.drivers)]
        there += [f"accel {self.accel}"]
        there += [f"secret {name}" for name in self.secrets]
        used = {"slots": self.slots, "memory": self.memory, "cpus": self.cpus}
        labels = {f"label {name}": count for name, count in self.labels.items()}
        return {name: float(count) for name, count in {**used, **labels, **dict.fromkeys(there, ENOUGH)}.items()}


def demand(
    *, driver: str, memory: int, cpus: int, labels: Mapping[str, int], secrets: Iterable[str] = ()
) -> dict[str, float]:
    """Return what a build takes, as Dask's resources.

    Args:
        driver: the driver's name.
        memory: bytes.
        cpus: processors.
        labels: how many of each.
        secrets: environment variables that it must find at the worker.
    """
    needed: dict[str, float] = {"slots": 1.0, f"driver {driver}": 1.0, f"bakery {__version__}": 1.0}
    needed |= {"memory": float(memory)} if memory else {}
    needed |= {"cpus": float(cpus)} if cpus else {}
    needed |= {f"label {name}": float(count) for name, count in labels.items()}
    return {**needed, **{f"secret {name}": 1.0 for name in secrets}}


def lacks(needed: Mapping[str, float], offered: Mapping[str, float]) -> list[str]:
    """Say what a worker has too little of for a build; nothing where it could take it."""
    return [_lack(name, count, offered) for name, count in needed.items() if offered.get(name, 0.0) < count]


def _lack(name: str, count: float, offered: Mapping[str, float]) -> str:
    kind, _, what = name.partition(" ")
    if kind == "bakery":
        other = [one.partition(" ")[2] for one in offered if one.startswith("bakery ")]
        return f"bakery {what} (it has {', '.join(other) or 'none'})"
    if kind == "secret":
        return f"the secret {what} in its environment"
    if kind == "driver":
        return f"the driver {what}"
    shown = format_size(int(count)) if name == "memory" else f"{count:g}"
    has = format_size(int(offered.get(name, 0))) if name == "memory" else f"{offered.get(name, 0):g}"
    return f"{shown} {what or name} (it has {has})"


def refuse_homeless(builds: Mapping[str, Mapping[str, float]], workers: Mapping[str, Mapping[str, float]]) -> None:
    """See that each build has a worker that could take it, were it idle.

    Args:
        builds: name to what it takes.
        workers: name to what it offers.

    Raises:
        PreflightError: no worker could; with what each lacks. It would wait for ever.
    """
    homeless = {
        build: {worker: lacks(needed, offered) for worker, offered in workers.items()}
        for build, needed in builds.items()
        if not any(not lacks(needed, offered) for offered in workers.values())
    }
    if not homeless:
        return
    if not workers:
        raise PreflightError(
            "the cluster has no worker that makes images",
            hint="start one on each host: bake worker --scheduler ADDRESS",
        )
    lines = [
        f"{build}: {worker} lacks {', '.join(missing)}"
        for build, each in homeless.items()
        for worker, missing in each.items()
    ]
    names = ", ".join(list(homeless)[:3]) + (", ..." if len(homeless) > 3 else "")  # noqa: PLR2004  enough to see which
    raise PreflightError(
        f"no worker of the cluster can take {names}",
        why="\n".join(lines),
        hint="`bake cluster` shows what the workers offer; `bake worker --label NAME:N --memory SIZE` offers more",
    )


def makes_images(resources: Mapping[str, Any]) -> bool:
    """Say whether a Dask worker is one of ours."""
    return any(name.startswith("bakery ") for name in resources)
