#!/usr/bin/env bash
# vagrant 2.3.4 (Debian 12)
#
# Guess:   `vagrant box add` refuses a libvirt box without a disk: the box format names metadata.json and box.img.
# Seen:    a box that holds nothing but {"provider": "libvirt"} is added and listed. Only the provider is looked
#          at; a Zstandard or xz archive is taken as well, as bsdtar reads them here.
# Matters: "vagrant box add worked" is the usual check of what a box post-processor made; it says nothing about
#          the disk. Whether older hosts can unpack the compression is not seen either.
# Needs:   vagrant, tar, zstd. A VAGRANT_HOME of its own.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
command -v vagrant >/dev/null || { echo "needs the package vagrant" >&2; exit 2; }
export VAGRANT_HOME="$work/home" VAGRANT_CHECKPOINT_DISABLE=1
vagrant --version
mkdir "$work/box"
echo '{"provider": "libvirt"}' >"$work/box/metadata.json"
tar --create --file="$work/empty.tar" --directory="$work/box" metadata.json
zstd --quiet "$work/empty.tar" -o "$work/empty.box"
vagrant box add --name nothing-in-it "$work/empty.box" >"$work/told" 2>&1
vagrant box list
[[ $(vagrant box list) == "nothing-in-it (libvirt, 0)" && ! -e $work/home/boxes/nothing-in-it/0/libvirt/box.img ]]
