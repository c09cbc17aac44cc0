#!/usr/bin/env bash
# packer 1.6.6 (Debian 12)
#
# Guess:   `packer build -only=NAME` with a name that no build of the template has is an error.
# Seen:    "Builds finished but no artifacts were created", exit 0, with a JSON template and with HCL2.
# Matters: a pipeline that builds one image of many by its name is green for ever after the name was changed in the
#          template, and what is deployed is the last image that was made before.
# Needs:   packer. The builder "file" writes one file into a temporary folder; no plugin is downloaded.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
command -v packer >/dev/null || { echo "needs the package packer" >&2; exit 2; }
export CHECKPOINT_DISABLE=1 PACKER_NO_COLOR=1 PACKER_CACHE_DIR="$work/cache" PACKER_CONFIG_DIR="$work/config"
packer version
cd "$work"
echo '{"builders": [{"type": "file", "name": "web", "content": "x", "target": "web.img"}]}' >image.json
printf 'source "file" "web" {\n  content = "x"\n  target = "web.img"\n}\nbuild {\n  sources = ["source.file.web"]\n}\n' >image.pkr.hcl
codes=
for template in image.json image.pkr.hcl; do
  code=0
  packer build -color=false -only=wbe "$template" >told 2>&1 </dev/null || code=$?
  echo "$template: exit $code, $(tail -n 1 told)"
  codes+="$code "
done
packer build -only=web image.json >/dev/null </dev/null
[[ $codes == '0 0 ' && -e web.img ]]
