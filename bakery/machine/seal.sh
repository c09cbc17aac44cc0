# Removes from a machine what no image may hold. For any POSIX shell: dash, bash, busybox. What is not there is said to
# be skipped. Each function is one option of bakery.Seal; the calls are appended by bakery/seal.py. Run as root.

option=
did() { echo "$option: $*"; }
skip() { echo "$option: skipped, $*"; }

# Removes what exists of the given paths and says so. Patterns are expanded by the caller.
remove() {
  removed=0
  for path; do
    [ -e "$path" ] || [ -L "$path" ] || continue
    rm -rf -- "$path" && removed=$((removed + 1))
  done
  if [ "$removed" -gt 0 ]; then did "removed $removed"; else skip "there is nothing"; fi
}

# Overwrites files in place. Removing alone leaves the contents in blocks that are only marked as free, and a discard
# takes whole clusters of a disk image or nothing.
wipe() {
  for path; do
    [ -s "$path" ] && [ ! -L "$path" ] || continue
    dd if=/dev/zero of="$path" bs="$(wc -c <"$path")" count=1 conv=notrunc,fsync 2>/dev/null
  done
}

homes() { # one a line, each once; without those of services, which share / or do not exist
  { echo /root; cut -d: -f6 /etc/passwd; } | sort -u | while read -r home; do
    [ "$home" = / ] || [ ! -d "$home" ] || echo "$home"
  done
}

# A short build is over before cloud-init is, which then writes keys and data again behind our back. It says in /run
# whether it works on this boot and when it is done. `cloud-init status --wait` gives up when a module has failed, while
# the others still run.
settle() {
  [ -e /run/cloud-init/enabled ] || return 0
  seconds=0
  until [ -e /run/cloud-init/result.json ] || systemctl is-failed --quiet cloud-final.service 2>/dev/null; do
    if [ "$seconds" -ge 300 ]; then
      echo "cloud_init: warning, it still works after 5 minutes"
      return 0
    fi
    sleep 1
    seconds=$((seconds + 1))
  done
}

build_keys() { # KEY: the base64 part of this machine's login key
  homes | {
    lines=0 files=
    while read -r home; do
      for file in "$home/.ssh/authorized_keys" "$home/.ssh/authorized_keys2"; do
        [ -f "$file" ] || continue
        before=$(wc -l <"$file")
        rest=$(grep -v -F -e "$1" "$file" | grep -v -E ' bakery-[^ ]*$')
        if [ -z "$rest" ]; then
          rm -f -- "$file"
          rmdir -- "$home/.ssh" 2>/dev/null
          after=0
        else
          printf '%s\n' "$rest" >"$file" # through the same file: owner and mode stay
          after=$(wc -l <"$file")
        fi
        [ "$before" -eq "$after" ] && [ -f "$file" ] && continue
        lines=$((lines + before - after)) files="$files $file"
      done
    done
    if [ -n "$files" ]; then did "removed $lines lines from$files"; else skip "no login key of a build is left"; fi
  }
}

has_systemd() { # also where it does not run: in a plain namespace of a system that boots with it
  [ -d /run/systemd/system ] && return 0
  case $(readlink -f /sbin/init 2>/dev/null) in */systemd) return 0 ;; esac
  return 1
}

UNIT_FOLDERS='/etc/systemd/system /usr/lib/systemd/system /lib/systemd/system'

