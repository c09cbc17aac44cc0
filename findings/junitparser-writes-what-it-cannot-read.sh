#!/usr/bin/env bash
# junitparser 5.0.3 (PyPI)
#
# Guess:   a report that junitparser writes is a report that junitparser reads.
# Seen:    with an escape character in a failure's text or in system-out (coloured output of apt, Ansible,
#          a boot console) write() is content, and the file is not XML: fromfile() raises ParseError, as does
#          every CI server's reader.
# Matters: results of image builds carry console output by nature; the whole report is lost, not the one
#          message, and mostly on the day when a test failed.
# Needs:   python3 with pip.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" junitparser==5.0.3
cd "$work"
PYTHONPATH="$work/lib" python3 - <<'PY'
import sys
from xml.etree.ElementTree import ParseError
from junitparser import Failure, JUnitXml, TestCase, TestSuite

case = TestCase("boots")
failure = Failure("no login prompt")
failure.text = "[\x1b[31mFAILED\x1b[0m] Failed to start ssh.service"
case.result = [failure]
suite = TestSuite("smoke")
suite.add_testcase(case)
report = JUnitXml()
report.add_testsuite(suite)
report.write("junit.xml")
print("written without an error")
try:
    JUnitXml.fromfile("junit.xml")
except ParseError as error:
    print("read:", type(error).__name__, error)
    sys.exit(0)
sys.exit(1)
PY
