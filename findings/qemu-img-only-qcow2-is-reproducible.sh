#!/usr/bin/env bash
# qemu-img 7.2 (Debian 12)
#
# Guess:   the same disk converted twice with the same options to a file of the same name gives the same
#          bytes, at least for the formats without a date in them.
# Seen:    only for qcow2. VMDK (also the stream-optimised kind) gets a random content id, VDI random UUIDs,
#          VHD a UUID and a date, VHDX random GUIDs; SOURCE_DATE_EPOCH changes nothing.
# Matters: checksums in an OVF manifest, a lock file or a signed catalogue differ for images that are equal,
#          and content-addressed stores keep every build. Compare or sign the disk, not the container.
# Needs:   qemu-img, cmp.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
qemu-img --version | sed -n 1p
truncate --size=8M "$work/disk"
printf 'the same content' | dd of="$work/disk" conv=notrunc status=none
export SOURCE_DATE_EPOCH=1700000000

mkdir "$work/first" "$work/second"
differ=
for target in qcow2 vmdk vmdk:streamOptimized vdi vpc vhdx; do
  format=${target%%:*}
  options=()
  [[ $target == "$format" ]] || options=(-o "subformat=${target#*:}")
  for round in first second; do
    (cd "$work/$round" && qemu-img convert -f raw -O "$format" "${options[@]}" ../disk "image.$format")
  done
  if cmp --silent "$work"/{first,second}/"image.$format"; then
    echo "$target: same bytes"
  else
    echo "$target: differs"
    differ+="$target "
  fi
done
[[ $differ == "vmdk vmdk:streamOptimized vdi vpc vhdx " ]]
