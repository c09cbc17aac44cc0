#!/usr/bin/env bash
# qemu-x86_64 of qemu-user 7.2 (Debian 12), or what QEMU_USER names
#
# Guess:   the processor `max` offers a guest what QEMU emulates well; leaving features out can only make it slower.
# Seen:    it says ERMS and FSRM ("rep movsb is fast"), as new processors do, although TCG copies one byte at a time. glibc
#          (2.36) then copies blocks of some KiB by `rep movsb`: a third to a quarter of the speed that the same program has
#          with `-cpu max,-erms,-fsrm`. Linux in an emulated machine chooses its copying by the same bits.
# Matters: tests of images on hosts without KVM: with the two bits gone a Debian 12 was up after 17.3 s in place of 19.1
#          (six boots each, 2 cores), with a tenth less processor time; `-cpu qemu64`, which says neither, is quick, too.
# Needs:   apt-get and dpkg of Debian, python3; or QEMU_USER, a qemu-x86_64, and python3.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
qemu=${QEMU_USER:-}
if [[ -z $qemu ]]; then
  command -v apt-get >/dev/null || { echo "needs apt-get" >&2; exit 2; }
  chmod 755 "$work"
  (cd "$work" && apt-get download -qq -o APT::Sandbox::User=root qemu-user && dpkg -x qemu-user_*.deb .)
  qemu=$work/usr/bin/qemu-x86_64
fi
"$qemu" --version | head -n 1
cat >"$work/copies.py" <<'EOF'
import time

block = bytearray(1 << 16)
times = []
for _ in range(5):
    started = time.perf_counter()
    for _ in range(1000):
        bytes(block)
    times.append(time.perf_counter() - started)
print(round(1000 / 16 / min(times)))
EOF
python=$(python3 -c 'import sys; print(sys.executable)')  # no script that looks for it
speed() { "$qemu" -cpu "$1" "$python" "$work/copies.py"; }
with=$(speed max)
without=$(speed max,-erms,-fsrm)
echo "blocks of 64 KiB: $with MB/s as 'max', $without MB/s without ERMS and FSRM"
((without > 2 * with))
