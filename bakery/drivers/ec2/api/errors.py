"""AWS's refusals in our words: which may be tried again, and what the user can do."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Protocol

from bakery.errors import DriverError, RetryableError

CAPACITY = frozenset(
    {
        "InsufficientInstanceCapacity",
        "InsufficientHostCapacity",
        "InsufficientReservedInstanceCapacity",
        "InsufficientCapacity",
        "InsufficientCapacityOnHost",
        "MaxSpotInstanceCountExceeded",
        "SpotMaxPriceTooLow",
        "UnfulfillableCapacity",
        "Unsupported",
        "VcpuLimitExceeded",
        "InstanceLimitExceeded",
    }
)
"""Another instance type or zone may do (docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html)."""

FOR_NOW = frozenset(
    {
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "PriorRequestNotComplete",
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "ServiceUnavailable",
        "Unavailable",
        "ServerInternal",
        "SnapshotCreationPerVolumeRateExceeded",
        "InsufficientAddressCapacity",
        "InsufficientVolumeCapacity",
    }
)

HINTS = {
    "AuthFailure": "are the credentials of this account and region? is the clock of this host right?",
    "UnauthorizedOperation": "docs/aws.md has the least policy that a build needs",
    "AccessDenied": "docs/aws.md has the least policy that a build needs",
    "OptInRequired": "the account must accept the terms of this product or region first",
    "ExpiredToken": "renew the session: `aws sso login`, or new session credentials",
    "RequestExpired": "is the clock of this host right?",
    "InvalidAMIID.NotFound": "AMI ids differ from region to region; Newest(...) finds the right one",
    "InvalidAMIName.Duplicate": "naming='dated', or replace=True",
    "InvalidParameterCombination": "instance type and image may not fit together (architecture, virtualisation)",
    "InstanceLimitExceeded": "ask for a higher quota, or name further types: instance_type=('t3.small', 't3a.small')",
    "VcpuLimitExceeded": "ask for a higher quota, or name further types: instance_type=('t3.small', 't3a.small')",
    "InsufficientInstanceCapacity": "name further types or zones: instance_type=('t3.small', 't3a.small')",
    "VPCIdNotSpecified": "the account has no default VPC here: name a subnet",
    "MissingInput": "the account has no default VPC here: name a subnet",
    "NoCredentialsError": "`aws configure`, AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "ProfileNotFound": "`aws configure list-profiles` shows those that exist",
    "SSOTokenLoadError": "`aws sso login`",
    "UnauthorizedSSOTokenError": "`aws sso login`",
}


class Ec2Error(DriverError):
    """AWS said no. `code` is its word for it."""

    code = ""


class Ec2RetryableError(RetryableError, Ec2Error):
    """AWS said no for now."""


def code_of(error: BaseException | None) -> str:
    """AWS's word for the refusal behind an error of ours, or an empty text."""
    return error.code if isinstance(error, Ec2Error) else ""


class Region(Protocol):
    """Where a call went: a region of an account."""

    @property
    def region(self) -> str:
        """Its name."""
        ...

    def client(self, service: str) -> Any:
        """Return boto3's client for another service there."""


@contextmanager
def translate_errors(what: str, cloud: Region | None = None) -> Generator[None]:
    """Turn botocore's errors inside into ours.

    Args:
        what: what we wanted: "start an instance".
        cloud: where, for the message, and to decode an authorisation message with.

    Raises:
        Ec2Error: the answer was no.
        Ec2RetryableError: the answer was no, for now; or there was none.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise _refused(error, what, cloud) from error
    except BotoCoreError as error:
        raise _unspoken(error, what, cloud) from error


def _refused(error: Any, what: str, cloud: Region | None) -> Ec2Error:
    body = error.response.get("Error", {})
    code, message = str(body.get("Code", "")), str(body.get("Message", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    again = code in FOR_NOW or code in CAPACITY or status >= 500  # noqa: PLR2004  HTTP's own number
    message = _decoded(message, cloud)
    made = (Ec2RetryableError if again else Ec2Error)(_title(what, cloud), why=f"{code}: {message}", hint=_hint(code))
    made.code = code
    return made


def _unspoken(error: Any, what: str, cloud: Region | None) -> Ec2Error:
    """Tell of a question that did not get there, or of an answer that did not come back."""
    from botocore.exceptions import ConnectionError as Unreached
    from botocore.exceptions import HTTPClientError
    from botocore.parsers import ResponseParserError

    code = type(error).__name__
    lost = isinstance(error, HTTPClientError | Unreached | ResponseParserError)
    made = (Ec2RetryableError if lost else Ec2Error)(_title(what, cloud), why=f"{code}: {error}", hint=_hint(code))
    made.code = code
    return made


def _title(what: str, cloud: Region | None) -> str:
    return f"AWS did not {what} in {cloud.region}" if cloud else f"could not {what}"


def _hint(code: str) -> str:
    return HINTS.get(code) or HINTS.get(code.split(".", maxsplit=1)[0], "")


def _decoded(message: str, cloud: Region | None) -> str:
    """Replace an encoded authorisation message by what it says, where we may decode it."""
    found = re.search(r"Encoded authorization failure message: (\S+)", message)
    if not found or cloud is None:
        return message
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer = cloud.client("sts").decode_authorization_message(EncodedMessage=found[1])
    except (ClientError, BotoCoreError) as error:
        # The refusal itself matters more than that it cannot be read.
        return f"{message[: found.start()]}(it cannot be decoded: {error})"
    return message[: found.start()] + _denied(answer["DecodedMessage"])


def _denied(text: str) -> str:
    """Return what matters of a decoded message: the action, the resource, and whether a policy forbids it."""
    import json

    context = json.loads(text)
    action = context.get("context", {}).get("action", "?")
    resource = context.get("context", {}).get("resource", "?")
    way = "is denied by a policy" if context.get("explicitDeny") else "is allowed by no policy"
    return f"{action} on {resource} {way}"
