"""`python -m benchmarks [NAME...]`: measure, and print one table."""

from __future__ import annotations

import argparse
import compileall
import importlib
import json
import shutil
import sys
import sysconfig
import tempfile
from dataclasses import asdict
from pathlib import Path

import bakery
from benchmarks.bench import Failed, Row, table

CASES = (
    *("packer", "steps", "mkosi", "mkosi_forky", "plan", "folder"),
    *("fetch", "publish", "transport", "smoke_asserts", "suite"),
)
ASKED_FOR = ("ansible_play", "cluster", "openstack", "vsphere", "guest_python")
"""Cases that need more than this host, or half an hour."""


def main() -> None:
    """Run the cases that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", choices=[*CASES, *ASKED_FOR, []], help=f"of {', '.join(CASES + ASKED_FOR)}")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON, in one line")
    options = parser.parse_args()
    chosen = options.cases or CASES
    folder = Path(tempfile.mkdtemp(prefix="bakery-benchmarks-"))
    folder.chmod(0o755)  # apt, called by mkosi, reads as a user of its own
    for code in (Path(bakery.__file__).parent, sysconfig.get_path("purelib")):
        compileall.compile_dir(code, quiet=2)  # as pip does: nobody's first run is timed
    rows: list[Row] = []
    failed = 0
    try:
        for name in chosen:
            try:
                found = importlib.import_module(f"benchmarks.{name}").run(folder / name)
            except Failed as error:
                failed += 1
                print(f"{name}: {error}", file=sys.stderr)
                continue
            print(table(found), file=sys.stderr, flush=True)  # what was measured is not lost with what comes after
            rows += found
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps([asdict(row) for row in rows]) if options.json else table(rows))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
