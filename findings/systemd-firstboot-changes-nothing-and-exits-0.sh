#!/usr/bin/env bash
# systemd-firstboot of systemd 252 (Debian 12)
#
# Guess:   `systemd-firstboot --root=TREE --hostname=web --root-password=...` sets both, or says that it did not.
# Seen:    where the file is there already (as /etc/hostname, /etc/machine-id and /etc/shadow are in every Debian tree)
#          it does nothing, prints nothing and exits 0; a root that is misspelt is made, with the host name in it.
#          (That --force is needed is documented; that not doing it is a success without a word is the surprise.)
# Matters: the image boots with the builder's host name and a locked root, and the build log shows a step that passed.
# Needs:   systemd-firstboot.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
systemctl --version | sed -n 1p
mkdir -p "$work/tree/etc" "$work/tree/usr"
echo debian >"$work/tree/etc/hostname"
echo 'root:x:0:0:root:/root:/bin/sh' >"$work/tree/etc/passwd"
echo 'root:!:1::::::' >"$work/tree/etc/shadow"
systemd-firstboot --root="$work/tree" --hostname=web --root-password=secret >"$work/told" 2>&1
echo "exit 0, said $(wc -c <"$work/told") bytes; host name: $(cat "$work/tree/etc/hostname"), shadow: $(cat "$work/tree/etc/shadow")"
systemd-firstboot --root="$work/tre" --hostname=web 2>/dev/null
echo "misspelt root: exit 0, made $(cd "$work" && find tre -type f)"
[[ ! -s $work/told && $(cat "$work/tree/etc/hostname") == debian && $(cat "$work/tree/etc/shadow") == 'root:!:1::::::' ]]
[[ $(cat "$work/tre/etc/hostname") == web ]]
