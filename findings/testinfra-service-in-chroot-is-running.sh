#!/usr/bin/env bash
# pytest-testinfra 10.2.2 (PyPI), systemctl of systemd 252 (Debian 12)
#
# Guess:   in a chroot nothing runs, so service(...).is_running is False or an error.
# Seen:    True for every name, also for one that no unit has. systemctl notices the chroot, prints
#          "ignoring command 'is-active'" and exits 0, and the exit code is all that testinfra reads.
# Matters: images are often checked as unpacked trees (chroot, mmdebstrap hooks, Ansible's chroot
#          connection): there every "the service runs" test passes.
# Needs:   root, unshare, chroot, systemctl, python3 with pip.
set -euo pipefail
[[ $EUID -eq 0 ]] || { echo "needs root (chroot and mounts in a private namespace)" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
systemctl --version | sed -n 1p
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" pytest-testinfra==10.2.2 pytest==9.2.0
python=$(python3 -c 'import sys; print(sys.executable)')
prefix=$(python3 -c 'import sys; print(sys.base_prefix)')

# A tree of its own: /usr and /etc of this host, its own /proc (so that "am I in a chroot" can be told).
cat >"$work/inside" <<'SH'
set -euo pipefail
tree=$1 python=$2 prefix=$3 lib=$4
mount --make-rprivate /
mkdir "$tree"
mount -t tmpfs tree "$tree"
mkdir -p "$tree"/{usr,etc,proc,dev,run,tmp,lib-python} "$tree$prefix"
mount -t proc proc "$tree/proc"
for folder in /usr /etc /dev; do mount --rbind "$folder" "$tree$folder"; done
[[ -x $tree$python ]] || mount --rbind "$prefix" "$tree$prefix"
mount --rbind "$lib" "$tree/lib-python"
for link in bin sbin lib lib64; do ln -s "usr/$link" "$tree/$link"; done
PYTHONPATH=/lib-python chroot "$tree" "$python" -c '
import sys, testinfra
service = testinfra.get_host("local://").service("no-such-service-anywhere")
print("exists=%r is_running=%r" % (service.exists, service.is_running))
sys.exit((service.exists, service.is_running) != (False, True))
'
SH
unshare --mount --pid --fork --mount-proc bash "$work/inside" "$work/tree" "$python" "$prefix" "$work/lib"
