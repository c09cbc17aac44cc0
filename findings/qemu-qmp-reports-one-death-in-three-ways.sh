#!/usr/bin/env bash
# qemu.qmp 0.0.6 (PyPI), qemu-system-x86_64 7.2 (Debian 12)
#
# Guess:   when QEMU dies, every call on the connection raises the same error, and disconnect() is quiet: there is
#          nothing left to disconnect.
# Seen:    the first call after it raises ExecInterruptedError, the following ones StateError ("is disconnecting. Call
#          disconnect()"), and disconnect() itself raises EOFError, which is no QMPError.
# Matters: "except ExecInterruptedError: the machine is dead" holds for one call; the next one looks like a fault of the
#          program that calls, and a clean-up that catches QMPError is ended by the very thing that it cleans up after.
# Needs:   qemu-system-x86_64 (no guest is started: -machine none), python3 with pip.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
command -v qemu-system-x86_64 >/dev/null || { echo "needs the package qemu-system-x86" >&2; exit 2; }
qemu-system-x86_64 --version | sed -n 1p
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" qemu.qmp==0.0.6
cd "$work"
PYTHONPATH="$work/lib" python3 - <<'PY'
import asyncio
import pathlib
import subprocess
import sys
import time
from qemu.qmp import QMPClient, QMPError


async def failure(call):
    try:
        await asyncio.wait_for(call, 10)
    except Exception as error:
        print(f"  {type(error).__name__} (a QMPError: {isinstance(error, QMPError)}): {error}")
        return type(error).__name__
    return None


async def main(machine):
    client = QMPClient("machine")
    await asyncio.wait_for(client.connect("qmp"), 20)
    await client.execute("query-status")
    machine.kill()
    machine.wait()
    names = [await failure(client.execute("query-status")) for _ in range(3)]
    return [*names, await failure(client.disconnect())]


words = "qemu-system-x86_64 -machine none -S -nodefaults -display none -qmp unix:qmp,server=on,wait=off".split()
with subprocess.Popen(words) as process:
    try:
        for _ in range(200):
            if pathlib.Path("qmp").exists():
                break
            time.sleep(0.1)
        seen = asyncio.run(main(process))
    finally:
        process.kill()
sys.exit(seen != ["ExecInterruptedError", "StateError", "StateError", "EOFError"])
PY
