#!/usr/bin/env bash
# OpenRC 0.45 (openrc, Debian 12)
#
# Guess:   a service whose start() fails is marked as failed: RC_SVCDIR has a folder `failed`, librc a state of that name,
#          and rc-status shows its services as "failed", or `rc-status --crashed` lists it.
# Seen:    start fails with exit 1, and the service is "stopped" like one that nobody ever started; `failed` stays empty,
#          and `rc-status --crashed` says nothing and exits 1.
# Matters: a check of a machine that asks for failed or crashed services, as `systemctl --failed` does elsewhere, passes
#          while a service of the runlevel did not come up. What was to run and does not has to be asked for.
# Needs:   root, mmdebstrap, busybox-static.
set -euo pipefail
[[ $(id -u) = 0 ]] && command -v mmdebstrap >/dev/null || { echo "needs root and mmdebstrap" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mmdebstrap --quiet --variant=extract --include=openrc,busybox-static,coreutils,grep,sed,dash bookworm "$work/tree" >/dev/null 2>&1
tree=$work/tree
mkdir -p "$tree"/run/openrc/{daemons,exclusive,failed,hotplugged,inactive,options,scheduled,started,starting,stopping,tmp,wasinactive}  # as `openrc sysinit` does
mkdir -p "$tree"/{proc,dev,etc/runlevels/default,etc/init.d}
[[ -c $tree/dev/null ]] || mknod -m 666 "$tree/dev/null" c 1 3
printf '#!/sbin/openrc-run\nstart() {\n\treturn 1\n}\n' >"$tree/etc/init.d/broken"
printf '#!/sbin/openrc-run\nstart() {\n\treturn 0\n}\n' >"$tree/etc/init.d/fine"
chmod 755 "$tree"/etc/init.d/{broken,fine}
ln -s /etc/init.d/broken /etc/init.d/fine "$tree/etc/runlevels/default"
echo default >"$tree/run/openrc/softlevel"
inside() { unshare --mount --pid --fork --mount-proc="$tree/proc" chroot "$tree" /bin/sh -c "PATH=/usr/sbin:/usr/bin:/sbin:/bin; $1" 2>&1; }

inside 'openrc --version; ln -sf busybox /bin/awk 2>/dev/null || :' | grep -i openrc
fine=0 broken=0
inside "/etc/init.d/fine start" || fine=$?
inside '/etc/init.d/broken start' >/dev/null || broken=$?
shown=$(inside 'rc-status --nocolor default' || :)
echo "$shown"
failed=$(ls "$tree/run/openrc/failed" 2>/dev/null || :)
crashed=$(inside 'rc-status --nocolor --crashed' || echo "exit $?")
echo "start of fine: exit $fine, of broken: exit $broken; failed/: '$failed'; --crashed: '$crashed'"
[[ $fine -eq 0 && $broken -eq 1 && -z $failed ]]
grep -Eq 'broken .*\[ +stopped' <<<"$shown" && grep -Eq 'fine .*\[ +started' <<<"$shown" && [[ $crashed = "exit 1" ]]
