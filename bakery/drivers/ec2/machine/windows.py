"""Windows machines: the administrator's password, which EC2 encrypts with the machine's key pair."""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from bakery.drivers.ec2.api.account import Ec2Cloud
from bakery.errors import DriverError, NotYet
from bakery.redaction.secret import Secret

SYSPREP = (
    "& 'C:\\Program Files\\Amazon\\EC2Launch\\EC2Launch.exe' reset --clean",
    "& 'C:\\Program Files\\Amazon\\EC2Launch\\EC2Launch.exe' sysprep --clean",
)
"""What generalises a Windows machine before its capture: PowerShell, EC2Launch v2
(docs.aws.amazon.com/AWSEC2/latest/WindowsGuide/ec2launch-v2-settings.html)."""


def new_key() -> tuple[RSAPrivateKey, str]:
    """Return a key whose public half EC2 takes for Windows (RSA only), and that half in OpenSSH's form."""
    key = generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return key, public.decode()


def private_text(key: RSAPrivateKey) -> Secret:
    """Return the private half as PEM, to be kept beside the machine."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return Secret(pem.decode(), name="Windows key")


def password(cloud: Ec2Cloud, instance: str, key: RSAPrivateKey) -> Secret:
    """Return the administrator's password.

    Raises:
        NotYet: the machine has not made one yet, which takes minutes after its first boot.
        DriverError: it was encrypted for another key.
    """
    answer = cloud.call("get_password_data", "read the password", InstanceId=instance)
    data = str(answer.get("PasswordData", "")).strip()
    if not data:
        raise NotYet("Windows has not made its password yet")
    try:
        text = key.decrypt(base64.b64decode(data), padding.PKCS1v15()).decode("ascii")
    except ValueError as error:  # for another key, OpenSSL gives an error or random bytes
        raise DriverError("the Windows password was encrypted for another key pair") from error
    return Secret(text, name="Windows password")
