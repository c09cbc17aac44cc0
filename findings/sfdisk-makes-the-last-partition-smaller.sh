#!/usr/bin/env bash
# sfdisk 2.38 (util-linux, Debian 12)
#
# Guess:   "size=1G" on a disk of 64 MiB is an error, as sgdisk and parted have it.
# Seen:    on a GPT disk sfdisk makes a partition of what is left (61 MiB) and exits 0; --quiet says nothing
#          at all, and without it the only sign is the size in the report. With a DOS label the same line
#          gives a partition of 0 sectors that begins behind the end of the disk, exit 0 again.
# Matters: a script that lays out an image with a disk that is too small gets a root or boot partition of the
#          wrong size, and it is the mkfs or the first boot of somebody else that finds out. An explicit size
#          is no check: read the table back.
# Needs:   sfdisk, sgdisk (for the comparison).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sfdisk --version
made() { sfdisk --json "$1" | sed -n 's/.*"size": \([0-9]*\).*/\1/p'; }

truncate --size=64M "$work/gpt"
printf 'label: gpt\nsize=1G\n' | sfdisk --quiet "$work/gpt"
echo "gpt: asked for 2097152 sectors, got $(made "$work/gpt"), exit 0"
truncate --size=64M "$work/dos"
printf 'label: dos\nsize=1G\n' | sfdisk --quiet "$work/dos"
echo "dos: asked for 2097152 sectors, got $(made "$work/dos"), exit 0"
truncate --size=64M "$work/other"
if sgdisk --new=0:0:+1G "$work/other" >/dev/null 2>&1; then
  echo "sgdisk made it as well"
  exit 1
fi
echo "sgdisk refuses"
[[ $(made "$work/gpt") -eq 124928 && $(made "$work/dos") -eq 0 ]]
