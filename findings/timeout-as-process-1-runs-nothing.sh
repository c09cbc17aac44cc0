#!/usr/bin/env bash
# timeout of coreutils 9.10 (Debian forky), beside coreutils 9.1 (Debian 12)
#
# Guess:   `timeout 5 COMMAND` runs the command, also where it is process 1 of a container: coreutils 9.10 changed
#          only that the command dies with a `timeout` that was killed.
# Seen:    the command is not run, nothing is printed, and the exit code is 125. The new process compares its parent
#          with 1 to see whether `timeout` has died already, and as process 1 it lives. 9.1 runs it.
# Matters: `timeout` is what an ENTRYPOINT, a `docker run IMAGE timeout ...`, a Kubernetes command or `unshare --fork
#          --pid timeout ...` begins with; after an upgrade of the image's release nothing runs, without a word.
# Needs:   root, mmdebstrap; or FORKY_ROOT, a folder with Debian forky.
set -euo pipefail
[[ $(id -u) == 0 ]] || { echo "needs root" >&2; exit 2; }
root=${FORKY_ROOT:-}
if [[ -z $root ]]; then
  command -v mmdebstrap >/dev/null || { echo "needs mmdebstrap" >&2; exit 2; }
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  root=$work/root
  mmdebstrap --quiet --variant=essential --aptopt='Acquire::Check-Valid-Until "false"' forky "$root"
fi
try() {
  local code=0
  said=$("$@" 2>&1) || code=$?
  echo "exit $code, '$said'"
}
new=(chroot "$root")
timeout --version | sed -n 1p
"${new[@]}" timeout --version | sed -n 1p
old=$(try unshare --pid --fork --kill-child timeout 5 echo ran)
first=$(try unshare --pid --fork --kill-child "${new[@]}" timeout 5 echo ran)
second=$(try unshare --pid --fork --kill-child "${new[@]}" sh -c 'timeout 5 echo ran; exit $?')
echo "this host's, as process 1: $old"
echo "forky's, as process 1:     $first"
echo "forky's, as its child:     $second"
[[ $old == "exit 0, 'ran'" && $first == "exit 125, ''" && $second == "exit 0, 'ran'" ]]
