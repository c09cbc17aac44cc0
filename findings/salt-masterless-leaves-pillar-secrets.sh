#!/usr/bin/env bash
# salt 3008.3 (PyPI)
#
# Guess:   a masterless run (--local, file_client: local) keeps pillar data in memory: there is no master whose
#          answers need a cache.
# Seen:    the compiled states, with the secrets that Jinja put in from pillar, stay in
#          var/cache/salt/minion/highstate.cache.p, beside copies of all state files; removing the file that the
#          state made does not remove them. Mode 0600, and plain text.
# Matters: after `salt-call --local` and `apt-get purge` the image still carries the password, for everyone who
#          gets the image. Give --cachedir a folder that is thrown away.
# Needs:   python3 (up to 3.12) with pip and venv. Installs 230 MB for the time of the run.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check --no-compile salt==3008.3
mkdir -p "$work"/{config,states,pillar}
printf 'root_dir: %s/root\nfile_client: local\nid: build\n' "$work" >"$work/config/minion"
printf 'base: {"*": [secrets]}\n' >"$work/pillar/top.sls"
printf 'password: correct-horse\n' >"$work/pillar/secrets.sls"
printf '%s/app.conf:\n  file.managed:\n    - contents: "password={{ pillar["password"] }}"\n' "$work" >"$work/states/app.sls"
"$work/venv/bin/salt-call" --local --config-dir "$work/config" --file-root "$work/states" --pillar-root "$work/pillar" \
  --log-level quiet --log-file-level quiet --retcode-passthrough state.apply app >/dev/null 2>&1
grep correct-horse "$work/app.conf" >/dev/null
rm "$work/app.conf"
cd "$work"
left=$(grep --recursive --files-with-matches correct-horse root)
echo "the secret is in: $left ($(stat --format=%A "$left"))"
[[ $left == root/var/cache/salt/minion/highstate.cache.p ]]
