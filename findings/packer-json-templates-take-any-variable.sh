#!/usr/bin/env bash
# packer 1.6.6 (Debian 12)
#
# Guess:   a variable that the template does not declare is an error, on the command line and in the template.
# Seen:    so it is for HCL2. In a JSON template -var of an undeclared name is ignored, and {{user `name`}} of one is
#          the empty text; `packer validate` and `packer build` exit 0.
# Matters: a misspelt variable name gives an image with an empty version, an empty user or the default size, and
#          where templates are still JSON, `packer validate` in front of the build does not find it.
# Needs:   packer. The builder "file" writes one file into a temporary folder; no plugin is downloaded.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
command -v packer >/dev/null || { echo "needs the package packer" >&2; exit 2; }
export CHECKPOINT_DISABLE=1 PACKER_NO_COLOR=1 PACKER_CACHE_DIR="$work/cache" PACKER_CONFIG_DIR="$work/config"
packer version
cd "$work"
cat >image.json <<'JSON'
{"variables": {"release": "12"},
 "builders": [{"type": "file", "content": "release={{user `relaese`}}", "target": "made"}]}
JSON
cat >image.pkr.hcl <<'HCL'
source "file" "web" {
  content = "x"
  target = "other"
}
build {
  sources = ["source.file.web"]
}
HCL
packer validate -var relase=13 image.json >/dev/null </dev/null
packer build -var relase=13 image.json >/dev/null </dev/null
echo "JSON: validate and build exit 0, the image says '$(cat made)'"
hcl=0
packer build -var relase=13 image.pkr.hcl >/dev/null 2>&1 </dev/null || hcl=$?
echo "HCL2: exit $hcl"
[[ $(cat made) == 'release=' && $hcl -eq 1 ]]
