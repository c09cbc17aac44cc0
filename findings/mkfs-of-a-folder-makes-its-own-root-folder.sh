#!/usr/bin/env bash
# mke2fs 1.47.0 (e2fsprogs, Debian 12), mkfs.btrfs 6.2 (btrfs-progs, Debian 12)
#
# Guess:   `mke2fs -d TREE` and `mkfs.btrfs --rootdir TREE` copy the tree with owners and modes, its top included.
# Seen:    the top folder is root's with mode 0755 in both, whatever TREE's is; in ext4 its date is that of the run,
#          while its extended attributes are TREE's. In btrfs files lose their holes as well: one of 64 MiB with a
#          byte at its end takes 64 MiB.
# Matters: Fedora's root folder has mode 0555, and / of an appliance may be closed to others: an image made without
#          mounting opens it. And a sparse file may be what a disk has no room for.
# Needs:   mke2fs and debugfs, mkfs.btrfs and btrfs; root, for a tree of another owner.
set -euo pipefail
[[ $(id -u) -eq 0 ]] || { echo "needs root" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mke2fs -V 2>&1 | sed -n 1p
mkfs.btrfs --version
mkdir "$work/tree"
truncate --size=64M "$work/tree/sparse"
printf x >>"$work/tree/sparse"
chown 1234:1234 "$work/tree"
chmod 0700 "$work/tree"

truncate --size=32M "$work/ext4"
mke2fs -q -t ext4 -d "$work/tree" "$work/ext4"
ext4=$(debugfs -R 'stat <2>' "$work/ext4" 2>/dev/null | tr -s ' ' | grep -o 'Mode: [0-9]*\|User: [0-9]*' | tr '\n' ' ')
held=$(debugfs -R 'stat sparse' "$work/ext4" 2>/dev/null | grep -o 'Blockcount: [0-9]*')
echo "mke2fs: $ext4 (the tree: 0700, 1234); the sparse file: $held sectors"

truncate --size=300M "$work/btrfs"
mkfs.btrfs --quiet --rootdir "$work/tree" "$work/btrfs" >/dev/null
top=$(btrfs inspect-internal dump-tree --tree 5 "$work/btrfs" | grep -A 4 '(256 INODE_ITEM 0)' | tr -s ' \n' ' ')
btrfs=$(grep -o 'mode [0-9]*\|uid [0-9]*' <<<"$top" | tr '\n' ' ')
data=$(btrfs check --readonly "$work/btrfs" 2>&1 | sed -n 's/^file data blocks allocated: //p')
echo "mkfs.btrfs: $btrfs(the tree: 40700, 1234); data of the sparse file: $data bytes"
[[ $ext4 == *"Mode: 0755"* && $ext4 == *"User: 0"* && $btrfs == "mode 40755 uid 0 " && $data -gt $((64 << 20)) ]]
