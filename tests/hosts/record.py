"""What was tried and what came of it: read and written as JSON, and drawn as the tables of docs/compatibility.md."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

BEGIN, END = "<!-- what follows is drawn by `make test-hosts` -->", "<!-- what `make test-hosts` draws ends here -->"
HOSTS = ("bookworm", "trixie", "forky", "sid")
GUESTS: tuple[str, ...] = ("bullseye", "bookworm", "trixie", "forky", "sid")
WAYS = {
    "nspawn-tree": "Built with Nspawn in a booted container, and looked into",
    "nspawn": "Built with Nspawn, booted and tested in QEMU (BIOS)",
    "qemu-bios": "Built, booted and tested with Qemu, BIOS",
    "qemu-uefi": "Built, booted and tested with Qemu, UEFI",
    "nspawn-next": "Built with Nspawn, upgraded to the next release, and two machines of it compared in QEMU",
}
NEXT: dict[str, str] = dict(pairwise(GUESTS))
"""To which release a release is upgraded: sid to none."""
SUITES = {
    "unit": "unit tests",
    "unit-lowest": "unit tests, oldest dependencies",
    "cli": "command line tests",
    "contract": "contract tests",
    "live": "live tests, those of `make test`",
    "example": "`make example`, with nothing there before",
}
TOOLS = {
    "python3": "Python",
    "qemu-system-x86": "QEMU",
    "systemd-container": "systemd-nspawn",
    "e2fsprogs": "e2fsprogs",
    "grub-common": "GRUB",
    "mmdebstrap": "mmdebstrap",
    "openssh-client": "OpenSSH",
}
"""Debian packages of a host that decide what it can do, and what a reader calls them."""


def guests(way: str) -> tuple[str, ...]:
    """Return the releases of which images are made in this way."""
    return tuple(NEXT) if way == "nspawn-next" else GUESTS


@dataclass(frozen=True, order=True)
class Trial:
    """One run on one host.

    Args:
        host: its release.
        what: the tests, of `SUITES`, or the way in which an image was made, of `WAYS`.
        guest: the image's release; empty where there is none.
        date: the day, as in `2026-11-30`.
        outcome: `ok`, or what went wrong in one line.
        facts: what was counted or which versions were met: `passed`, `systemd`, `kernel`.
    """

    host: str
    what: str
    guest: str
    date: str
    outcome: str
    facts: Mapping[str, str] = field(default_factory=dict[str, str], compare=False)

    @property
    def cell(self) -> str:
        """What the table says of it."""
        facts = ", ".join(
            f"{name} {value}" if name != "passed" else f"{value} passed" for name, value in self.facts.items()
        )
        words = "" if self.outcome == "ok" else f"**{self.outcome}**"
        return "; ".join(filter(None, (self.date, words, facts)))


@dataclass(frozen=True)
class Trials:
    """All that was tried.

    Args:
        hosts: of each host, the versions of its tools by the name of `TOOLS`.
        trials: the newest of each host, way and guest.
    """

    hosts: Mapping[str, Mapping[str, str]]
    trials: tuple[Trial, ...]

    @classmethod
    def read(cls, file: Path) -> Trials:
        """Read what `write` wrote."""
        data = json.loads(file.read_text(encoding="utf-8"))
        return cls(hosts=data["hosts"], trials=tuple(Trial(**trial) for trial in data["trials"]))

    def write(self, file: Path) -> None:
        """Write one trial a line, in order, so that a run changes the lines of what it tried."""
        hosts = ",\n".join(f"  {json.dumps(host)}: {json.dumps(tools)}" for host, tools in sorted(self.hosts.items()))
        trials = ",\n".join(f"  {json.dumps(dataclasses.asdict(trial))}" for trial in sorted(self.trials))
        file.write_text(f'{{"hosts": {{\n{hosts}\n}}, "trials": [\n{trials}\n]}}\n', encoding="utf-8")

    def learn(self, trial: Trial, tools: Mapping[str, str]) -> Trials:
        """Return these with one more, which takes the place of an older one."""
        key = (trial.host, trial.what, trial.guest)
        kept = (old for old in self.trials if (old.host, old.what, old.guest) != key)
        return Trials(hosts={**self.hosts, trial.host: tools}, trials=(*kept, trial))

    def page(self, page: str) -> str:
        """Return a page with the tables between its marks drawn anew."""
        before, _, rest = page.partition(BEGIN)
        _, _, after = rest.partition(END)
        return f"{before}{BEGIN}\n\n{self.tables()}\n{END}{after}"

    def tables(self) -> str:
        """Return the hosts, and for each way of making an image a table of hosts and guests."""
        parts = ["## Hosts\n", _table(("host", *TOOLS.values()), map(self._host, HOSTS))]
        rows = ((words, *(self._cell(host, suite, "") for host in HOSTS)) for suite, words in SUITES.items())
        parts += ["## Bakery's own tests\n", _table(("", *(f"on {host}" for host in HOSTS)), rows)]
        for way, title in WAYS.items():
            rows = ((guest, *(self._cell(host, way, guest) for host in HOSTS)) for guest in guests(way))
            parts += [f"## {title}\n", _table(("guest", *(f"on {host}" for host in HOSTS)), rows)]
        return "\n".join(parts)

    def _host(self, host: str) -> tuple[str, ...]:
        tools = self.hosts.get(host, {})
        return (host, *(tools.get(name, "") for name in TOOLS))

    def _cell(self, host: str, what: str, guest: str) -> str:
        found = (trial.cell for trial in self.trials if (trial.host, trial.what, trial.guest) == (host, what, guest))
        return next(found, "")


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head)]
    lines.append(["---"] * len(lines[0]))
    lines += [[*row] for row in rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
