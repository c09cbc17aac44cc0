#!/usr/bin/env bash
# itamae 1.14.1 (Debian 12)
#
# Guess:   `itamae local --config FILE` reads options and handlers from a YAML file, as its README says: with
#          `dry_run: true` in it nothing is done, and a file that is not there is an error.
# Seen:    the file is never opened: the recipe is applied, exit 0, also when the file does not exist.
# Matters: a handler that should record what was done records nothing, and a dry run that is not dry changes the
#          machine.
# Needs:   the package itamae.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
command -v itamae >/dev/null || { echo "needs the package itamae" >&2; exit 2; }
itamae version
printf 'file "%s/made" do\n  content "x"\nend\n' "$work" >"$work/recipe.rb"
printf -- '---\ndry_run: true\nhandlers: [{type: json, path: %s/events}]\n' "$work" >"$work/config.yml"
apply() {
  rm -f "$work/made"
  itamae local --no-color --tmp-dir "$work/tmp" "$@" "$work/recipe.rb" >/dev/null && echo "exit 0, $(ls "$work" | tr '\n' ' ')"
}
dry=$(apply --dry-run)
told=$(apply --config "$work/config.yml")
gone=$(apply --config "$work/no-such-file.yml")
echo "--dry-run: $dry"
echo "--config with dry_run and a handler: $told"
echo "--config with a file that is not there: $gone"
[[ $dry != *made* && $told == *made* && $told != *events* && $gone == *made* ]]
