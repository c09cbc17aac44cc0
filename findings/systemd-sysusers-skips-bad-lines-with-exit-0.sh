#!/usr/bin/env bash
# systemd-sysusers and systemd-tmpfiles of systemd 252 (Debian 12)
#
# Guess:   a line that cannot be read makes systemd-sysusers fail, as it makes systemd-tmpfiles fail (exit 65).
# Seen:    it prints "Failed to parse UID", makes the other users and exits 0. A number that is taken is answered in
#          the same way: the user is made with another one.
# Matters: packages and images declare their accounts so; a daemon's account that is missing, or owns other files than
#          those that were put in place for its number, is found when it starts in production.
# Needs:   systemd-sysusers, systemd-tmpfiles.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
systemctl --version | sed -n 1p
tree=$work/tree
mkdir -p "$tree"/{etc,usr/lib/sysusers.d,usr/lib/tmpfiles.d}
printf 'root:x:0:0::/root:/bin/sh\nother:x:61:61::/:/bin/sh\n' >"$tree/etc/passwd"
printf 'root:x:0:\nother:x:61:\n' >"$tree/etc/group"
printf 'u web sixty "no number"\nu taken 61 "a number in use"\nu good 62 "as it should be"\n' >"$tree/usr/lib/sysusers.d/a.conf"
printf 'd /var/lib/web 0755 nobody-of-that-name root -\n' >"$tree/usr/lib/tmpfiles.d/a.conf"

code=0
systemd-sysusers --root="$tree" >"$work/told" 2>&1 || code=$?
sed "s|$tree||" "$work/told"
made=$(tail -n +3 "$tree/etc/passwd" | cut -d: -f1,3 | sort | tr '\n' ' ')
other=0
systemd-tmpfiles --root="$tree" --create >/dev/null 2>&1 || other=$?
echo "systemd-sysusers: exit $code, made: $made; systemd-tmpfiles with an unknown user: exit $other"
[[ $code -eq 0 && $other -eq 65 && $made == *good:62* && $made != *web:* && $made == *taken:* && $made != *taken:61* ]]
