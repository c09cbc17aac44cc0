#!/usr/bin/env bash
# mount of util-linux 2.42 (Debian forky; 2.41 of Debian 13 does the same), beside util-linux 2.38 (Debian 12)
#
# Guess:   `mount -t overlay` takes as many lower folders as fit into the page of options that mount(2) copies, on a
#          newer util-linux more, as it uses fsconfig(2).
# Seen:    as soon as `lowerdir=` is longer than 255 bytes it fails with "wrong fs type, bad option, bad superblock on
#          overlay, missing codepage or helper program, or other error": a string handed to fsconfig(2) may be 256
#          bytes, and mount splits only what it adds itself. With LIBMOUNT_FORCE_MOUNT2=always it works as before.
# Matters: two or three layers in folders named by digests are longer than that: container tools and build scripts
#          that worked on Debian 12 fail on Debian 13, and the message leads to kernel modules and file systems.
# Needs:   root, mmdebstrap; or FORKY_ROOT, a folder with Debian forky and its package mount.
set -euo pipefail
[[ $(id -u) == 0 ]] || { echo "needs root" >&2; exit 2; }
root=${FORKY_ROOT:-}
if [[ -z $root ]]; then
  command -v mmdebstrap >/dev/null || { echo "needs mmdebstrap" >&2; exit 2; }
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  root=$work/root
  mmdebstrap --quiet --variant=essential --include=mount --aptopt='Acquire::Check-Valid-Until "false"' forky "$root"
fi
# shellcheck disable=SC2016  # for the shell inside
inside='
set -eu
mount -t tmpfs tmpfs /mnt
cd /mnt
layers=
for number in $(seq "$1"); do
  layer=/mnt/$(printf "%070d" "$number")
  mkdir "$layer"
  touch "$layer/file$number"
  layers=$layers${layers:+:}$layer
done
mkdir upper work merged
code=0
mount -t overlay overlay -o "lowerdir=$layers,upperdir=upper,workdir=work" merged 2>told || code=$?
echo "lowerdir of ${#layers} bytes: exit $code, $(ls merged | wc -l) files; $(head -n 1 told | cut -c1-52)"
'
try() { unshare --mount --propagation private "${@:2}" sh -c "$inside" sh "$1"; }
new=(chroot "$root")
mount --version | cut -d'(' -f1
"${new[@]}" mount --version | cut -d'(' -f1
old=$(try 8)
short=$(try 3 "${new[@]}")
long=$(try 4 "${new[@]}")
told=$(try 4 "${new[@]}" env LIBMOUNT_FORCE_MOUNT2=always)
printf '%s\n' "this host:  $old" "forky:      $short" "forky:      $long" "by mount(2): $told"
[[ $old == *': exit 0, 8 files'* ]]
[[ $short == *': exit 0, 3 files'* && $long == *': exit 32, 0 files; mount: '* && $told == *': exit 0, 4 files'* ]]
