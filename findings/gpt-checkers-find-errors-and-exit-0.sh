#!/usr/bin/env bash
# sfdisk 2.38 (util-linux, Debian 12), sgdisk 1.0.9 (gdisk, Debian 12)
#
# Guess:   `sfdisk --verify` and `sgdisk --verify` say by their exit code whether the partition table is right.
# Seen:    both print "1 error detected" and "Identified 1 problems!" for a GPT disk that was made longer
#          after it was partitioned, and both exit 0.
# Matters: these are the two checks that image pipelines run after `truncate` or `qemu-img resize`; as a
#          command whose exit code is looked at, neither can fail the build.
# Needs:   sfdisk, sgdisk.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
truncate --size=64M "$work/disk"
printf 'label: gpt\nsize=10M\n' | sfdisk --quiet "$work/disk"
truncate --size=128M "$work/disk"

code=0
sfdisk --verify "$work/disk" >"$work/sfdisk" 2>&1 || code=$?
echo "sfdisk --verify: exit $code, $(tail -n 1 "$work/sfdisk")"
[[ $code -eq 0 ]] && grep >/dev/null '1 error detected' "$work/sfdisk"
sgdisk --verify "$work/disk" >"$work/sgdisk" 2>&1 || code=$?
echo "sgdisk --verify: exit $code, $(tail -n 1 "$work/sgdisk")"
[[ $code -eq 0 ]] && grep >/dev/null 'Identified 1 problem' "$work/sgdisk"
