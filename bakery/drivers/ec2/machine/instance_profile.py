"""A temporary role with an instance profile, from the policy that the user gave."""

from __future__ import annotations

import json

from bakery.drivers.ec2.api import tags
from bakery.drivers.ec2.api.account import Ec2Cloud
from bakery.drivers.ec2.api.errors import Ec2Error, code_of
from bakery.drivers.ec2.source import Ec2
from bakery.errors import NotYet
from bakery.state.claim import Claim
from bakery.util.waiting import until

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
GONE = "NoSuchEntity"


def make(cloud: Ec2Cloud, source: Ec2, claim: Claim) -> str:
    """Make a role, give it the policy, put it in a profile; return the profile's name."""
    key = tags.new_key(claim)
    marks = tags.listed(tags.temporary(claim, key, source.run_tags))
    what = "make a temporary role"
    role = claim.intend("role", key, **cloud.record)
    trust, policy = json.dumps(TRUST), json.dumps(dict(source.instance_policy or {}))
    cloud.call("create_role", what, service="iam", RoleName=key, AssumeRolePolicyDocument=trust, Tags=marks)
    role.made(key)
    cloud.call("put_role_policy", what, service="iam", RoleName=key, PolicyName=key, PolicyDocument=policy)
    profile = claim.intend("instance-profile", key, **cloud.record)
    cloud.call("create_instance_profile", what, service="iam", InstanceProfileName=key, Tags=marks)
    profile.made(key)
    cloud.call("add_role_to_instance_profile", what, service="iam", InstanceProfileName=key, RoleName=key)
    _visible(cloud, key, claim)
    return key


def _visible(cloud: Ec2Cloud, key: str, claim: Claim) -> None:
    """IAM tells its regions by and by; RunInstances may still say that it does not know the profile."""

    def probe() -> None:
        found = cloud.call("get_instance_profile", service="iam", InstanceProfileName=key)["InstanceProfile"]
        if not found["Roles"]:
            raise NotYet("the profile has no role yet")

    until(probe, what="the instance profile exists", timeout=60, cancel=claim.cancel, notify=claim.waiting)


def delete_profile(cloud: Ec2Cloud, key: str) -> None:
    """Delete a profile; the role stays."""
    try:
        found = cloud.call("get_instance_profile", service="iam", InstanceProfileName=key)["InstanceProfile"]
        for role in found["Roles"]:
            name = role["RoleName"]
            cloud.call("remove_role_from_instance_profile", service="iam", InstanceProfileName=key, RoleName=name)
        cloud.call("delete_instance_profile", "delete the profile", service="iam", InstanceProfileName=key)
    except Ec2Error as error:
        if code_of(error) != GONE:
            raise


def delete_role(cloud: Ec2Cloud, key: str) -> None:
    """Delete a role with its policies."""
    try:
        for name in cloud.call("list_role_policies", service="iam", RoleName=key)["PolicyNames"]:
            cloud.call("delete_role_policy", service="iam", RoleName=key, PolicyName=name)
        cloud.call("delete_role", "delete the role", service="iam", RoleName=key)
    except Ec2Error as error:
        if code_of(error) != GONE:
            raise
