#!/usr/bin/env bash
# grub-mkstandalone 2.06 (grub-common, grub-efi-amd64-bin, Debian 12)
#
# Guess:   `grub-mkstandalone ... boot/grub/grub.cfg=FILE` fails when FILE is not there.
# Seen:    it says nothing and exits 0; the image is made without a configuration, and stops at GRUB's prompt.
# Matters: this is how boot media and signed boot loaders get their configuration; the one input that differs from image
#          to image is the one whose absence is not noticed before a screen is looked at.
# Needs:   grub-mkstandalone with the modules of x86_64-efi.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[[ -d /usr/lib/grub/x86_64-efi ]] || { echo "needs the package grub-efi-amd64-bin" >&2; exit 2; }
grub-mkstandalone --version
cd "$work"
echo 'menuentry "a-name-to-look-for" { linux /vmlinuz }' >there.cfg
make_image() { # its exit code and what it said
  local code=0
  grub-mkstandalone --format=x86_64-efi --install-modules='normal linux' --output="$1" "boot/grub/grub.cfg=$2" >told 2>&1 || code=$?
  echo "exit $code, $(wc -c <told) bytes of messages, entries in the image: $(grep --text --count a-name-to-look-for "$1" || true)"
}
right=$(make_image right.efi there.cfg)
wrong=$(make_image wrong.efi not-there.cfg)
echo "with the file:    $right"
echo "without the file: $wrong"
[[ $right == 'exit 0,'*': 1' && $wrong == 'exit 0, 0 bytes'*': 0' ]]
