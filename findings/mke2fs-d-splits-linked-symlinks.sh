#!/usr/bin/env bash
# mke2fs 1.47.0 (e2fsprogs, Debian 12)
#
# Guess:   `mke2fs -d tree` keeps hard links: two names of one inode stay two names of one inode.
# Seen:    so it is for files; two names of one symbolic link become two links with one name each.
# Matters: rare, but it makes "the tree in the image is the tree that I built" false: a comparison by link
#          count or inode (rsync -H, dpkg's hooks, an integrity database) reports a change that nobody made.
# Needs:   mke2fs, debugfs.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mke2fs -V 2>&1 | sed -n 1p
mkdir "$work/tree"
echo text >"$work/tree/file"
ln "$work/tree/file" "$work/tree/file-again"
ln --symbolic file "$work/tree/link"
ln --physical "$work/tree/link" "$work/tree/link-again"
mke2fs -q -F -t ext4 -d "$work/tree" "$work/disk" 16M >/dev/null

links() { debugfs -R "stat $1" "$work/disk" 2>/dev/null | sed -n 's/^Links: \([0-9]*\).*/\1/p'; }
for name in file link; do
  echo "$name: $(stat --format=%h "$work/tree/$name") names in the tree, $(links "$name") in the image"
done
[[ $(stat --format=%h "$work/tree/link") -eq 2 && $(links file) -eq 2 && $(links link) -eq 1 ]]
