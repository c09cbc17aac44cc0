#!/usr/bin/env bash
# GNU tar 1.34 (Debian 12)
#
# Guess:   unpacking an archive that holds the folder bin/ onto a tree where bin is a link to usr/bin puts the files into
#          usr/bin, as `cp -r` does with a file in it and as the path says.
# Seen:    tar removes the link and makes a folder of the name; what was reached through the link is not any more. Exit 0.
#          (--keep-directory-symlink is the documented way out; bsdtar has -P for it.)
# Matters: /bin, /sbin and /lib are such links in every current distribution. An archive with one file in lib/, unpacked
#          onto a root file system, leaves a machine in which no program starts.
# Needs:   tar.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
tar --version | sed -n 1p
mkdir -p more/bin
echo new >more/bin/tool
tar --create --file=more.tar --directory=more bin
for tree in plain kept; do
  mkdir -p "$tree/usr/bin"
  echo old >"$tree/usr/bin/sh"
  ln --symbolic usr/bin "$tree/bin"
done
tar --extract --file=more.tar --directory=plain
tar --extract --keep-directory-symlink --file=more.tar --directory=kept
for tree in plain kept; do
  echo "$tree: bin is a $(stat --format=%F "$tree/bin"), bin/sh: $(cat "$tree/bin/sh" 2>/dev/null || echo gone), bin/tool: $(cat "$tree/bin/tool")"
done
[[ ! -L plain/bin && ! -e plain/bin/sh && -L kept/bin && -e kept/bin/sh && -e kept/usr/bin/tool ]]
