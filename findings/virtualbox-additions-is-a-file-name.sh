#!/usr/bin/env bash
# VBoxManage 7.2.22 (virtualbox, Debian sid's contrib)
#
# Guess:   `storageattach ... --medium=additions` is a keyword: the ISO of the guest additions, or an error that says that
#          there is none.
# Seen:    where VirtualBox brings no such ISO (Debian packages it apart, in non-free) the word is a file name: an image
#          called "additions" in the current folder is attached, exit 0.
# Matters: what is in the drive depends on the folder that the command runs in, and the error without such a file, "Could
#          not find file for the medium", sends its reader to look for a path that nobody wrote.
# Needs:   root, mmdebstrap, qemu-img, xorriso; or VIRTUALBOX_ROOT, a folder with Debian sid and this package alone.
set -euo pipefail
if [[ ${1:-} != inside ]]; then
  for program in mmdebstrap qemu-img xorriso; do command -v "$program" >/dev/null || { echo "needs $program" >&2; exit 2; }; done
  [[ $(id -u) == 0 ]] || { echo "needs root" >&2; exit 2; }
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  root=${VIRTUALBOX_ROOT:-$work/root}
  [[ -x $root/usr/bin/VBoxManage ]] || mmdebstrap --quiet --variant=minbase --components=main,contrib \
    --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Check-Valid-Until "false"' \
    --include=virtualbox sid "$root"
  qemu-img create -q -f vdi "$work/disk.vdi" 20M
  mkdir "$work/tree" && touch "$work/tree/file" && xorriso -as mkisofs -quiet -o "$work/additions" "$work/tree"
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
box storagectl web --name disk --add=sata --controller=IntelAhci --portcount=2
box storageattach web --storagectl=disk --port=0 --device=0 --type=hdd --medium="$work/disk.vdi"
VBoxManage list systemproperties 2>/dev/null | grep -q 'Guest Additions ISO: *$' ||
  { echo "needs a VirtualBox without the additions' ISO" >&2; exit 2; }
try() {
  local code=0
  box storageattach web --storagectl=disk --port=1 --device=0 --type=dvddrive --medium=additions || code=$?
  echo "exit $code: $(grep -o -e 'Could not find file for the medium' told | tail -n 1)"
  VBoxManage showvminfo web --machinereadable 2>/dev/null | grep '"disk-1-0"' || true
}
with=$(try)
box storageattach web --storagectl=disk --port=1 --device=0 --medium=none
box closemedium dvd "$work/additions"
mv additions elsewhere
without=$(try)
echo "with a file of that name:    ${with//$work/.}"
echo "without one:                 ${without//$work/.}"
[[ $with == *'exit 0'*"$work/additions"* && $without == *'exit 1: Could not find file'* ]]
