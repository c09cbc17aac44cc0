#!/usr/bin/env bash
# mkosi 27.1 (Debian forky)
#
# Guess:   `--incremental=yes` makes the folder that its cache is kept in, or says that one must be named.
# Seen:    without a folder `mkosi.cache` beside the configuration, or `--cache-directory`, mkosi ends with a traceback in
#          which nothing but `assert config.cache_dir` and AssertionError tells what it wants, exit code 1. With an empty
#          `mkosi.cache` the same command goes on.
# Matters: mkosi 14's `--incremental` made its cache by itself; whoever moves a build to a newer one, or measures beside
#          it, meets an internal error for a folder that `mkdir` mends.
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
mount -t tmpfs tmpfs /mnt
mkdir -p /mnt/project
cd /mnt/project
mkosi --version
for folder in "" mkosi.cache; do
  [ -z "$folder" ] || mkdir "$folder"
  code=0
  mkosi --distribution custom --format none --build-sources "" --incremental=yes build >/mnt/told 2>&1 || code=$?
  echo "${folder:-no folder}: exit $code, $(grep -c AssertionError /mnt/told || true) AssertionError"
done
'
told=$(unshare --mount --pid --fork --propagation private chroot "$root" sh -c "$inside")
echo "$told"
grep -qx 'no folder: exit 1, 1 AssertionError' <<<"$told"
grep -qx 'mkosi.cache: exit 0, 0 AssertionError' <<<"$told"
