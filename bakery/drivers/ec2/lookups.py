"""Look-ups that an imagefile may make itself: the newest image, a parameter, a secret.

`Newest(...)` and `Parameter(...)` as a base are looked up by the driver. These functions are for everything else: they
ask AWS at once, so call them in a task or post step, not while the imagefile is loaded.
"""

from __future__ import annotations

import json
from typing import Any

from bakery.drivers.ec2.api.account import Ec2Account, Ec2Cloud
from bakery.drivers.ec2.machine import base_images
from bakery.drivers.ec2.options import Newest
from bakery.errors import DriverError
from bakery.redaction.secret import Secret


def _cloud(account: dict[str, Any]) -> Ec2Cloud:
    return Ec2Cloud(Ec2Account(**account))


def newest_image(wanted: Newest, **account: Any) -> str:
    """Return the id of the newest image that fits.

    Args:
        wanted: owner, name, filters.
        account: `region`, `profile`, `roles`, `endpoint_url`, as in `Ec2`.

    Raises:
        PreflightError: none fits.
    """
    return str(base_images.newest(_cloud(account), wanted)["ImageId"])


def parameter(path: str, **account: Any) -> str:
    """Return an SSM parameter's text. For one that is a secret, see `secret_parameter`."""
    return base_images.parameter(_cloud(account), path)


def secret_parameter(path: str, **account: Any) -> Secret:
    """Return an SSM SecureString."""
    return Secret(base_images.parameter(_cloud(account), path), name=path)


def secret(name: str, *, key: str | None = None, **account: Any) -> Secret:
    """Return a value of Secrets Manager.

    Args:
        name: the secret's name or ARN.
        key: the entry, where the secret is a JSON object.
        account: as for `newest_image`.

    Raises:
        DriverError: there is no such secret, no text in it, or no such entry.
    """
    answer = _cloud(account).call(
        "get_secret_value", f"read the secret {name}", service="secretsmanager", SecretId=name
    )
    text = answer.get("SecretString")
    if text is None:
        raise DriverError(f"the secret {name} holds bytes, not text")
    if key is None:
        return Secret(str(text), name=name)
    try:
        return Secret(str(json.loads(text)[key]), name=f"{name}.{key}")
    except (ValueError, KeyError, TypeError) as error:
        # Without the cause: a JSON error quotes what it could not read.
        raise DriverError(f"the secret {name} has no entry {key!r}", why=type(error).__name__) from None
