#!/usr/bin/env bash
# pytest-testinfra 10.2.2 (PyPI), blockdev of util-linux
#
# Guess:   block_device(...).start_sector is where the device starts on its disk: 0 for a whole disk.
# Seen:    it is always the sector size (512), while is_partition, which reads the right column, is False.
# Matters: partition alignment is what this property is for in a test of an image's layout; "aligned to
#          2048" fails for every partition, and a test written by copying what it says passes for every one.
# Needs:   root, losetup, blockdev, python3 with pip.
set -euo pipefail
[[ $EUID -eq 0 ]] || { echo "needs root (a loop device)" >&2; exit 2; }
work=$(mktemp -d)
loop=
trap '[[ -z $loop ]] || losetup --detach "$loop"; rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" pytest-testinfra==10.2.2 pytest==9.2.0

truncate --size=16M "$work/disk"
loop=$(losetup --find --show "$work/disk")
blockdev --report "$loop"
PYTHONPATH="$work/lib" python3 - "$loop" <<'PY'
import sys
import testinfra

device = testinfra.get_host("local://").block_device(sys.argv[1])
answer = (device.is_partition, device.start_sector, device.sector_size)
print("is_partition=%r start_sector=%r sector_size=%r" % answer)
sys.exit(answer != (False, 512, 512))
PY
