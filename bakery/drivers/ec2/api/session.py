"""Credentials: the SDK's own chain, then the roles of the source on top."""

from __future__ import annotations

import functools
import os
from typing import Any

from bakery.drivers.ec2.options import Role
from bakery.errors import PreflightError

REGION_HINT = "Ec2(region='eu-central-1'), or AWS_REGION, or `region` in the profile"


def open_session(account: Any) -> Any:
    """Return a boto3 session for an `Account`; environment, files, SSO, web identity, instance role as boto3 does.

    Raises:
        PreflightError: no region is known.
    """
    import boto3
    from botocore.session import get_session

    region = account.region or os.environ.get("AWS_REGION")
    inner = get_session()
    if account.profile is not None:
        inner.set_config_variable("profile", account.profile)
    inner.register_component("data_loader", _models(inner.get_config_variable("data_path")))
    session = boto3.Session(botocore_session=inner, region_name=region)
    if not session.region_name:
        raise PreflightError("no AWS region is set", hint=REGION_HINT)
    for role in account.roles:
        session = _assume(session, role, account.endpoint_url)
    return session


@functools.cache
def _models(data_path: str | None) -> Any:
    """Return what reads the services' descriptions, EC2's of a megabyte among them: once for all sessions."""
    from botocore.loaders import create_loader

    return create_loader(data_path)


def _assume(session: Any, role: Role, endpoint_url: str | None) -> Any:
    """Return a session that holds a role, renewed by botocore before it ends."""
    import boto3
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
    from botocore.session import Session

    def client(service: str, **options: Any) -> Any:
        return session.client(service, **{"endpoint_url": endpoint_url, **options})

    fetcher = AssumeRoleCredentialFetcher(
        client_creator=client,
        source_credentials=session.get_credentials(),
        role_arn=role.arn,
        extra_args=_extra(role),
        mfa_prompter=lambda _: _code(role),
    )
    inner = Session()
    # botocore offers no public way to install credentials that renew themselves.
    inner._credentials = DeferredRefreshableCredentials(  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        method="assume-role", refresh_using=fetcher.fetch_credentials
    )
    return boto3.Session(botocore_session=inner, region_name=session.region_name)


def _extra(role: Role) -> dict[str, Any]:
    """Parameters of AssumeRole that the role asks for."""
    extra: dict[str, Any] = {"RoleSessionName": role.session_name, "DurationSeconds": role.duration}
    if role.external_id:
        extra["ExternalId"] = role.external_id
    if role.policy:
        extra["Policy"] = role.policy
    if role.tags:
        extra["Tags"] = [{"Key": key, "Value": value} for key, value in role.tags.items()]
    if role.transitive_tags:
        extra["TransitiveTagKeys"] = list(role.transitive_tags)
    if role.mfa_serial:
        extra["SerialNumber"] = role.mfa_serial
    return extra


def _code(role: Role) -> str:
    """Ask for the six digits of the MFA device."""
    code = os.environ.get(role.mfa_env, "")
    if not code:
        raise PreflightError(
            f"the role {role.arn} asks for a code of {role.mfa_serial}",
            hint=f"set {role.mfa_env} to the six digits that the device shows now",
        )
    return code
