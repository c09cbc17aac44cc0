#!/usr/bin/env bash
# cloud-init 22.4.2 (Debian 12) upgraded to 25.1.4 (Debian 13), with systemd 257.13 (Debian 13)
#
# Guess:   after an upgrade from Debian 12 to 13 the services of cloud-init are those of a fresh Debian 13.
# Seen:    25.1.4 has cloud-init-main and cloud-init-network in place of cloud-init.service. The package leaves
#          /etc/init.d/cloud-init of the older one (for dpkg an obsolete conffile), which until then the unit of the
#          same name had hidden; systemd's generator now makes a cloud-init.service of it, wanted at boot. On a booted
#          machine it ran cloud-init once more beside the new services, held the boot up for five minutes, timed out
#          and was listed as failed.
# Matters: images and servers that are upgraded in place: each boot takes five minutes more, and whatever waits for the
#          machine's SSH server or checks `systemctl --failed` gives up. `rm /etc/init.d/cloud-init` before or after.
# Needs:   root, mmdebstrap; Debian's archive.
set -euo pipefail
[[ $(id -u) == 0 ]] || { echo "needs root" >&2; exit 2; }
command -v mmdebstrap >/dev/null || { echo "needs mmdebstrap" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
upgrade='
set -eu
export DEBIAN_FRONTEND=noninteractive
sed -i "s/bookworm/trixie/g" /etc/apt/sources.list
apt-get --quiet=2 update
apt-get --quiet=2 --yes install cloud-init systemd >/dev/null 2>&1
'
# shellcheck disable=SC2016  # for dpkg-query
show='
dpkg-query --show cloud-init systemd
dpkg-query --show --showformat="\${Conffiles}\n" cloud-init | grep "init.d/cloud-init "
mkdir -p /tmp/units
/usr/lib/systemd/system-generators/systemd-sysv-generator /tmp/units /tmp/units /tmp/units 2>/dev/null
find /tmp/units -name "cloud-init.service" -printf "generated: %P\n" | sort
find /usr/lib/systemd/system -name "cloud-init*.service" -printf "shipped: %P\n" | sort
'
mmdebstrap --quiet --variant=minbase --include=cloud-init,systemd-sysv --aptopt='APT::Install-Recommends "false"' \
  --customize-hook="chroot \"\$1\" sh -c '$upgrade'" --customize-hook="chroot \"\$1\" sh -c '$show' >$work/told" \
  bookworm "$work/root"
cat "$work/told"
grep -q '/etc/init.d/cloud-init .* obsolete' "$work/told"
grep -q '^generated: .*cloud-init.service$' "$work/told"
! grep -qx 'shipped: cloud-init.service' "$work/told"
