#!/usr/bin/env bash
# pytest-testinfra 10.2.2 (PyPI)
#
# Guess:   mount_point(path).filesystem is the file system that one sees at the path.
# Seen:    where two are mounted at one path it is the lower one, which nobody can reach; findmnt and
#          statfs say the upper. The first line of /proc/mounts wins, and the last one is the mount in force.
# Matters: images mount over mounts on purpose (a hardened /tmp or /dev/shm over the distribution's own, an
#          overlay over a read-only root): the options that a test checks are not those in force.
# Needs:   unshare (a user and mount namespace), findmnt, python3 with pip.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" pytest-testinfra==10.2.2 pytest==9.2.0

mkdir "$work/place"
cat >"$work/inside" <<'SH'
set -euo pipefail
mount -t tmpfs -o size=1m,exec lower "$1/place"
mount -t tmpfs -o size=2m,noexec upper "$1/place"
echo "findmnt: $(findmnt --noheadings --output SOURCE,OPTIONS "$1/place" | tail -n 1)"
echo "statfs:  $(stat --file-system --format='%b blocks of %S' "$1/place")"
PYTHONPATH="$1/lib" python3 -c '
import sys, testinfra
mount = testinfra.get_host("local://").mount_point(sys.argv[1])
print("testinfra: device=%r options=%r" % (mount.device, mount.options))
sys.exit(mount.device != "lower" or "noexec" in mount.options)
' "$1/place"
SH
unshare --user --map-root-user --mount bash "$work/inside" "$work"
