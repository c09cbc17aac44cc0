#!/usr/bin/env bash
# pyvbox 2.1.1, virtualbox 2.1.1 (both PyPI)
#
# Guess:   pyvbox is the package (that is the project's name) and virtualbox its old or other name; either works.
# Seen:    pyvbox 2.1.1 installs and cannot be imported: its module imports one of the name virtualbox, which only the
#          distribution "virtualbox" brings.
# Matters: requirements that say pyvbox install without a complaint and fail at the first import, and the missing module
#          has the name of the program, which sends people to install that. Depend on virtualbox.
# Needs:   python3 with pip.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for name in pyvbox virtualbox; do
  python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/$name" "$name==2.1.1"
  echo "$name brings: $(find "$work/$name" -mindepth 1 -maxdepth 1 -type d ! -name '*.dist-info' -printf '%f ')"
done
seen=
for name in pyvbox virtualbox; do
  for module in pyvbox virtualbox; do
    if PYTHONPATH="$work/$name" python3 -c "import $module" 2>"$work/told"; then
      seen+="$name:$module "
    else
      echo "with $name, import $module: $(tail -n 1 "$work/told")"
    fi
  done
done
echo "works: $seen"
[[ $seen == "virtualbox:virtualbox " ]]
