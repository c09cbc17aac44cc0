#!/usr/bin/env bash
# PyYAML 6.0.4 (PyPI)
#
# Guess:   whatever safe_load cannot read is a yaml.YAMLError, with the line in it; so `except yaml.YAMLError`
#          around a user's file is enough.
# Seen:    a plain value that only looks like a date, such as the version 2024-31-12, and a number of more than
#          4300 digits are a bare ValueError, without a line. Both are well-formed YAML; in quotes they load.
# Matters: variable files of builds hold versions and build numbers; the tool that reads them ends with a
#          traceback in place of the file's name.
# Needs:   python3 with pip, Python 3.11 or newer for the number.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" PyYAML==6.0.4
cd "$work"
PYTHONPATH="$work/lib" python3 - <<'PY'
import yaml


def what(text):
    try:
        return f"loads as {type(yaml.safe_load(text)['version']).__name__}"
    except yaml.YAMLError as error:
        return f"YAMLError, line {error.problem_mark.line + 1}"
    except Exception as error:
        return f"{type(error).__name__}, no YAMLError: {str(error)[:40]}"


seen = {
    "a syntax error": what("a: 1\nversion: [1"),
    "2024-12-31": what("a: 1\nversion: 2024-12-31\n"),
    "2024-31-12": what("a: 1\nversion: 2024-31-12\n"),
    '"2024-31-12"': what('a: 1\nversion: "2024-31-12"\n'),
    "5000 digits": what("a: 1\nversion: " + "1" * 5000 + "\n"),
}
for name, result in seen.items():
    print(f"{name:15} {result}")
assert seen["a syntax error"].startswith("YAMLError"), "a syntax error is another error now"
assert seen["2024-12-31"] == "loads as date"
assert seen["2024-31-12"].startswith("ValueError"), "a date that is none is another error now"
assert seen['"2024-31-12"'] == "loads as str"
assert seen["5000 digits"].startswith("ValueError"), "a long number is another error now"
PY
