#!/usr/bin/env bash
# xorriso 1.5.4, genisoimage 1.1.11 (both Debian 12)
#
# Guess:   `xorriso -as mkisofs` behaves as mkisofs: two trees on the command line that hold the same name
#          are an error, as genisoimage says ("have the same Rock Ridge name ... genisoimage is not tar").
# Seen:    xorriso exits 0, and the file of the second tree replaces that of the first without a word.
# Matters: a seed or installer ISO made from a base folder and an overlay loses a user-data or preseed file on
#          the host with one program and stops on the host with the other; build tools take whichever is there.
# Needs:   xorriso, genisoimage.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/base" "$work/overlay"
echo 'from the base' >"$work/base/user-data"
echo 'from the overlay' >"$work/overlay/user-data"

if genisoimage -quiet -J -r -o "$work/g.iso" "$work/base" "$work/overlay" 2>"$work/told"; then
  echo "genisoimage took it"
  exit 1
fi
echo "genisoimage refuses: $(head -n 1 "$work/told" | sed "s|$work/||g")"
xorriso -as mkisofs -J -r -o "$work/x.iso" "$work/base" "$work/overlay" 2>"$work/told"
xorriso -osirrox on -indev "$work/x.iso" -extract /user-data "$work/got" 2>/dev/null
echo "xorriso: exit 0, user-data is '$(cat "$work/got")', messages that name the file: $(grep --count user-data "$work/told" || true)"
[[ $(cat "$work/got") == 'from the overlay' ]] && ! grep >/dev/null user-data "$work/told"
