#!/usr/bin/env bash
# VBoxManage 7.2.22 (virtualbox, Debian sid's contrib)
#
# Guess:   `VBoxManage import X --dry-run` reads an appliance as an import does, and so compares it with its manifest.
# Seen:    it prints the machine and "OK.", exit 0; the import of the same file fails: "Digest mismatch (VERR_NOT_EQUAL)".
#          Without a manifest the damaged appliance is imported in silence.
# Matters: a dry run is the check that scripts and CI put before an import, or instead of one.
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
mkdir whole
box export web --output="$work/whole/web.ovf" --options=manifest
cp -r whole damaged
printf X | dd of=damaged/web-disk001.vmdk bs=1 seek=200 conv=notrunc status=none
try() {
  local code=0
  box import "$@" || code=$?
  echo "exit $code: $(grep -o -e '^OK\.' -e 'Digest mismatch' -e 'Successfully imported' told | tail -n 1)"
}
whole=$(try whole/web.ovf --dry-run)
looked=$(try damaged/web.ovf --dry-run)
imported=$(try damaged/web.ovf --vsys=0 --vmname=again)
rm damaged/web.mf
silent=$(try damaged/web.ovf --vsys=0 --vmname=without)
echo "dry run of the whole one:      $whole"
echo "dry run of the damaged one:    $looked"
echo "import of the damaged one:     $imported"
echo "the same without its manifest: $silent"
[[ $whole == 'exit 0: OK.' && $looked == 'exit 0: OK.' && $imported == 'exit 1: Digest mismatch' &&
  $silent == 'exit 0: Successfully imported' ]]
