#!/usr/bin/env bash
# qemu-img 7.2 (Debian 12)
#
# Guess:   qemu-img recognises what qemu-img has just written.
# Seen:    a fixed VHD is taken for raw: `info` says "raw", and `convert` without -f copies its 512-byte
#          footer as if it were data, exit 0, no word. (A dynamic VHD is recognised: it has a copy of the
#          footer at the start, where formats are looked for.)
# Matters: fixed VHD is the kind that Azure takes. A step that lets qemu-img find the format out boots, tests
#          or re-exports a disk that is one sector longer than the one that was made.
# Needs:   qemu-img.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
qemu-img --version | sed -n 1p
truncate --size=10M "$work/disk"
for kind in dynamic fixed; do
  qemu-img convert -f raw -O vpc -o "subformat=$kind,force_size=on" "$work/disk" "$work/$kind.vhd"
  qemu-img convert -O raw "$work/$kind.vhd" "$work/$kind.raw"
  echo "$kind: $(qemu-img info "$work/$kind.vhd" | grep 'file format'), back: $(stat --format=%s "$work/$kind.raw") bytes"
done
qemu-img info "$work/dynamic.vhd" | grep >/dev/null 'file format: vpc'
qemu-img info "$work/fixed.vhd" | grep >/dev/null 'file format: raw'
[[ $(stat --format=%s "$work/dynamic.raw") -eq 10485760 && $(stat --format=%s "$work/fixed.raw") -eq 10486272 ]]
