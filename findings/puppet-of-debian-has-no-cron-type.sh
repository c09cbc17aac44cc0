#!/usr/bin/env bash
# puppet-agent 7.23.0 (Debian 12)
#
# Guess:   cron, host, mount and ssh_authorized_key are there, as in every Puppet since its beginning: the makers
#          of Puppet took them out of the core in version 6 and ship them in the agent package all the same.
# Seen:    on Debian each is an unknown resource type and the catalogue does not compile; they come in packages of
#          their own (puppet-module-puppetlabs-cron-core, -host-core, -mount-core, -sshkeys-core), which
#          puppet-agent neither depends on nor recommends.
# Matters: manifests that work with the agent from the vendor fail in the guest of a Debian image build, at once
#          and for every node.
# Needs:   puppet, without these modules.
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
missing=
for resource in "cron { \"x\": command => \"true\" }" "host { \"x\": ip => \"127.0.0.9\" }" "mount { \"/mnt\": ensure => absent }" \
  "ssh_authorized_key { \"x\": ensure => absent, user => \"root\" }"; do
  code=$(apply --noop -e "$resource")
  type=${resource%% *}
  echo "$type: exit $code, $(grep --only-matching --max-count=1 "Unknown resource type[^(]*" "$work/told" || true)"
  [[ $code -eq 0 ]] || missing+="$type "
done
[[ $missing == "cron host mount ssh_authorized_key " ]]
