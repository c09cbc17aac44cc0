#!/usr/bin/env bash
# pytest-testinfra 10.2.2 (PyPI), dpkg of Debian
#
# Guess:   a multi-arch library that is installed for amd64 and for i386 is installed, in one version.
# Seen:    host.package(...).is_installed is False and .version is "1.0install". dpkg-query prints one
#          record for each architecture without a line feed between them, and the answer is cut at blanks.
# Matters: a smoke test of an image with a foreign architecture (Wine, Steam, cross builds) fails on a
#          package that is there, or compares a version that no archive has.
# Needs:   dpkg-deb, dpkg, python3 with pip. Runs as any user; the package database is a throw-away.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" pytest-testinfra==10.2.2 pytest==9.2.0

mkdir -p "$work/root/var/lib/dpkg/"{updates,info,triggers}
: >"$work/root/var/lib/dpkg/status"
printf 'amd64\ni386\n' >"$work/root/var/lib/dpkg/arch"
for arch in amd64 i386; do
  mkdir -p "$work/$arch/DEBIAN"
  cat >"$work/$arch/DEBIAN/control" <<CONTROL
Package: libdual
Version: 1.0
Architecture: $arch
Multi-Arch: same
Maintainer: Nobody <nobody@example.org>
Description: the same library for one more architecture
CONTROL
  dpkg-deb --root-owner-group --build "$work/$arch" "$work/libdual_$arch.deb" >/dev/null
done
dpkg --root="$work/root" --force-not-root --force-script-chrootless --log=/dev/null \
  --install "$work"/libdual_*.deb >/dev/null

export DPKG_ADMINDIR="$work/root/var/lib/dpkg"
echo "dpkg-query says:"
dpkg-query --show --showformat='  ${binary:Package} ${Version} ${db:Status-Status}\n'
PYTHONPATH="$work/lib" python3 - <<'PY'
import sys
import testinfra

package = testinfra.get_host("local://").package("libdual")
answer = (package.is_installed, package.version)
print("testinfra says: is_installed=%r version=%r" % answer)
sys.exit(answer != (False, "1.0install"))
PY
