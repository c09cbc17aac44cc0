#!/usr/bin/env bash
# moto 5.2.5 (PyPI), boto3 1.44.5
#
# Guess:   moto's create_image and register_image keep the block devices that the call names, as run_instances
#          keeps its own.
# Seen:    every image answers with one disk, /dev/sda1, 15 GB, "standard": the devices of the instance, of the
#          call, and the root device's name are lost. The call succeeds.
# Matters: AMI builders test against moto: a size, a device name, a volume type or an encryption flag that is
#          wrong passes there, and code that reads the root device from the image breaks only there.
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
disks = [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 33, "VolumeType": "gp3", "Encrypted": True}}]
instance = ec2.run_instances(ImageId=source, MinCount=1, MaxCount=1, BlockDeviceMappings=disks)["Instances"][0]["InstanceId"]
ids = [
    ec2.create_image(InstanceId=instance, Name="created", BlockDeviceMappings=disks)["ImageId"],
    ec2.register_image(Name="registered", RootDeviceName="/dev/xvda", BlockDeviceMappings=disks)["ImageId"],
]
answers = []
for image in ec2.describe_images(ImageIds=ids)["Images"]:
    (device,) = image["BlockDeviceMappings"]
    answers.append((device["DeviceName"], device["Ebs"]["VolumeSize"], device["Ebs"]["VolumeType"]))
    print(image["Name"], "asked for /dev/xvda 33 gp3, answered", *answers[-1])
mock.stop()
sys.exit(answers != [("/dev/sda1", 15, "standard")] * 2)
PY
