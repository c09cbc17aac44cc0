#!/usr/bin/env bash
# systemctl of systemd 252 (Debian 12)
#
# Guess:   `systemctl --root=TREE disable NAME` fails for a unit that is not there, as enable does.
# Seen:    both print "Failed to ... unit, unit no-such.service does not exist."; enable exits 1 and disable 0. And
#          enabling a unit without an [Install] section is a page of explanation, and 0.
# Matters: "turn this service off in the image" is a hardening step; when the unit is renamed by a new release, the
#          step passes and the service runs.
# Needs:   systemctl.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
systemctl --version | sed -n 1p
mkdir -p "$work"/tree/{etc/systemd/system,usr/lib/systemd/system}
printf '[Service]\nExecStart=/bin/true\n' >"$work/tree/usr/lib/systemd/system/static.service"
codes=
for words in 'enable no-such' 'disable no-such' 'enable static'; do
  code=0
  # shellcheck disable=SC2086  # a verb and a name
  systemctl --root="$work/tree" $words >"$work/told" 2>&1 || code=$?
  echo "$words: exit $code, $(sed -n 1p "$work/told" | cut -c1-70)"
  codes+="$code "
done
[[ $codes == '1 0 0 ' && -z $(find "$work/tree/etc" -type l) ]]
