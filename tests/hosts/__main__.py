"""`python -m tests.hosts`: run bakery's own tests, and bake images, on Debian releases other than this host's."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from bakery.state.project import cache_folder
from tests.hosts import trial
from tests.hosts.record import GUESTS, HOSTS, SUITES, WAYS, Trial, Trials, guests
from tests.hosts.roots import BAKE, CHECKOUT, HostRoot, ThisHost

RECORD = Path(__file__).with_name("trials.json")
PAGE = CHECKOUT / "docs" / "compatibility.md"


def main() -> None:
    """Try what was asked for, writing down each result as it comes."""
    options = arguments().parse_args()
    if os.geteuid() != 0:
        sys.exit("tests.hosts needs root: it enters root folders by chroot(1)")
    place = Path(os.environ.get("BAKERY_HOSTS") or cache_folder(os.environ) / "test-hosts")
    failed = 0
    for suite in options.hosts:
        host = ThisHost(suite, place / f"{suite}-here") if options.here else HostRoot(suite, place / suite)
        host.make(fresh=options.fresh)
        for found in trials(host, options):
            print(f"{found.host}: {found.what} {found.guest}: {found.cell}", flush=True)
            failed += found.outcome != "ok"
            write(found, trial.tools(host), place / "lock")
    sys.exit(1 if failed else 0)


def trials(host: HostRoot, options: argparse.Namespace) -> Iterator[Trial]:
    """Yield what comes of each run."""
    for way in options.what:
        if way in SUITES:
            yield trial.example(host) if way == "example" else trial.suite(host, way)
            continue
        host.install(BAKE)
        for guest in guests(way):
            if guest in options.guests:
                yield trial.image(host, way, guest)


def write(found: Trial, tools: dict[str, str], lock: Path) -> None:
    """Write a result down, and draw the page."""
    with FileLock(lock):  # two hosts may be tried at once
        known = Trials.read(RECORD).learn(found, tools)
        known.write(RECORD)
        PAGE.write_text(known.page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def arguments() -> argparse.ArgumentParser:
    """Return what the command line may say."""
    parser = argparse.ArgumentParser(prog="python -m tests.hosts", description=__doc__)
    parser.add_argument("--hosts", nargs="+", choices=HOSTS, default=[*HOSTS], help="the releases that are hosts")
    parser.add_argument("--guests", nargs="+", choices=GUESTS, default=[*GUESTS], help="the releases of the images")
    parser.add_argument(
        "--what", nargs="+", choices=[*SUITES, *WAYS], default=["unit", "nspawn-tree"], help="what to run"
    )
    parser.add_argument("--here", action="store_true", help="on this machine itself, of the release of --hosts")
    parser.add_argument("--fresh", action="store_true", help="make the hosts anew")
    return parser


if __name__ == "__main__":
    main()
