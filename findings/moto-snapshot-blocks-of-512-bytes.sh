#!/usr/bin/env bash
# moto 5.2.5 (PyPI), boto3 1.44.5
#
# Guess:   EBS direct in moto has blocks of 512 KiB (524288 bytes), as EBS has, and checks the checksum that
#          put_snapshot_block must be given.
# Seen:    start_snapshot and list_snapshot_blocks answer BlockSize 512; a block with a wrong SHA-256, a block of
#          three bytes and one far behind the end are taken, complete_snapshot believes any count of changed
#          blocks, and blocks may be put after it.
# Matters: an uploader that takes its block size from the answer, as it should, sends a thousand times the calls;
#          and nothing of what it may do wrong is noticed before it meets AWS.
# Needs:   python3 with pip. No account, no network: moto answers inside the process.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" moto==5.2.5 sortedcontainers==2.4.0 boto3==1.44.5
PYTHONPATH="$work/lib" python3 - <<'PY'
import base64
import sys
import boto3
from moto import mock_aws

mock = mock_aws()
mock.start()
ebs = boto3.client("ebs", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
snapshot = ebs.start_snapshot(VolumeSize=1)
print("BlockSize:", snapshot["BlockSize"])


def put(index, data):
    checksum = base64.b64encode(b"0" * 32).decode()
    answer = ebs.put_snapshot_block(
        SnapshotId=snapshot["SnapshotId"], BlockIndex=index, BlockData=data, DataLength=len(data),
        Checksum=checksum, ChecksumAlgorithm="SHA256",
    )
    return answer["ResponseMetadata"]["HTTPStatusCode"]


codes = [put(0, b"a" * 524288), put(1, b"abc"), put(99_999_999, b"a" * 524288)]
print("wrong checksum, three bytes, behind the end:", codes)
status = ebs.complete_snapshot(SnapshotId=snapshot["SnapshotId"], ChangedBlocksCount=77)["Status"]
print("complete_snapshot with 77 changed blocks of 3:", status, "- a block after it:", put(2, b"late"))
mock.stop()
sys.exit(not (snapshot["BlockSize"] == 512 and all(code < 300 for code in codes) and status == "completed"))
PY
