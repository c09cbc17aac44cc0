#!/usr/bin/env bash
# qemu-img 7.2 (Debian 12), sfdisk 2.38 (Debian 12)
#
# Guess:   a format conversion keeps the disk: a raw disk that goes to VHD and back has the same size.
# Seen:    `convert -O vpc` rounds the size up to whole cylinders (10 MiB become 10 514 432 bytes) and exits
#          0. The second partition table of a GPT disk is then no longer at the end, as sfdisk says of the
#          converted disk. `-o force_size=on` keeps the size. (QEMU's manual names the option; that the
#          plain way changes a disk that had no odd size, nobody is told.)
# Matters: Azure and Hyper-V take VHD, and want a whole number of MiB: an image pipeline that converts in
#          the obvious way uploads a disk that is refused, or one with a damaged partition table.
# Needs:   qemu-img, sfdisk.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
qemu-img --version | sed -n 1p
truncate --size=10M "$work/disk"
printf 'label: gpt\ntype=linux\n' | sfdisk --quiet "$work/disk"

size() { stat --format=%s "$1"; }
told() { sfdisk --verify "$1" 2>&1 || true; }
for options in force_size=off force_size=on; do
  qemu-img convert -f raw -O vpc -o "$options" "$work/disk" "$work/$options.vhd"
  qemu-img convert -f vpc -O raw "$work/$options.vhd" "$work/$options.raw"
  echo "$options: $(size "$work/disk") bytes became $(size "$work/$options.raw"); sfdisk: $(told "$work/$options.raw" | sed -n 1p)"
done
[[ $(size "$work/force_size=off.raw") -eq 10514432 && $(size "$work/force_size=on.raw") -eq 10485760 ]]
told "$work/force_size=off.raw" | grep >/dev/null 'backup GPT table is not on the end'
