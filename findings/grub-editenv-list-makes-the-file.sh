#!/usr/bin/env bash
# grub-editenv 2.06 (grub-common, Debian 12)
#
# Guess:   `grub-editenv FILE list` of a file that does not exist is an error, and reading changes nothing.
# Seen:    it makes the file, prints nothing and exits 0. (A file that is there and is no environment block is an error.)
# Matters: a test that asks an image for its saved entry under a wrong path is told that there is none, and the image that
#          was only to be looked at has a new file in it, which the next check finds in order.
# Needs:   grub-editenv.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
command -v grub-editenv >/dev/null || { echo "needs the package grub-common" >&2; exit 2; }
grub-editenv --version
listed=$(grub-editenv "$work/grubenv" list)
echo "list: exit 0, said '$listed'; the file is there now: $(stat --format='%s bytes' "$work/grubenv")"
echo 'saved_entry=0' >"$work/plain"
code=0
grub-editenv "$work/plain" list 2>/dev/null || code=$?
echo "list of a plain text file: exit $code"
[[ -z $listed && -s $work/grubenv && $code -eq 1 ]]
