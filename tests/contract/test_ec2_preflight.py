"""What pre-flight says before anything is made: quotas, names that are taken, security groups; all read-only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bakery.drivers.ec2.driver import Ec2Driver
from bakery.drivers.ec2.options import Filter, Keep
from bakery.drivers.ec2.source import Ec2
from bakery.model import Problem
from bakery.testing.aws import Aws, Fault, Proxy, aws
from bakery.testing.aws.cloud import BASE, REGION
from tests.contract.ec2life import Life

SOURCE = Ec2(base=BASE, region=REGION, instance_type="t3.micro", poll=0.02)
EXACT = replace(SOURCE, naming="exact", copy_to=("eu-west-1",))
QUOTAS = {"L-1216C47A": 4, "L-34B43A08": 1, "L-DB2E81BA": 0}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with aws(tmp_path_factory.mktemp("aws"), quotas=QUOTAS) as running:
        yield running


@pytest.fixture
def proxy(cloud: Aws) -> Iterator[Proxy]:
    with Proxy(cloud.url) as running:
        yield running


@pytest.fixture(autouse=True)
def environment(cloud: Aws, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in {**cloud.environment, "AWS_ENDPOINT_URL": proxy.url}.items():
        monkeypatch.setenv(name, value)
    yield
    made = [call for call in proxy.calls if call.startswith(("Create", "Run", "Register", "Delete", "Deregister"))]
    allowed = {"CreateSecurityGroup", "RunInstances", "RegisterImage"}  # asked with DryRun
    assert set(made) <= allowed
    assert cloud.left() == {}


def check(source: Ec2) -> list[Problem]:
    return list(Ec2Driver().check(source))


def test_an_account_with_room_is_well(cloud: Aws) -> None:
    assert check(SOURCE) == []


def test_a_type_larger_than_the_quota_could_never_start(cloud: Aws) -> None:
    [problem] = check(replace(SOURCE, instance_type="m5.4xlarge"))
    assert problem.fatal
    assert problem.what == (
        "m5.4xlarge needs 16 vCPUs, and the quota of us-east-1 for Standard (A, C, D, H, I, M, R, T, Z) instances is "
        "4 vCPUs"
    )
    assert "Service Quotas console" in problem.hint


def test_it_is_only_a_warning_where_another_type_of_the_list_may_do(cloud: Aws) -> None:
    [problem] = check(replace(SOURCE, instance_type=("m5.4xlarge", "t3.micro")))
    assert not problem.fatal


def test_spot_has_a_quota_of_its_own(cloud: Aws) -> None:
    [problem] = check(replace(SOURCE, spot=True))
    assert problem.fatal
    assert problem.what.endswith("is 1 vCPUs")


def test_families_have_quotas_of_their_own(cloud: Aws) -> None:
    [problem] = check(replace(SOURCE, instance_type="g4dn.xlarge"))
    assert "for G and VT instances is 0 vCPUs" in problem.what


def test_what_runs_counts_and_only_warns_as_it_may_end(cloud: Aws, tmp_path: Path) -> None:
    ec2 = cloud.client()
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    machines = ec2.run_instances(ImageId=BASE, InstanceType="t3.micro", MinCount=3, MaxCount=3, SubnetId=subnet)
    ids = [machine["InstanceId"] for machine in machines["Instances"]]
    try:
        [problem] = check(SOURCE)
        assert not problem.fatal
        assert "is 4 vCPUs, of which" in problem.what
    finally:
        ec2.terminate_instances(InstanceIds=ids)


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException"])
def test_where_service_quotas_does_not_answer_the_build_goes_on(cloud: Aws, proxy: Proxy, code: str) -> None:
    proxy.faults.append(Fault(action="GetServiceQuota", code=code, status=400, times=-1))
    assert check(replace(SOURCE, instance_type="m5.4xlarge")) == []
    assert "DescribeAccountAttributes" in proxy.calls


def test_a_name_that_is_taken_is_said_before_anything_is_made(cloud: Aws, proxy: Proxy, tmp_path: Path) -> None:
    driver = Ec2Driver()
    assert list(driver.name_conflicts(EXACT, "web")) == []
    life = Life(EXACT, tmp_path)
    kept = life.whole()
    proxy.calls.clear()
    found = list(driver.name_conflicts(EXACT, "web"))
    assert [problem.what.split(" already")[0] for problem in found] == [
        "there is an image web in us-east-1",
        "there is an image web in eu-west-1",
    ]
    assert all(problem.fatal for problem in found)
    assert list(driver.name_conflicts(replace(EXACT, naming="dated"), "web")) == []
    assert list(driver.name_conflicts(replace(EXACT, replace=True), "web")) == []

    ec2 = cloud.client()
    ec2.create_launch_template(LaunchTemplateName="web", LaunchTemplateData={"ImageId": kept.id})
    [used] = driver.name_conflicts(replace(EXACT, replace=True), "web")
    assert used.why == "launch template web"
    assert list(driver.name_conflicts(replace(EXACT, replace=True, keep=Keep(in_use="delete")), "web")) == []
    ec2.delete_launch_template(LaunchTemplateName="web")
    life.driver.delete(kept)
    proxy.calls.clear()


def test_security_groups_can_be_found_by_what_they_carry(cloud: Aws, proxy: Proxy, tmp_path: Path) -> None:
    ec2 = cloud.client()
    vpc = ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"][0]["VpcId"]
    group = ec2.create_security_group(GroupName="of the team", Description="x", VpcId=vpc)["GroupId"]
    ec2.create_tags(Resources=[group], Tags=[{"Key": "use", "Value": "build"}])
    source = replace(SOURCE, security_groups=Filter(filters={"tag:use": "build"}))
    assert check(source) == []
    [problem] = check(replace(SOURCE, security_groups=Filter(filters={"tag:use": "other"})))
    assert "no security group in vpc-" in problem.what
    life = Life(source, tmp_path)
    handle = life.driver.launch(source, life.claim("build"))
    machine = ec2.describe_instances(InstanceIds=[handle.id])["Reservations"][0]["Instances"][0]
    assert [one["GroupId"] for one in machine["NetworkInterfaces"][0]["Groups"]] == [group]
    life.ledger.undo(life.driver)
    ec2.delete_security_group(GroupId=group)


def test_fast_launch_is_refused_for_what_is_no_windows(cloud: Aws) -> None:
    [problem] = check(replace(SOURCE, fast_launch=True))
    assert problem.what == "fast launch is for Windows images"
