#!/usr/bin/env bash
# mke2fs 1.47.0 (e2fsprogs, Debian 12)
#
# Guess:   `mke2fs -t ext4 -d tree` keeps the files' times, as ext4 with 256-byte inodes has room for dates
#          until 2446 and for nanoseconds.
# Seen:    2040-05-05 05:05:05.123456789 becomes 1904-03-29 22:36:49: the upper bits of the date and the
#          fraction of the second are not written. 1960 survives. Exit 0, and e2fsck has no complaint.
# Matters: images are made without root by this option (also under mmdebstrap, genext2fs' heirs, buildroot);
#          certificates' and caches' "newer than" turn round, and a make in the image rebuilds or does not.
# Needs:   mke2fs, debugfs, e2fsck.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TZ=UTC
mke2fs -V 2>&1 | sed -n 1p
mkdir "$work/tree"
touch --date='2040-05-05 05:05:05.123456789' "$work/tree/late"
touch --date='1960-01-01 00:00:00' "$work/tree/early"
mke2fs -q -F -t ext4 -I 256 -d "$work/tree" "$work/disk" 16M >/dev/null
e2fsck -fn "$work/disk" >/dev/null 2>&1

read_time() { debugfs -R "stat $1" "$work/disk" 2>/dev/null | sed -n 's/^ *mtime: //p'; }
echo "late:  $(stat --format=%y "$work/tree/late")  ->  $(read_time late)"
echo "early: $(stat --format=%y "$work/tree/early")  ->  $(read_time early)"
[[ $(read_time late) == *:00000000\ *Mar\ 29\ 22:36:49\ 1904 && $(read_time early) == *1960 ]]
