#!/usr/bin/env bash
# puppet-agent 7.23.0 (Debian 12)
#
# Guess:   --noop --detailed-exitcodes tells by 2 that something would be changed; the help says of 0 that "the
#          system was already in the desired state".
# Seen:    0, whatever is pending; only the text says "current_value absent, should be file (noop)".
# Matters: this is the drift check that people write for a finished image, and it can never fail.
# Needs:   puppet. Nothing outside a temporary folder is changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
command -v puppet >/dev/null || { echo "needs the package puppet-agent" >&2; exit 2; }
echo "puppet $(puppet --version)"
apply() { # the exit code of a manifest; what it printed is in $work/told
  local code=0
  puppet apply --confdir "$work/conf" --vardir "$work/var" --color false --detailed-exitcodes "$@" >"$work/told" 2>&1 || code=$?
  echo "$code"
}
pending="file { \"$work/wanted\": ensure => file }"
noop=$(apply --noop -e "$pending")
said=$(grep --only-matching "current_value.*" "$work/told")
real=$(apply -e "$pending")
again=$(apply -e "$pending")
echo "with --noop: exit $noop, \"$said\"; for real: exit $real; once more: exit $again"
[[ $noop -eq 0 && -n $said && $real -eq 2 && $again -eq 0 ]]
