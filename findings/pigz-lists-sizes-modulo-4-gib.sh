#!/usr/bin/env bash
# pigz 2.6, gzip 1.12 (both Debian 12)
#
# Guess:   `pigz -l` shows the size of what is inside, as `gzip -l` does.
# Seen:    for a disk of 4500 MiB it says 423624704 bytes (404 MiB): it prints the 32 bits at the end of the file.
#          gzip 1.12 unpacks the file to count, and is right.
# Matters: the size is asked for to reserve space or to check a disk image before it is written; images are the files
#          that are larger than 4 GiB. With pigz in gzip's place the check passes on a disk that is a tenth as large.
# Needs:   pigz, gzip. Takes half a minute: the zeros of a sparse file are compressed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
truncate --size=4500M disk
pigz --fast disk
column() { tail -n 1 | tr -s ' ' | cut -d' ' -f3; }
by_gzip=$(gzip --list disk.gz | column)
by_pigz=$(pigz --list disk.gz | sed 's/^\([^ ]\)/ \1/' | column)
echo "inside are $((4500 * 1024 * 1024)) bytes; gzip says $by_gzip, pigz says $by_pigz"
[[ $by_gzip -eq 4718592000 && $by_pigz -eq 423624704 ]]