is_wanted() { # UNIT: true when another unit starts it
  stem=${1%%[@.]*}
  for folder in $UNIT_FOLDERS; do
    for link in "$folder"/*.wants/"$stem"[@.]* "$folder"/*.requires/"$stem"[@.]*; do
      [ ! -L "$link" ] && [ ! -e "$link" ] || return 0
    done
  done
  # shellcheck disable=SC2086  # several words
  grep -r -s -q -E "^(Wants|Requires|BindsTo)=(.* )?${stem}[@.]" $UNIT_FOLDERS
}

makes_host_keys() { # true when something makes missing host keys at every boot that finds none
  if ! has_systemd; then
    grep -r -s -q -E 'ssh-keygen +-A|dropbear.* -[A-Za-z]*R' /etc/init.d /etc/rc.local
    return
  fi
  # What a unit runs: cloud-init's units only mention sshd-keygen in their order, and make keys where it has work.
  # shellcheck disable=SC2086
  for file in $(grep -r -s -l -E '^Exec.*(ssh-keygen +-A|sshd-keygen|dropbear.* -[A-Za-z]*R)' $UNIT_FOLDERS); do
    unit=$(basename "$file")
    [ "$(readlink -f "/etc/systemd/system/$unit")" != /dev/null ] || continue # masked
    # "First boot" is one without any /etc/machine-id, or one that says "uninitialized". Ours is empty, as it must be:
    # a first boot also enables whatever units the image has disabled (systemctl(1), preset-all).
    # shellcheck disable=SC2046,SC2086
    if grep -s -q '^ConditionFirstBoot=' "$file" $(printf "%s/$unit.d/*.conf " $UNIT_FOLDERS); then continue; fi
    if is_wanted "$unit"; then return 0; fi
  done
  return 1
}

host_keys() {
  # What makes keys may still be at one, or waits for its turn in a boot that goes on, and then finds none: a key would
  # be there again after it was removed. What is stopped is also taken from what waits.
  if [ -d /run/systemd/system ]; then
    systemctl --quiet stop ssh-host-keys.service bakery-host-keys.service 'sshd-keygen@*.service' 2>/dev/null
  fi
  rm -f /etc/ssh/.host-keys-wanted
  # With ten characters behind its name: one that ssh-keygen -A was ended at.
  wipe /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.?????????? /etc/dropbear/dropbear_*_host_key
  remove /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub /etc/ssh/ssh_host_*_key-cert.pub \
    /etc/ssh/ssh_host_*_key.?????????? /etc/ssh/ssh_host_*_key.pub.?????????? /etc/dropbear/dropbear_*_host_key
  keygen=$(command -v ssh-keygen 2>/dev/null) || return 0
  if [ ! -e /etc/systemd/system/bakery-host-keys.service ] && makes_host_keys; then
    did "new ones are made at boot"
  elif has_systemd; then # ours is written anew: an older one may be in the image that this one stands on
    install_host_keys_unit "$keygen" && did "installed bakery-host-keys.service, which makes new ones at boot"
  elif command -v rc-update >/dev/null 2>&1; then
    install_host_keys_service "$keygen" && did "installed the service bakery-host-keys, which makes new ones at boot"
  else
    echo "$option: warning, nothing makes new ones at boot"
  fi
}

install_host_keys_service() { # KEYGEN: its path. For OpenRC.
  cat >/etc/init.d/bakery-host-keys <<SERVICE
#!/sbin/openrc-run
description="Make SSH host keys where nobody gave any"

depend() {
  need localmount
  after bootmisc cloud-init
  before sshd dropbear
}

start() {
  $1 -A
}
SERVICE
  chmod 755 /etc/init.d/bakery-host-keys && rc-update --quiet add bakery-host-keys default
}

install_host_keys_unit() { # KEYGEN: its path
  umask 022
  units=/etc/systemd/system
  # Never before a socket: sockets come before basic.target, and this unit after it.
  cat >"$units/bakery-host-keys.service" <<UNIT
[Unit]
Description=Make SSH host keys where nobody gave any
After=cloud-init.service cloud-init-network.service sshd-keygen.service sshd-keygen.target
Before=ssh.service sshd.service
ConditionPathExistsGlob=!/etc/ssh/ssh_host_*_key

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=$1 -A

[Install]
WantedBy=multi-user.target
UNIT
  mkdir -p "$units/multi-user.target.wants" && # which is what `systemctl enable` does
    ln -s -f ../bakery-host-keys.service "$units/multi-user.target.wants/bakery-host-keys.service" || return
  # Where a socket starts an sshd for each connection, the first one waits for the keys.
  for template in ssh@ sshd@; do
    mkdir -p "$units/$template.service.d" &&
      printf '[Unit]\nWants=bakery-host-keys.service\nAfter=bakery-host-keys.service\n' \
        >"$units/$template.service.d/bakery-host-keys.conf" || return
  done
}

machine_id() {
  found=
  if [ -s /etc/machine-id ]; then
    # systemd fills an empty one. Without systemd dbus-uuidgen makes one that is missing, and refuses one that is empty.
    if has_systemd; then : >/etc/machine-id; else rm -f /etc/machine-id; fi
    found=yes
  fi
  # Elsewhere it is a link to the first, or a copy that would survive it.
  if [ -f /var/lib/dbus/machine-id ] && [ ! -L /var/lib/dbus/machine-id ]; then
    rm -f /var/lib/dbus/machine-id
    found=yes
  fi
  wipe /var/lib/NetworkManager/secret_key /var/lib/systemd/credential.secret
  for path in /var/lib/NetworkManager/secret_key /var/lib/systemd/credential.secret; do
    [ ! -e "$path" ] || { rm -f -- "$path"; found=yes; }
  done
  if [ -n "$found" ]; then did "emptied"; else skip "there is none"; fi
}

cloud_init() {
  # Network configuration that was rendered for this machine's hardware address cuts every clone off.
  remove /var/lib/cloud/instance /var/lib/cloud/instances /var/lib/cloud/sem /var/lib/cloud/data /run/cloud-init \
    /var/log/cloud-init.log /var/log/cloud-init-output.log /etc/netplan/50-cloud-init.yaml \
    /etc/network/interfaces.d/50-cloud-init* /etc/systemd/network/10-cloud-init-*.network \
    /etc/NetworkManager/system-connections/cloud-init-*.nmconnection
  # Those of the sysconfig renderer have names that are anybody's, and say in their first line whose they are.
  for file in /etc/sysconfig/network-scripts/ifcfg-* /etc/sysconfig/network/ifcfg-*; do
    [ ! -f "$file" ] || ! head -n 1 "$file" | grep -q '^# Created by cloud-init' || rm -f -- "$file"
  done
}

leases() {
  remove /var/lib/dhcp/*.lease* /var/lib/dhclient/*.lease* /var/lib/NetworkManager/*.lease \
    /var/lib/dhcpcd/*.lease* /var/lib/dhcpcd/duid /var/lib/dhcpcd/secret /var/lib/dhcpcd5/*.lease* \
    /etc/udev/rules.d/70-persistent-net.rules
}

logs() {
  [ -d /var/log ] || { skip "there is no /var/log"; return; }
  # journald would write the machine's last words, under its old machine-id, into the folder that was emptied.
  journalctl --relinquish-var >/dev/null 2>&1 || :
  rm -rf /var/log/journal/* # the folder stays: it is what makes the journal persistent
  find /var/log -type f \( -name '*.gz' -o -name '*.xz' -o -name '*.old' -o -name '*.[0-9]' \) -exec rm -f {} +
  find /var/log -type f -size +0 -exec sh -c 'for f; do : >"$f"; done' sh {} +
  did "emptied"
}

caches() {
  if command -v apt-get >/dev/null 2>&1; then
    apt-get clean && rm -rf /var/lib/apt/lists/* && did "apt"
  elif command -v dnf >/dev/null 2>&1; then
    dnf --quiet clean all && did "dnf"
  elif command -v yum >/dev/null 2>&1; then
    yum --quiet clean all && did "yum"
  elif command -v zypper >/dev/null 2>&1; then
    zypper --quiet clean --all && did "zypper"
  elif command -v apk >/dev/null 2>&1; then
    rm -rf /var/cache/apk/* && did "apk"
  elif command -v pacman >/dev/null 2>&1; then
    rm -rf /var/cache/pacman/pkg/* && did "pacman"
  else
    skip "no package manager is known here"
  fi
}

histories() {
  homes | {
    set --
    while read -r home; do
      for name in .bash_history .ash_history .sh_history .zsh_history .python_history .lesshst .viminfo \
        .mysql_history .psql_history .sqlite_history .node_repl_history .wget-hsts; do
        set -- "$@" "$home/$name"
      done
    done
    remove "$@"
  }
}

temporary() { # what running services hold stays: systemd removes it when they stop
  find /tmp /var/tmp -mindepth 1 -maxdepth 1 ! -name 'systemd-private-*' ! -name '.*-unix' \
    -exec rm -rf {} + 2>/dev/null
  rm -rf /var/lib/systemd/coredump/* /var/crash/*
  did "emptied /tmp, /var/tmp and crash dumps"
}

random_seed() {
  # Stopping the service writes a seed; stopped now, it does not write another one on the way down.
  [ ! -d /run/systemd/system ] || systemctl --quiet stop systemd-random-seed.service 2>/dev/null
  remove /var/lib/systemd/random-seed /var/lib/seedrng/seed.* /var/lib/misc/random-seed /var/lib/urandom/random-seed /var/lib/random-seed /boot/loader/random-seed \
    /boot/efi/loader/random-seed /efi/loader/random-seed
}

# Files that a task made, or moved from another folder, may have labels with which a service that is confined cannot
# read them. Where the policy is loaded the labels are put right now; where it is not, as in a container, the system is
# asked to do so at its next boot: selinux(8), fixfiles(8).
selinux() {
  mode=$(sed -n 's/^SELINUX=\([a-z]*\).*/\1/p' /etc/selinux/config 2>/dev/null)
  case $mode in enforcing | permissive) ;; *) skip "there is none, or it is switched off"; return ;; esac
  if command -v selinuxenabled >/dev/null 2>&1 && selinuxenabled; then
    labels=$(restorecon -R -v -i / 2>/dev/null | wc -l)
    did "labels put right: $((labels))"
  else
    : >/.autorelabel
    did "asked for labels at the next boot, which restarts once for it"
  fi
}

trim() {
  if [ -e /run/systemd/container ] || [ -e /run/.containerenv ]; then
    skip "a container's disk is its host's"
    return
  fi
  sync
  command -v fstrim >/dev/null 2>&1 || { skip "there is no fstrim"; return; }
  trimmed='' refused=''
  while read -r device folder type _; do
    case $type in ext[234] | xfs | btrfs | f2fs | vfat) ;; *) continue ;; esac
    case $device in /dev/*) ;; *) continue ;; esac
    if fstrim "$folder" 2>/dev/null; then trimmed="$trimmed $folder"; else refused="$refused $folder"; fi
  done </proc/mounts
  if [ -n "$trimmed" ]; then did "gave free space back on$trimmed"; fi
  if [ -n "$refused" ]; then skip "the disk takes no free space back on$refused"; fi
}
