#!/usr/bin/env bash
# systemd-analyze 252 (systemd, Debian 12)
#
# Guess:   `systemd-analyze verify` of a unit with misspelt keys fails: that is what one verifies for.
# Seen:    it prints "Unknown key ... ignoring" and exits 0; so it does for a value that cannot be parsed. With any
#          value of --recursive-errors=, "no" among them, the same unit is exit 1.
# Matters: a unit with `Aftr=` or `Restart=alway` passes the check in an image's pipeline and starts in the wrong
#          order, or never again, on the machines made of it. --recursive-errors=no looks like less, and is the check.
# Needs:   systemd-analyze.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
systemd-analyze --version | sed -n 1p
cat >"$work/web.service" <<'EOF'
[Unit]
Description=A unit with two mistakes
Aftr=network.target
[Service]
ExecStart=/bin/true
Restart=alway
EOF
codes=""
for option in "" --recursive-errors=no --recursive-errors=one --recursive-errors=yes; do
  code=0
  # shellcheck disable=SC2086  # nothing, where it is empty
  systemd-analyze verify --man=no $option "$work/web.service" >"$work/said" 2>&1 || code=$?
  echo "verify $option: exit $code, $(grep -c web.service "$work/said") complaints"
  codes+="$code "
done
sed "s,$work/,," "$work/said"
[[ $codes == "0 1 1 1 " ]]
