#!/usr/bin/env bash
# botocore 1.44.8 (PyPI)
#
# Guess:   EC2's waiters treat "no such id" alike: gone is gone for the waiters of an end, and "not yet known"
#          for the waiters of a beginning, since EC2 is eventually consistent.
# Seen:    volume_deleted takes InvalidVolume.NotFound as success, instance_terminated fails at
#          InvalidInstanceID.NotFound; instance_running asks again at it, image_available fails at
#          InvalidAMIID.NotFound. And volume_deleted never ends when the volume is named by a filter: an empty
#          list is not "gone" to it.
# Matters: clean-up that waits for the end of an instance that ended long ago reports a failure, and a build that
#          waits right after create_image now and then does.
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


def outcome(waiter, operation, code, then=None):
    client = boto3.client("ec2", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    stub = Stubber(client)
    if code:
        stub.add_client_error(operation, code)
    for answer in [then] * 2 if then else []:
        stub.add_response(operation, answer)
    with stub:
        try:
            client.get_waiter(waiter).wait(WaiterConfig={"Delay": 0, "MaxAttempts": 2})
        except WaiterError as error:
            return "attempts used up" if "Max attempts" in str(error) else "fails"
    return "success"


running = {"Reservations": [{"Instances": [{"State": {"Name": "running"}}]}]}
available = {"Images": [{"State": "available"}]}
seen = {
    "volume_deleted, not found": outcome("volume_deleted", "describe_volumes", "InvalidVolume.NotFound"),
    "volume_deleted, empty list": outcome("volume_deleted", "describe_volumes", None, {"Volumes": []}),
    "instance_terminated, not found": outcome(
        "instance_terminated", "describe_instances", "InvalidInstanceID.NotFound"
    ),
    "instance_running, not found, then running": outcome(
        "instance_running", "describe_instances", "InvalidInstanceID.NotFound", running
    ),
    "image_available, not found, then available": outcome(
        "image_available", "describe_images", "InvalidAMIID.NotFound", available
    ),
}
for case, end in seen.items():
    print(f"{case}: {end}")
sys.exit(list(seen.values()) != ["success", "attempts used up", "fails", "success", "fails"])
PY
