#!/usr/bin/env bash
# import-linter 2.17, grimp 3.20 (both PyPI)
#
# Guess:   a layers contract sees every module that Python can import from the package.
# Seen:    a folder without __init__.py is no part of the graph: an import that goes round through it (low ->
#          helpers.bridge -> high) is not there, the contract is KEPT and the exit code 0. Python imports it all
#          the same, as a namespace package; with an empty __init__.py in it the contract is BROKEN.
# Matters: one forgotten file turns an architecture check off for a whole folder, and the number of analysed files,
#          which nobody reads, is the only sign.
# Needs:   python3 with pip.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" import-linter==2.17 grimp==3.20
cd "$work"
mkdir -p house/high house/low house/helpers
touch house/__init__.py house/high/__init__.py
echo 'import house.helpers.bridge' >house/low/__init__.py
echo 'import house.high' >house/helpers/bridge.py
cat >.importlinter <<'INI'
[importlinter]
root_package = house
[importlinter:contract:1]
name = high above low
type = layers
layers =
  house.high
  house.low
INI
export PYTHONPATH="$work/lib:$work"
lint() {
  local code=0
  python3 "$work/lib/bin/lint-imports" --no-cache >told 2>&1 || code=$?
  echo "exit $code, $(grep -E 'KEPT|BROKEN' told | tail -n 1), $(grep --only-matching 'Analyzed [0-9]* files' told)"
}
python3 -c 'import house.low, sys; print("Python has imported house.high:", "house.high" in sys.modules)'
without=$(lint)
touch house/helpers/__init__.py
with=$(lint)
echo "without helpers/__init__.py: $without"
echo "with it:                     $with"
[[ $without == *"exit 0"*KEPT* && $with == *"exit 1"*BROKEN* ]]
