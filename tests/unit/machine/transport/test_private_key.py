"""A user's private key in the forms that tools write it in."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from bakery.errors import ConnectError
from bakery.machine.transport.private_key import load

KEYS: dict[str, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey] = {
    "ssh-rsa": rsa.generate_private_key(65537, 2048),
    "ecdsa-sha2-nistp256": ec.generate_private_key(ec.SECP256R1()),
    "ssh-ed25519": ed25519.Ed25519PrivateKey.generate(),
}
FORMS = [
    (kind, form)
    for kind in KEYS
    for form in (PrivateFormat.OpenSSH, PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL)
    if (kind, form) != ("ssh-ed25519", PrivateFormat.TraditionalOpenSSL)  # there is no such form
]


def write(file: Path, kind: str, form: PrivateFormat, encryption: KeySerializationEncryption | None = None) -> Path:
    file.write_bytes(KEYS[kind].private_bytes(Encoding.PEM, form, encryption or NoEncryption()))
    return file


@pytest.mark.parametrize(("kind", "form"), FORMS)
def test_every_kind_of_key_is_read_in_every_form(tmp_path: Path, kind: str, form: PrivateFormat) -> None:
    public = KEYS[kind].public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    key = load(write(tmp_path / "id", kind, form))
    assert f"{key.get_name()} {key.get_base64()}" == public


@pytest.mark.parametrize("form", [PrivateFormat.OpenSSH, PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_a_passphrase_is_named_where_there_is_one(tmp_path: Path, form: PrivateFormat) -> None:
    file = write(tmp_path / "id", "ssh-rsa", form, BestAvailableEncryption(b"secret"))
    with pytest.raises(ConnectError) as raised:
        load(file)
    assert raised.value.why == "it has a passphrase"
    assert "ssh-keygen -p" in raised.value.hint
    assert "agent" in raised.value.hint


def test_whatever_else_it_is_is_said_without_a_word_of_passphrases(tmp_path: Path) -> None:
    other = x25519.X25519PrivateKey.generate()
    contents = {
        "id.pub": b"ssh-ed25519 AAAA x\n",
        "notes": b"hello\n",
        "x25519": other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "der": KEYS["ssh-rsa"].private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
    }
    told: dict[str, str] = {}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    for name in (*contents, "not-there"):
        with pytest.raises(ConnectError, match="cannot be used") as raised:
            load(tmp_path / name)
        told[name] = f"{raised.value.why}; {raised.value.hint}"
        assert "passphrase" not in told[name]
    assert "public key" in told["id.pub"]
    assert "no keys of the kind X25519PrivateKey" in told["x25519"]
    assert "No such file" in told["not-there"]


def test_a_certificate_beside_the_key_is_read_and_a_broken_one_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "id", "ssh-ed25519", PrivateFormat.OpenSSH)
    (tmp_path / "id-cert.pub").write_text("no certificate")
    with pytest.raises(ConnectError, match=r"id-cert\.pub"):
        load(file)
