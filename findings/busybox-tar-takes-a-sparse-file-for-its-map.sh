#!/usr/bin/env bash
# busybox 1.35.0 (Debian 12), GNU tar 1.34 (Debian 12)
#
# Guess:   a tar that does not know sparse files refuses the archive, as busybox does with GNU's old format.
# Seen:    with `--sparse` and the POSIX format, which `--xattrs` and `--acls` choose by themselves, busybox unpacks
#          a file of 2 MiB as one of 515 bytes (the map of its data, then the data), below a folder
#          "GNUSparseFile.NUMBER" that nobody packed, and exits 0. The file itself is not there. bsdtar and Python's
#          tarfile read the same archive.
# Matters: a tree packed with its attributes and holes, and unpacked in an initramfs, on Alpine or in a minimal
#          container, lacks its disk images, databases and logs, and nothing says so before they are read.
# Needs:   busybox, tar, python3.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
busybox | sed -n 1p
tar --version | sed -n 1p

mkdir "$work/tree"
truncate --size=2M "$work/tree/disk"
printf end >>"$work/tree/disk"
unpacked() { (cd "$1" && find . -type f -printf '%P %s bytes\n' | sed 's/FILE\.[0-9]*/FILE.N/; s/File\.[0-9]*/File.N/'); }

declare -A codes
for format in gnu posix; do
  tar --create --sparse --format="$format" --file="$work/$format.tar" --directory="$work/tree" disk
  mkdir "$work/$format"
  code=0
  busybox tar -xf "$work/$format.tar" -C "$work/$format" 2>"$work/said" || code=$?
  echo "$format: exit $code, $(tr '\n' ' ' <"$work/said")unpacked: $(unpacked "$work/$format")"
  codes[$format]=$code
done
python3 - "$work" <<'EOF'
import sys, tarfile
with tarfile.open(f"{sys.argv[1]}/posix.tar") as tar:
    (member,) = tar.getmembers()
    print("Python's tarfile:", member.name, member.size, "bytes")
    assert (member.name, member.size) == ("disk", (2 << 20) + 3)
EOF
[[ ${codes[gnu]} -eq 1 && ${codes[posix]} -eq 0 ]]
[[ ! -e $work/posix/disk && $(unpacked "$work/posix") == "GNUSparseFile.N/disk 515 bytes" ]]
