"""`python -m benchmarks [NAME...]`: measure, and print one table."""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import tempfile
from pathlib import Path

from benchmarks.bench import table

CASES = ("packer", "steps", "mkosi", "folder")
ASKED_FOR = ("openstack",)
"""Cases that need more than this host."""


def main() -> None:
    """Run the cases that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", choices=[*CASES, *ASKED_FOR, []], help=f"of {', '.join(CASES + ASKED_FOR)}")
    chosen = parser.parse_args().cases or CASES
    folder = Path(tempfile.mkdtemp(prefix="bakery-benchmarks-"))
    try:
        rows = [row for name in chosen for row in importlib.import_module(f"benchmarks.{name}").run(folder / name)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{os.cpu_count()} processors, TCG\n")
    print(table(rows))


if __name__ == "__main__":
    main()
