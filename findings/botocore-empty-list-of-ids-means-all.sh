#!/usr/bin/env bash
# botocore 1.44.8 (PyPI)
#
# Guess:   describe_instances(InstanceIds=[]) answers nothing, or is refused, as InstanceIds=None is.
# Seen:    the empty list is left out of the request: what is sent is describe_instances() for every instance of the
#          account. So it is for images, snapshots and volumes, while an empty list of a filter's values keeps the name.
# Matters: "describe what this build has made, then terminate what was answered" is the shape of every clean-up; for
#          a build that has made nothing it names everything there is.
# Needs:   python3 with pip. No account, no network: the request is caught before it is signed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" boto3==1.44.5 botocore==1.44.8
PYTHONPATH="$work/lib" python3 - <<'PY'
import sys
import boto3
from botocore.exceptions import ParamValidationError


class Caught(Exception):
    pass


def sent(operation, **given):
    """The parameters of the request that the call would send."""
    client = boto3.client("ec2", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    seen = {}

    def catch(params, **_):
        seen.update(params["body"])
        raise Caught

    client.meta.events.register("before-call.ec2", catch)
    try:
        getattr(client, operation)(**given)
    except Caught:
        pass
    return {name: value for name, value in seen.items() if name not in ("Action", "Version")}


empty = {
    "describe_instances(InstanceIds=[])": sent("describe_instances", InstanceIds=[]),
    "describe_images(ImageIds=[])": sent("describe_images", ImageIds=[]),
    "describe_snapshots(SnapshotIds=[], OwnerIds=[])": sent("describe_snapshots", SnapshotIds=[], OwnerIds=[]),
}
for call, parameters in empty.items():
    print(f"{call} sends {parameters}")
try:
    sent("describe_instances", InstanceIds=None)
    refused = False
except ParamValidationError:
    refused = True
print("InstanceIds=None is refused:", refused)
sys.exit(not (refused and all(parameters == {} for parameters in empty.values())))
PY
