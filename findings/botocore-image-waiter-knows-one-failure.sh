#!/usr/bin/env bash
# botocore 1.44.8 (PyPI)
#
# Guess:   the waiter image_available ends at once when the image has reached a state from which it cannot
#          become available.
# Seen:    it does for "failed" only. For "error", "invalid", "deregistered" and "disabled", which EC2's own
#          model lists beside it, the waiter asks until its attempts are used up: 40 times 15 seconds.
#          (snapshot_completed does end for "error".)
# Matters: a build whose AMI ends in "error" hangs for ten minutes, and its message then speaks of attempts
#          and not of the image's StateReason.
# Needs:   python3 with pip. No account, no network: botocore's own Stubber answers.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" boto3==1.44.5 botocore==1.44.8
PYTHONPATH="$work/lib" python3 - <<'PY'
import sys
import boto3
from botocore.exceptions import WaiterError
from botocore.stub import Stubber

ATTEMPTS = 3
client = boto3.client("ec2", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
states = client.meta.service_model.shape_for("ImageState").enum
polls = {}
for state in sorted(set(states) - {"available", "pending"}):
    client = boto3.client("ec2", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    stub = Stubber(client)
    for _ in range(ATTEMPTS):
        stub.add_response("describe_images", {"Images": [{"State": state}]})
    with stub:
        try:
            client.get_waiter("image_available").wait(WaiterConfig={"Delay": 0, "MaxAttempts": ATTEMPTS})
        except WaiterError as error:
            polls[state] = "ends at once" if "terminal failure" in str(error) else "asks to the end"
            print(f"{state:13} {polls[state]}: {error}")
config = client.get_waiter("image_available").config
print(f"by default: {config.max_attempts} attempts, {config.delay} s apart")
ends = [state for state, how in polls.items() if how == "ends at once"]
sys.exit(not (ends == ["failed"] and {"error", "invalid", "deregistered"} <= set(polls)))
PY
