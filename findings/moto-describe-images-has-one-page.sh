#!/usr/bin/env bash
# moto 5.2.5 (PyPI), boto3 1.44.5
#
# Guess:   describe_images(MaxResults=5) answers five images and a NextToken, as describe_instances does.
# Seen:    it answers all 1300 at once and no token, while describe_instances has pages.
# Matters: "take the newest of the answers" without a paginator is a common fault of image tools; moto cannot
#          show it for images, of all things, and a paginator over them is never tried.
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
images = ec2.describe_images(MaxResults=5)
source = images["Images"][0]["ImageId"]
for _ in range(7):
    ec2.run_instances(ImageId=source, MinCount=1, MaxCount=1)
instances = ec2.describe_instances(MaxResults=5)
print("describe_images(MaxResults=5):", len(images["Images"]), "images, NextToken:", bool(images.get("NextToken")))
print("describe_instances(MaxResults=5):", len(instances["Reservations"]), "NextToken:", bool(instances.get("NextToken")))
mock.stop()
sys.exit(not (len(images["Images"]) > 1000 and not images.get("NextToken") and len(instances["Reservations"]) == 5))
PY
