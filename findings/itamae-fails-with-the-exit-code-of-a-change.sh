#!/usr/bin/env bash
# itamae 1.14.1 (Debian 12)
#
# Guess:   with --detailed-exitcode 0 is "no changes", 1 "failed" and 2 "changed", as `itamae help local` says.
# Seen:    a command that fails is 2 as well, with the option and without; 1 is a recipe that Ruby cannot read.
# Matters: a pipeline that takes 0 and 2 for success, as for Puppet, goes on with a machine that is half set up.
# Needs:   the package itamae.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
command -v itamae >/dev/null || { echo "needs the package itamae" >&2; exit 2; }
itamae version
apply() { # the exit code of a recipe
  local code=0
  printf '%s\n' "$1" >"$work/recipe.rb"
  itamae local --no-color --tmp-dir "$work/tmp" "${@:2}" "$work/recipe.rb" >/dev/null 2>&1 || code=$?
  echo "$code"
}
same=$(apply 'directory "/tmp"' --detailed-exitcode)
changed=$(apply 'execute "true"' --detailed-exitcode)
failed=$(apply 'execute "false"' --detailed-exitcode)
plain=$(apply 'execute "false"')
unread=$(apply 'no_such_thing "x"' --detailed-exitcode)
itamae help local | tr -s ' \n' ' ' | grep --only-matching 'exit code 0 .*changed' || true
echo "nothing to do: $same; changed: $changed; failed: $failed (without the option $plain); unreadable: $unread"
[[ $same -eq 0 && $changed -eq 2 && $failed -eq 2 && $plain -eq 2 && $unread -eq 1 ]]
