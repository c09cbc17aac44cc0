#!/usr/bin/env bash
# qemu-img 7.2 (Debian 12)
#
# Guess:   `qemu-img dd bs=1M skip=1 count=2` copies two blocks after the first one, as dd does.
# Seen:    it copies one: count is measured from the start of the input, and what was skipped is taken off
#          it. Exit 0. With skip=2 count=2 the output is empty, and with skip=2 count=1 it is empty after
#          the message "cannot skip to specified offset", each time with exit 0.
# Matters: cutting a partition out of an image with the numbers of a partition table loses the end of it;
#          nothing tells, and the file system in it looks right until someone reads the lost part.
# Needs:   qemu-img, dd.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
qemu-img --version | sed -n 1p
for letter in a b c d; do
  head --bytes=1M /dev/zero | tr '\0' "$letter" >>"$work/disk"
done
dd if="$work/disk" of="$work/by-dd" bs=1M skip=1 count=2 status=none
qemu-img dd -f raw -O raw if="$work/disk" of="$work/by-qemu-img" bs=1M skip=1 count=2
for file in by-dd by-qemu-img; do
  echo "$file: $(stat --format=%s "$work/$file") bytes, ends with '$(tail --bytes=1 "$work/$file")'"
done
qemu-img dd -f raw -O raw if="$work/disk" of="$work/empty" bs=1M skip=2 count=2
echo "skip=2 count=2: $(stat --format=%s "$work/empty") bytes"
[[ $(stat --format=%s "$work/empty") -eq 0 ]]
[[ $(stat --format=%s "$work/by-dd") -eq 2097152 && $(stat --format=%s "$work/by-qemu-img") -eq 1048576 ]]
