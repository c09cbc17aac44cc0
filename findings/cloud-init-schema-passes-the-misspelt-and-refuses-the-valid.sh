#!/usr/bin/env bash
# cloud-init 22.4.2 (Debian 12)
#
# Guess:   `cloud-init schema` finds a misspelt key, and takes whatever cloud-init takes as user data.
# Seen:    "pakages: [nginx]" is a "Valid cloud-config"; a Jinja template and a MIME archive of cloud-configs, which
#          cloud-init reads at boot, are refused ("needs to begin with #cloud-config").
# Matters: as a gate in front of an image or a launch it lets through what does nothing, and stops what works.
# Needs:   apt-get (the package is unpacked into a temporary folder, not installed), python3 with pip.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download -qq cloud-init 2>/dev/null
dpkg-deb --field cloud-init_*.deb Version
dpkg-deb --extract cloud-init_*.deb tree
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" PyYAML==6.0.4 Jinja2==3.1.6 \
  jsonschema==4.26.0 configobj==5.0.9 requests==2.34.2 oauthlib==3.3.1 jsonpatch==1.48
export PYTHONPATH="$work/tree/usr/lib/python3/dist-packages:$work/lib"

printf '#cloud-config\npakages: [nginx]\n' >misspelt
printf '## template: jinja\n#cloud-config\nhostname: web-{{ v1.instance_id }}\n' >template
cat >archive <<'MIME'
Content-Type: multipart/mixed; boundary="part"
MIME-Version: 1.0

--part
Content-Type: text/cloud-config

#cloud-config
hostname: web
--part--
MIME
codes=
for name in misspelt template archive; do
  code=0
  python3 -m cloudinit.cmd.main schema --config-file "$name" >told 2>&1 || code=$?
  echo "$name: exit $code, $(tail -n 1 told)"
  codes+="$code "
done
[[ $codes == '0 1 1 ' ]]
