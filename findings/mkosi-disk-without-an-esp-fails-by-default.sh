#!/usr/bin/env bash
# mkosi 27.1, systemd-repart 262 (Debian forky)
#
# Guess:   a disk with one root partition needs no more than `--bootable=no`; a boot catalog of a CD is a feature on
#          `auto`, which is added where there is an EFI system partition for it.
# Seen:    mkosi tells systemd-repart `--el-torito=yes` all the same, which ends it: "El Torito boot catalog requires an
#          ESP.", after the whole tree was made and copied. With `--el-torito=no` the same disk is made.
# Matters: data disks, disks for BIOS or for a host that brings the kernel: every definition without an EFI system
#          partition fails at its last step, some minutes into the build, for a feature that nobody asked for.
# Needs:   root, mmdebstrap; or FORKY_ROOT, a folder with Debian forky and its package mkosi.
set -euo pipefail
[[ $(id -u) == 0 ]] || { echo "needs root" >&2; exit 2; }
root=${FORKY_ROOT:-}
if [[ -z $root ]]; then
  command -v mmdebstrap >/dev/null || { echo "needs mmdebstrap" >&2; exit 2; }
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  root=$work/root
  mmdebstrap --quiet --variant=apt --include=mkosi,mount --aptopt='APT::Install-Recommends "false"' \
    --aptopt='Acquire::Check-Valid-Until "false"' forky "$root"
fi
# shellcheck disable=SC2016  # for the shell inside
inside='
set -eu
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir -p /mnt/project/mkosi.repart /mnt/tree/usr/lib
cd /mnt/project
mkosi --version
echo ID=x >/mnt/tree/usr/lib/os-release
printf "%s\n" "[Partition]" Type=root Format=ext4 CopyFiles=/ SizeMinBytes=64M SizeMaxBytes=64M >mkosi.repart/root.conf
for choice in auto no; do
  code=0
  mkosi --distribution custom --format disk --bootable=no --skeleton-tree /mnt/tree --build-sources "" --force \
    --el-torito="$choice" build >/mnt/told 2>&1 || code=$?
  echo "$choice: exit $code; $(grep "El Torito" /mnt/told || true)"
done
'
# A root folder that is a mount of its own, as mkosi pivots away from it.
# shellcheck disable=SC2016  # the same
enter='mount --bind "$1" "$1"; mount --rbind /dev "$1/dev"; exec chroot "$1" sh -c "$2"'
told=$(unshare --mount --pid --fork --propagation private sh -c "$enter" sh "$root" "$inside")
echo "$told"
grep -qx 'auto: exit 1; El Torito boot catalog requires an ESP.' <<<"$told"
grep -qx 'no: exit 0; ' <<<"$told"
