#!/bin/sh
# Runs inside the new tree, after the last package; the tree becomes what a machine may be born from.
set -eu
systemctl enable --quiet systemd-networkd.service systemd-resolved.service systemd-timesyncd.service
systemctl enable --quiet ssh-host-keys.service
# Looks for LVM snapshots to check at every boot; there is no LVM in here.
systemctl disable --quiet e2scrub_reap.service e2scrub_all.timer
# Reads network settings from the kernel's command line, for systems whose initramfs wants a network. Ours does not.
systemctl disable --quiet systemd-network-generator.service || :  # not in bullseye
# systemd-repart wants these for encrypted and image-backed partitions; the kernel loads them by itself when first used.
systemctl mask --quiet modprobe@loop.service modprobe@dm_mod.service
# cloud-init 25.1 has another name for the unit that this is a script of. Debian 13 leaves the script where it upgrades,
# and systemd would run it beside the new unit, for five minutes.
rm -f /etc/init.d/cloud-init /etc/rc?.d/[SK][0-9][0-9]cloud-init
# Kernels were installed with INITRD=No, or each would have made an initramfs, and another one when all was there.
for kernel in /boot/vmlinuz-*; do
	update-initramfs -c -k "${kernel#/boot/vmlinuz-}"
	linux-update-symlinks install "${kernel#/boot/vmlinuz-}" "$kernel"
done
# Copied rather than installed: grub-install would want the disk. A later `grub-install /dev/vda` finds its partitions.
for target in i386-pc x86_64-efi; do
	mkdir -p /boot/grub/$target
	cp /usr/lib/grub/$target/*.mod /usr/lib/grub/$target/*.lst /boot/grub/$target/
done
rm -f /boot/grub/grub.cfg /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub /etc/apt/apt.conf.d/99mmdebstrap
rm -f /etc/dpkg/dpkg.cfg.d/99mmdebstrap /var/log/apt/* /var/log/dpkg.log /var/log/alternatives.log /var/log/bootstrap.log
: >/etc/machine-id
ln -sf /etc/machine-id /var/lib/dbus/machine-id
ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
