#!/usr/bin/env bash
# botocore 1.44.8 (PyPI)
#
# Guess:   UserData is given as text everywhere, as in run_instances, and botocore encodes it; or it does nowhere.
# Seen:    run_instances and modify_instance_attribute encode it in base64; create_launch_template and
#          request_spot_instances send it as it is. (EC2's reference says that it must be encoded; which of the calls
#          do it for one, the parameters do not show.)
# Matters: moving a builder from run_instances to a launch template, for spot or fleets, sends plain text (or, the other
#          way, doubly encoded text): the instance starts, finds no #cloud-config, and no login ever works.
# Needs:   python3 with pip. No account, no network: the request is caught before it is signed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" boto3==1.44.5 botocore==1.44.8
PYTHONPATH="$work/lib" python3 - <<'PY'
import base64
import sys
import boto3

TEXT = "#cloud-config\n"


class Caught(Exception):
    pass


def sent(operation, **given):
    """The user data of the request that the call would send."""
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
    (value,) = (value for name, value in seen.items() if "UserData" in name)
    return value


values = {
    "run_instances": sent("run_instances", MinCount=1, MaxCount=1, UserData=TEXT),
    "modify_instance_attribute": sent("modify_instance_attribute", InstanceId="i-1", UserData={"Value": TEXT}),
    "create_launch_template": sent(
        "create_launch_template", LaunchTemplateName="web", LaunchTemplateData={"UserData": TEXT}
    ),
    "request_spot_instances": sent("request_spot_instances", LaunchSpecification={"UserData": TEXT}),
}
encoded = base64.b64encode(TEXT.encode()).decode()
for operation, value in values.items():
    print(f"{operation}: {value!r}")
sys.exit(list(values.values()) != [encoded, encoded, TEXT, TEXT])
PY
