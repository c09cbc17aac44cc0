#!/usr/bin/env bash
# moto 5.2.5 (PyPI), boto3 1.44.5
#
# Guess:   two run_instances calls with one ClientToken start one instance in moto, as on EC2.
# Seen:    they start two. The token is in the model and in the request, and has no effect.
# Matters: the token is how a builder survives a lost answer or its own death between call and note. Tests of
#          that against moto find "leaks" that are none, or are written so that real ones pass.
# Needs:   python3 with pip. No account, no network: moto answers inside the process.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" moto==5.2.5 boto3==1.44.5
PYTHONPATH="$work/lib" python3 - <<'PY'
import sys
import boto3
from moto import mock_aws

mock = mock_aws()
mock.start()
ec2 = boto3.client("ec2", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
source = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
ids = {
    ec2.run_instances(ImageId=source, MinCount=1, MaxCount=1, ClientToken="build-42")["Instances"][0]["InstanceId"]
    for _ in range(2)
}
print("instances of one token:", len(ids))
mock.stop()
sys.exit(len(ids) != 2)
PY
