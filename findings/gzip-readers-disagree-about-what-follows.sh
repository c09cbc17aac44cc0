#!/usr/bin/env bash
# gzip 1.12, pigz 2.6 (both Debian 12), Python's gzip (3.11)
#
# Guess:   bytes that follow the compressed data are ignored by all readers, or are an error to all.
# Seen:    `gzip -t` warns and exits 2, `pigz -t` is silent and exits 0, Python raises BadGzipFile and gives nothing.
#          (Zeros, as tape and block padding leave them, are fine to all three.)
# Matters: base archives and initramfs images come out of downloads, appends and dd; whether such a file is whole
#          depends on whether pigz happens to be installed, which tools prefer without being asked.
# Needs:   gzip, pigz, python3.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
verdicts() {
  local gzip=0 pigz=0 python=0
  gzip --test "$1" 2>/dev/null || gzip=$?
  pigz --test "$1" 2>/dev/null || pigz=$?
  python3 -c 'import gzip, sys; gzip.open(sys.argv[1]).read()' "$1" 2>/dev/null || python=$?
  echo "gzip $gzip, pigz $pigz, python $python"
}
echo 'the content' | gzip >text.gz
cp text.gz zeros.gz
truncate --size=+512 zeros.gz
cp text.gz words.gz
printf 'and more' >>words.gz
echo "zeros behind it: $(verdicts zeros.gz)"
echo "words behind it: $(verdicts words.gz)"
[[ $(verdicts zeros.gz) == 'gzip 0, pigz 0, python 0' && $(verdicts words.gz) == 'gzip 2, pigz 0, python 1' ]]
