#!/usr/bin/env bash
# cpio 2.13 (Debian 12), busybox 1.35.0 (Debian 12)
#
# Guess:   a file of more than 4 GiB does not fit into "newc", the format of initramfs archives, and is an error.
# Seen:    GNU cpio says so (with a wrong range), leaves the file out, packs the others and exits 0. busybox says
#          nothing, writes the size modulo 4 GiB, then all of the data, and exits 0: nobody can read what follows.
# Matters: a live or rescue system that carries an image in its initramfs is built without a complaint that a
#          script would notice; it is the boot that misses the file, or everything packed after it.
# Needs:   cpio, busybox; 5 GiB of room in the temporary folder for some seconds.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cpio --version | sed -n 1p
busybox | sed -n 1p
cd "$work"
echo small >after
truncate --size=5G big

code=0
printf 'big\nafter\n' | cpio --quiet --create --format=newc >gnu.cpio 2>said || code=$?
echo "GNU cpio: exit $code, $(cat said); packed: $(cpio --quiet --list <gnu.cpio | tr '\n' ' ')"
[[ $code -eq 0 && $(cpio --quiet --list <gnu.cpio) == after ]]

code=0
printf 'big\nafter\n' | busybox cpio -o -H newc >busybox.cpio 2>said || code=$?
size=$(head -c 62 busybox.cpio | tail -c 8)
echo "busybox cpio: exit $code; the archive has $(stat --format=%s busybox.cpio) bytes, and says of big: $((16#$size))"
[[ $code -eq 0 && $((16#$size)) -eq $((5 << 30 & 0xffffffff)) ]]
