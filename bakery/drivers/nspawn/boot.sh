#!/bin/sh
# Process 1 of a PID and mount namespace of its own (see start.py), so that everything here, mounts, helpers and the
# machine itself, is gone from the host the moment this process ends.
#
#   boot.sh NAME RUN MODE LOWER UPPER WORK ROOT NET CGROUPS COMMAND...
#
# NAME, RUN   the machine's name and its run's id, for whoever reads the process list
# MODE        "booted": COMMAND is systemd-nspawn; "plain": COMMAND sets up a chroot and keeps it alive
# LOWER, UPPER, WORK   the overlay's folders, escaped for mount options
# ROOT        where the overlay is mounted; NET a file that the network namespace is bound to
# CGROUPS     control groups to make and to enter, a line each; empty where the host's systemd has made one
set -eu
mode=$3 lower=$4 upper=$5 work=$6 root=$7 net=$8 cgroups=$9
shift 9

# systemd inside believes that it owns the whole tree below its control group: no two machines may share one.
while read -r group; do
    [ -n "$group" ] || continue
    mkdir -p "$group"
    echo 0 >"$group/cgroup.procs"
done <<EOF
$cgroups
EOF
# See hierarchy.py.
[ -z "${BAKERY_CGROUP2:-}" ] || mount -t cgroup2 cgroup2 /sys/fs/cgroup

# The layer is thrown away or copied as a whole, so that waiting for the disk buys nothing: `volatile` drops every
# fsync, and dpkg makes thousands. Kernels before 5.10 do not know the word; user namespaces need `userxattr`.
# mount(2), as mount(8) of util-linux 2.41 and 2.42 hands no option of more than 255 bytes to the newer fsconfig(2).
export LIBMOUNT_FORCE_MOUNT2=always
where="lowerdir=$lower,upperdir=$upper,workdir=$work"
plain="$where,redirect_dir=off,metacopy=off,index=off"
mount -t overlay overlay -o "$plain,volatile" "$root" 2>/dev/null ||
    mount -t overlay overlay -o "$plain" "$root" 2>/dev/null ||
    mount -t overlay overlay -o "$where,userxattr,volatile" "$root"

# A network of its own: what the tasks start cannot take a port of this host, and this host's loopback services cannot
# be reached from inside. slirp4netns carries outgoing connections and forwards 10.0.2.3 to this host's resolver.
: >"$net"
unshare --net="$net" true
mkfifo "$net.ready"
slirp4netns --configure --mtu=65520 --disable-host-loopback --netns-type=path --ready-fd=3 \
    "$net" host0 3>"$net.ready" &
read -r ready <"$net.ready" || true # no line end comes with it
[ "$ready" = 1 ] || { echo "slirp4netns could not make the machine's network" >&2; exit 1; }

if [ "$mode" = booted ]; then
    # systemd-nspawn leaves folders in /run; they belong into this mount namespace.
    mkdir -p /run/systemd/nspawn
    mount -t tmpfs tmpfs /run/systemd/nspawn
    # 133 asks for another start: the machine is rebooting (systemd-nspawn(1), --keep-unit).
    code=133
    while [ "$code" = 133 ]; do
        code=0
        "$@" || code=$?
    done
    exit "$code"
fi
# All kinds of namespaces: `nsenter --all` could not enter those of this host again from a user namespace.
[ ! -e /proc/self/ns/time ] || set -- --time "$@"
exec nsenter --net="$net" unshare --mount --uts --ipc --pid --cgroup --fork --kill-child "$@"
