"""Quotas: how many processors an account may have running, and how many it has. Read-only.

Service Quotas knows the limit, by family of instance types and apart for spot. Where it does not answer (no permission,
or a cloud that only speaks EC2), `max-instances` of DescribeAccountAttributes is all there is, which AWS itself no
longer keeps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bakery.drivers.ec2.api import tags
from bakery.drivers.ec2.api.account import Ec2Cloud
from bakery.drivers.ec2.source import Ec2
from bakery.errors import DriverError
from bakery.model import Problem


@dataclass(frozen=True)
class Family:
    """Instance types that share a quota (docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html).

    Args:
        types: regular expression for their names.
        title: what Service Quotas calls them.
        demand: the code of the on-demand quota.
        spot: the code of the spot quota.
    """

    types: str
    title: str
    demand: str
    spot: str


FAMILIES = (
    Family(r"(inf)\d.*", "Inf", "L-1945791B", "L-B5D1601B"),
    Family(r"(trn)\d.*", "Trn", "L-2C3B7624", "L-6B0D517C"),
    Family(r"(dl)\d.*", "DL", "L-6E869C2A", "L-85EED4F7"),
    Family(r"(g|gr|vt)\d.*", "G and VT", "L-DB2E81BA", "L-3819A6DF"),
    Family(r"(p)\d.*", "P", "L-417A185B", "L-7212CCBC"),
    Family(r"(f)\d.*", "F", "L-74FC7D96", "L-88CF9481"),
    Family(r"(x)\d.*", "X", "L-7295265B", "L-E3A00192"),
    Family(r"(a|c|d|h|i|im|is|m|r|t|z)\d.*", "Standard (A, C, D, H, I, M, R, T, Z)", "L-1216C47A", "L-34B43A08"),
)
"""Others (high memory, Mac, HPC) run on hosts or have quotas of their own: they are left to EC2."""


def family(kind: str) -> Family | None:
    """Return the family of an instance type, if it has a quota that is known here."""
    return next((one for one in FAMILIES if re.fullmatch(one.types, kind)), None)


def check(cloud: Ec2Cloud, source: Ec2) -> Iterator[Problem]:
    """Say which types could never start, which could not start now, and stop only where none could ever."""
    if source.tenancy == "host":
        return
    found = cloud.call("describe_instance_types", "look up the instance types", InstanceTypes=list(source.types))
    wanted = {kind["InstanceType"]: int(kind["VCpuInfo"]["DefaultVCpus"]) for kind in found["InstanceTypes"]}
    limits = {one: _limit(cloud, one, spot=bool(source.spot)) for one in {family(kind) for kind in wanted} if one}
    if not any(limit is not None for limit in limits.values()):
        yield from _counted(cloud)
        return
    used = _used(cloud, spot=bool(source.spot))
    problems = [problem for kind, cpus in wanted.items() if (problem := _problem(cloud, kind, cpus, limits, used))]
    stops = len(problems) == len(wanted) and all(problem.fatal for problem in problems)
    for problem in problems:
        yield problem if stops else Problem(what=problem.what, why=problem.why, hint=problem.hint, fatal=False)


def _limit(cloud: Ec2Cloud, one: Family, *, spot: bool) -> float | None:
    """Return the limit as it is set for this account, or None where Service Quotas does not say."""
    code = one.spot if spot else one.demand
    try:
        found = cloud.call("get_service_quota", service="service-quotas", ServiceCode="ec2", QuotaCode=code)
    except DriverError:  # not allowed, not there, or for now: EC2 itself says so at launch
        return None
    return float(found["Quota"]["Value"])


def _used(cloud: Ec2Cloud, *, spot: bool) -> dict[Family, int]:
    """Count the processors of all that runs, by family."""
    used: dict[Family, int] = {}
    asked = tags.filters({"instance-state-name": ("pending", "running")})
    for reservation in cloud.pages("describe_instances", "Reservations", Filters=asked):
        for machine in reservation["Instances"]:
            one = family(machine["InstanceType"])
            if one is not None and (machine.get("InstanceLifecycle") == "spot") is spot:
                used[one] = used.get(one, 0) + _processors(machine)
    return used


def _processors(machine: Mapping[str, Any]) -> int:
    options = machine.get("CpuOptions", {})
    return int(options.get("CoreCount", 1)) * int(options.get("ThreadsPerCore", 1))


def _problem(
    cloud: Ec2Cloud, kind: str, cpus: int, limits: Mapping[Family, float | None], used: Mapping[Family, int]
) -> Problem | None:
    one = family(kind)
    limit = limits.get(one) if one else None
    if one is None or limit is None:
        return None
    quota = f"the quota of {cloud.region} for {one.title} instances is {limit:g} vCPUs"
    if cpus > limit:
        hint = "ask for a higher quota in the Service Quotas console, or name another type or region"
        return Problem(what=f"{kind} needs {cpus} vCPUs, and {quota}", hint=hint)
    if used.get(one, 0) + cpus > limit:
        return Problem(
            what=f"{kind} needs {cpus} vCPUs, and {quota}, of which {used[one]} are in use",
            hint="it starts only when others have ended; instance_type=(...) may name types of other families",
            fatal=False,
        )
    return None


def _counted(cloud: Ec2Cloud) -> Iterator[Problem]:
    """Report what DescribeAccountAttributes says. AWS keeps that number no more, so it stops nothing."""
    try:
        answer = cloud.call("describe_account_attributes", AttributeNames=["max-instances"])
    except DriverError:
        return  # not allowed either: EC2 itself says so at launch
    told = [one for one in answer["AccountAttributes"] if one["AttributeName"] == "max-instances"]
    values = [value["AttributeValue"] for one in told for value in one.get("AttributeValues", [])]
    if not values:
        return
    most = int(values[0])
    asked = tags.filters({"instance-state-name": ("pending", "running")})
    running = sum(len(one["Instances"]) for one in cloud.pages("describe_instances", "Reservations", Filters=asked))
    if running >= most:
        yield Problem(
            what=f"{running} instances run in {cloud.region}, and the account's max-instances is {most}",
            why="Service Quotas, which knows better, does not answer",
            hint="allow servicequotas:GetServiceQuota",
            fatal=False,
        )
