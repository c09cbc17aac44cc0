#!/usr/bin/env bash
# sgdisk 1.0.9 (gdisk, Debian 12), sfdisk 2.38 (util-linux, Debian 12)
#
# Guess:   `sgdisk --print` of a disk without a partition table fails, as `sfdisk --dump` does.
# Seen:    exit 0, and a table with a disk identifier, usable sectors and no partitions: one that it has made up in memory,
#          with another identifier at each call. Asking for partition 1 of it exits 0, too.
# Matters: "does this disk have a GPT, and which one" is asked so by scripts that adopt or compare images; a blank disk, a
#          bare file system and a download that broke all have one.
# Needs:   sgdisk, sfdisk.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
truncate --size=8M disk
identifier() { sgdisk --print disk | sed -n 's/^Disk identifier (GUID): //p'; }
first=$(identifier)
second=$(identifier)
sgdisk --info=1 disk >/dev/null
code=0
sfdisk --dump disk >/dev/null 2>&1 || code=$?
echo "sgdisk --print, twice: exit 0, identifiers $first and $second"
echo "sgdisk --info=1: exit 0; sfdisk --dump: exit $code"
cmp --silent disk <(head --bytes=8M /dev/zero) && echo "the disk holds nothing but zeros, before and after"
[[ -n $first && -n $second && $first != "$second" && $code -eq 1 ]]
