#!/usr/bin/env bash
# pytest-testinfra 10.2.2 (PyPI), systemctl of systemd 252 (Debian 12)
#
# Guess:   a masked unit is not enabled.
# Seen:    is_masked and is_enabled are both True, if the package brings an init script as well as a unit
#          (ssh, cron, rsyslog and many others do on Debian): for any answer but "enabled" and "disabled"
#          testinfra looks for start links in /etc/rc?.d, which masking leaves alone.
# Matters: "what must not start is not enabled" is a hardening test of images, and it fails on the image
#          that did the most to keep the service down.
# Needs:   root, unshare, systemctl, python3 with pip.
set -euo pipefail
[[ $EUID -eq 0 ]] || { echo "needs root (a private copy of /etc in a mount namespace)" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
systemctl --version | sed -n 1p
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" pytest-testinfra==10.2.2 pytest==9.2.0

cat >"$work/inside" <<'SH'
set -euo pipefail
mount --make-rprivate /
cp -a /etc "$1/etc"
mount --bind "$1/etc" /etc
printf '#!/bin/sh\nexit 0\n' >/etc/init.d/demo-daemon
chmod 755 /etc/init.d/demo-daemon
for level in 2 3 4 5; do
  mkdir -p "/etc/rc$level.d"
  ln -s ../init.d/demo-daemon "/etc/rc$level.d/S01demo-daemon"
done
ln -s /dev/null /etc/systemd/system/demo-daemon.service
PYTHONPATH="$1/lib" python3 -c '
import sys, testinfra
host = testinfra.get_host("local://")
print("systemctl is-enabled:", host.run("systemctl is-enabled demo-daemon").stdout.strip())
service = host.service("demo-daemon")
print("is_masked=%r is_enabled=%r" % (service.is_masked, service.is_enabled))
sys.exit((service.is_masked, service.is_enabled) != (True, True))
'
SH
unshare --mount bash "$work/inside" "$work"
