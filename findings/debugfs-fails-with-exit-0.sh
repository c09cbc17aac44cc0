#!/usr/bin/env bash
# debugfs 1.47.0 (e2fsprogs, Debian 12)
#
# Guess:   `debugfs -w -R "write hostname etc/hostname" disk` exits with an error when it cannot do it, and a file of
#          requests (-f) stops at the first that fails.
# Seen:    exit 0 for a source, a folder or an image that does not exist. In a file of requests the next one is run
#          all the same: after a "cd" that failed, "write" puts the file into the root folder. And write keeps the
#          file's mode and not its owner.
# Matters: this is the way to change an image without root and without a mount; a step that did nothing, or did it in
#          the wrong place, is a step that passed. Read back what was written, or look for text on standard error.
# Needs:   debugfs, mke2fs.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mke2fs -q -F -t ext4 disk 8M >/dev/null
echo web >hostname
try() {
  local code=0
  debugfs "$@" >out 2>told || code=$?
  echo "exit $code: $(tail -n 1 told)"
}
for request in 'write no-such-file name' 'write hostname etc/hostname' 'dump no-such-file copy' 'rm no-such-file'; do
  answer=$(try -w -R "$request" disk)
  echo "$request: $answer"
  [[ $answer == 'exit 0:'* ]]
done
answer=$(try -R 'ls' no-such-disk)
echo "ls of an image that is not there: $answer"
[[ $answer == 'exit 0:'* ]]
printf 'cd etc\nwrite hostname hostname\n' >requests
answer=$(try -w -f requests disk)
echo "cd etc, write hostname: $answer; now in the root folder: $(debugfs -R 'ls -p /' disk 2>/dev/null | grep hostname)"
[[ $answer == 'exit 0:'* ]] && debugfs -R 'ls -p /' disk 2>/dev/null | grep /hostname/ >/dev/null
