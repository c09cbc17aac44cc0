#!/usr/bin/env bash
# VBoxManage 7.2.22 (virtualbox, Debian sid's contrib)
#
# Guess:   `VBoxManage unregistervm NAME --delete` deletes the machine with its disks, or fails and leaves it as it was.
# Seen:    where a linked clone stands on its disk it fails, "Machine delete failed", exit 1, and the machine is gone from
#          the registry: a second try finds no such machine. Its settings file and its disk stay, the disk as a medium.
# Matters: who repeats what failed is told that there is nothing, takes that for success, and leaves files and a
#          registered disk behind for ever.
# Needs:   root, mmdebstrap, qemu-img; or VIRTUALBOX_ROOT, a folder with Debian sid and this package.
set -euo pipefail
if [[ ${1:-} != inside ]]; then
  for program in mmdebstrap qemu-img; do command -v "$program" >/dev/null || { echo "needs $program" >&2; exit 2; }; done
  [[ $(id -u) == 0 ]] || { echo "needs root" >&2; exit 2; }
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  root=${VIRTUALBOX_ROOT:-$work/root}
  [[ -x $root/usr/bin/VBoxManage ]] || mmdebstrap --quiet --variant=minbase --components=main,contrib \
    --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Check-Valid-Until "false"' \
    --include=virtualbox sid "$root"
  qemu-img create -q -f vdi "$work/disk.vdi" 20M
  # namespaces of its own: VirtualBox's service ends with the script
  unshare --mount --pid --fork --kill-child --propagation private "$BASH" "$0" inside "$root" "$work"
  exit
fi
root=$2 work=$3
export VBOX_USER_HOME=$work/home VBOX_IPC_SOCKETID=finding-$$
mount -t proc proc /proc
mount --bind "$root/usr" /usr && mount --bind "$root/etc/alternatives" /etc/alternatives
box() { VBoxManage "$@" >"$work/told" 2>&1; }
cd "$work"
VBoxManage --version 2>&1 | tail -n 1
box setproperty machinefolder "$work/machines"
box createvm --name=web --ostype=Linux_64 --platform-architecture=x86 --register
box storagectl web --name disk --add=sata --controller=IntelAhci --portcount=1
box storageattach web --storagectl=disk --port=0 --device=0 --type=hdd --medium="$work/disk.vdi"
box snapshot web take clean
box clonevm web --name=clone --snapshot=clean --options=link --mode=machine --register --basefolder="$work/machines"
try() {
  local code=0
  box "$@" || code=$?
  echo "exit $code: $(grep -o -e 'Machine delete failed' -e 'has 1 child media' -e 'not find a registered machine' told |
    paste -sd ' ')"
}
first=$(try unregistervm web --delete)
second=$(try unregistervm web --delete)
VBoxManage list vms >told 2>&1
machines=$(grep -c '^"web"' told || true)
VBoxManage list hdds >told 2>&1
media=$(grep -c "disk.vdi$" told || true)
echo "the first time:  $first"
echo "the second time: $second"
echo "machines of that name: $machines, its disk: $media registered, $(find "$work/disk.vdi" | wc -l) there"
[[ $first == 'exit 1: Machine delete failed has 1 child media' && $second == 'exit 1: not find a registered machine' &&
  $machines == 0 && $media == 1 ]]
