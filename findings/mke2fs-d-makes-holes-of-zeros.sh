#!/usr/bin/env bash
# mke2fs 1.47.0 (e2fsprogs, Debian 12), swapon 2.38 (util-linux)
#
# Guess:   `mke2fs -d tree` copies a fully allocated file as a fully allocated file.
# Seen:    every block of zeros becomes a hole. A swap file that was made as its manual says (dd from
#          /dev/zero, mkswap) comes out with one block, and swapon skips it: "it appears to have holes".
# Matters: the image boots and has no swap, and databases that reserve space by writing zeros have none: the
#          disk that was large enough at build time is full later.
# Needs:   mke2fs, debugfs, mkswap. (swapon's refusal was seen by hand; it is not repeated here, as it needs a mount.)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mke2fs -V 2>&1 | sed -n 1p
mkdir "$work/tree"
dd if=/dev/zero of="$work/tree/swapfile" bs=1M count=8 status=none
chmod 600 "$work/tree/swapfile"
mkswap "$work/tree/swapfile" >/dev/null
sync "$work/tree/swapfile"
mke2fs -q -F -t ext4 -b 4096 -d "$work/tree" "$work/disk" 32M >/dev/null

built=$(stat --format=%b "$work/tree/swapfile")
kept=$(debugfs -R 'stat swapfile' "$work/disk" 2>/dev/null | sed -n 's/.*Blockcount: \([0-9]*\).*/\1/p')
echo "512-byte blocks of the swap file: $built in the tree, $kept in the image"
[[ $built -ge 16384 && $kept -eq 8 ]]
