#!/usr/bin/env bash
# puppet-agent 7.23.0 (Debian 12)
#
# Guess:   notify { } prints a message; it changes nothing, and a second run is 0 ("no changes").
# Seen:    it counts as a changed resource in every run: exit code 2 each time. The function notice() is 0.
# Matters: "the second run must be 0" is the test of idempotence; one debugging line in a module that somebody
#          else wrote fails it for ever.
# Needs:   puppet.
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
codes="$(apply -e "notify { \"hello\": }") $(apply -e "notify { \"hello\": }")"
notice=$(apply -e "notice(\"hello\")")
echo "notify, twice: $codes; notice(): $notice"
[[ $codes == "2 2" && $notice -eq 0 ]]
