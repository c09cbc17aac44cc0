#!/bin/sh
# Where systemd-nspawn cannot run: make ROOT the root of this mount namespace, as a container's is, and keep the
# namespaces alive. No systemd runs inside. Process 1 of its own PID namespace (see boot.sh).
#
#   chroot.sh ROOT NAME      NAME: the machine's, for whoever reads the process list
set -eu
cd "$1"
[ ! -s etc/hostname ] || hostname "$(cat etc/hostname)"
mount -t proc proc proc
mount --rbind /sys sys
mount --make-rslave sys
mount -t tmpfs -o mode=755,size=4M tmpfs dev
for node in null zero full random urandom tty; do
    : >"dev/$node"
    mount --bind "/dev/$node" "dev/$node"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mkdir run/lock
mount -t tmpfs -o mode=1777 tmpfs tmp

mkdir run/host
pivot_root . run/host
umount -l run/host
rmdir run/host

# Ignored, SIGCHLD lets the kernel reap what daemons leave to process 1.
trap '' CHLD
exec sleep infinity </dev/null
