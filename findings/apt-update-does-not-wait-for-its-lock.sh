#!/usr/bin/env bash
# apt 2.6.1 (Debian 12)
#
# Guess:   DPkg::Lock::Timeout makes apt-get wait for every lock of another apt: apt.conf(5) has no other setting,
#          and with it "apt-get install" says "Waiting for cache lock" and waits.
# Seen:    "apt-get update" fails at once, exit 100: "Could not get lock .../lists/lock".
# Matters: on a fresh machine apt-daily reads the lists at the same moment; the option that everybody adds to their
#          build scripts for that leaves out the first command, which then fails one time in a few.
# Needs:   apt, python3. Nothing outside a temporary folder is changed, nothing is downloaded.
set -euo pipefail
work=$(mktemp -d)
holder=
trap '[[ -z $holder ]] || kill "$holder"; rm -rf "$work"' EXIT
command -v apt-get >/dev/null || { echo "needs apt" >&2; exit 2; }
apt-get --version | sed -n 1p
mkdir -p "$work"/{lists/partial,cache/archives/partial,etc}
touch "$work/etc/sources.list" "$work/status"
options=(--option "Dir::State::lists=$work/lists" --option "Dir::Cache=$work/cache" --option "Dir::Etc::sourceparts=-"
  --option "Dir::Etc::sourcelist=$work/etc/sources.list" --option "Dir::State::status=$work/status" --option DPkg::Lock::Timeout=20)
apt-get "${options[@]}" update >/dev/null
echo "nobody holds the lock: exit $?"
python3 -c '
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
' "$work/lists/lock" >"$work/held" &
holder=$!
until [[ -s $work/held ]]; do sleep 0.05; done
SECONDS=0
code=0
apt-get "${options[@]}" update >"$work/told" 2>&1 || code=$?
took=$SECONDS
said=$(grep --only-matching --max-count=1 "Could not get lock" "$work/told")
echo "somebody holds it, DPkg::Lock::Timeout=20: exit $code after $took s, \"$said\""
[[ $code -eq 100 && $took -lt 10 && -n $said ]]
