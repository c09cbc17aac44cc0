#!/usr/bin/env bash
# salt 3008.3 (PyPI)
#
# Guess:   a state file whose Jinja condition is false has nothing to do, and is a success, as a play with only
#          skipped tasks.
# Seen:    alone it fails: "Succeeded: 0, Failed: 0", exit code 2 with --retcode-passthrough (1 without). In one
#          run with another state file the same file is a success, exit code 0.
# Matters: a role that is for some images only ("if grains[...]") breaks the builds of the others when it is
#          applied by itself, and the summary does not show what failed.
# Needs:   python3 (up to 3.12) with pip and venv. Installs 230 MB for the time of the run.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check --no-compile salt==3008.3
mkdir -p "$work"/{config,states}
printf 'root_dir: %s/root\nfile_client: local\nid: build\n' "$work" >"$work/config/minion"
printf '{%% if grains["id"] == "somebody else" %%}\nx: {test.nop: []}\n{%% endif %%}\n' >"$work/states/some.sls"
printf 'y: {test.nop: []}\n' >"$work/states/other.sls"
apply() {
  local code=0
  "$work/venv/bin/salt-call" --local --config-dir "$work/config" --file-root "$work/states" --log-level quiet \
    --log-file-level quiet "${@:2}" state.apply "$1" >"$work/told" 2>/dev/null || code=$?
  echo "$code"
}
alone=$(apply some --retcode-passthrough)
failed=$(grep '^Failed:' "$work/told" | tr -s ' ')
plain=$(apply some)
both=$(apply some,other --retcode-passthrough)
echo "some.sls alone: exit $alone (without --retcode-passthrough $plain), summary '$failed'; with other.sls: exit $both"
[[ $alone -eq 2 && $plain -eq 1 && $both -eq 0 && $failed == "Failed: 0" ]]
