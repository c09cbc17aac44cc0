"""The process beside a guest: takes the machine's lock, runs QEMU, notes how it ended, and lets go of the lock.

Its folder holds `words.json` (QEMU's command line, the lock's, the disks to copy), `alive` (locked while it runs),
`exit`.
"""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import sys
from pathlib import Path

from bakery.testing.virtualbox import vdi

ALIVE, EXIT, WORDS, LOG = "alive", "exit", "words.json", "qemu.log"


def main(folder: Path) -> None:
    """Run one guest to its end."""
    words = json.loads((folder / WORDS).read_text(encoding="utf-8"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is meant for `bake`
    with (folder / ALIVE).open("w", encoding="utf-8") as alive, (folder / LOG).open("wb") as log:
        fcntl.flock(alive, fcntl.LOCK_EX)
        lock = subprocess.Popen(words["lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        assert lock.stdout is not None
        assert lock.stdin is not None
        if lock.stdout.readline() != b"locked\n":
            (folder / EXIT).write_text("the machine's lock cannot be had", encoding="utf-8")
            return
        for disk in words["disks"]:
            vdi.flatten([Path(path) for path in disk["chain"]], Path(disk["raw"]))
        code = subprocess.run(words["qemu"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False).returncode
        for disk in words["disks"]:
            vdi.write_back(Path(disk["raw"]), [Path(path) for path in disk["chain"]])
            Path(disk["raw"]).unlink()
        (folder / EXIT).write_text(str(code), encoding="utf-8")
        lock.stdin.close()
        lock.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
