"""The tiny guest's stand-in for cloud-init: what a script of it holds."""

from __future__ import annotations

import base64
import re
import shlex
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_ssh_public_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from bakery.state.ssh_keys import make_keys
from bakery.testing.aws.tinyinit import DROPBEAR, dropbear_key, script

KEYS = make_keys("test")


def multipart(*parts: tuple[str, str]) -> str:
    message = MIMEMultipart()
    for kind, text in parts:
        message.attach(MIMEText(text, kind))
    return message.as_string()


def test_commands_at_boot_run_without_cloud_inits_word_for_how_often() -> None:
    config = {
        "bootcmd": [["cloud-init-per", "instance", "name", "sh", "-c", "echo 'a b' >/run/x"], ["modprobe", "loop"]]
    }
    lines = script("#cloud-config\n" + yaml.safe_dump(config)).splitlines()
    assert lines[2:4] == ["sh -c 'echo '\"'\"'a b'\"'\"' >/run/x'", "modprobe loop"]


def test_a_script_by_itself_is_run_as_it_is() -> None:
    assert script("#!/bin/sh\necho hello\n") == "#!/bin/sh\necho hello\n"


@pytest.mark.parametrize(
    ("config", "keys"),
    [
        ({}, []),
        ({"ssh_authorized_keys": ["ssh-ed25519 A"]}, ["ssh-ed25519 A"]),
        ({"users": ["default", {"name": "root", "ssh_authorized_keys": ["ssh-ed25519 B"]}]}, ["ssh-ed25519 B"]),
        (
            {"ssh_authorized_keys": ["ssh-ed25519 A"], "users": [{"ssh_authorized_keys": ["ssh-ed25519 B"]}]},
            ["ssh-ed25519 A", "ssh-ed25519 B"],
        ),
    ],
)
def test_login_keys_stand_in_the_script_where_the_guest_looks_for_them(
    config: dict[str, object], keys: list[str]
) -> None:
    lines = script("#cloud-config\n" + yaml.safe_dump(config)).splitlines()
    assert lines[:2] == ["#!/bin/sh", "set -e"]
    assert [line.removeprefix("# ") for line in lines if line.startswith("# ")] == keys


def test_an_empty_configuration_is_none() -> None:
    assert "umask" not in script("#cloud-config\n")


def test_the_host_key_is_written_for_nobody_else_to_read() -> None:
    text = script("#cloud-config\n" + yaml.safe_dump({"ssh_keys": {"ed25519_private": KEYS.host_private}}))
    lines = text.splitlines()
    at = next(number for number, line in enumerate(lines) if line.endswith(f"> {DROPBEAR}") and "base64" in line)
    assert (lines[at - 1], lines[at + 1]) == ("umask 077", "umask 022")
    encoded = lines[at].split()[1]
    assert base64.b64decode(encoded) == dropbear_key(KEYS.host_private)


@settings(max_examples=30)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\x00", exclude_categories=["Cs", "Cc"]), max_size=40))
def test_a_script_among_other_parts_is_run_whatever_is_in_it(text: str) -> None:
    whole = script(multipart(("cloud-config", "#cloud-config\n"), ("x-shellscript", f"#!/bin/sh\n{text}")))
    match = re.search(r"^printf %s (.*) > /run/part\nchmod 755 /run/part\n/run/part$", whole, re.MULTILINE | re.DOTALL)
    assert match is not None
    assert shlex.split(match[1]) == [f"#!/bin/sh\n{text}"]


def test_parts_are_done_in_their_order() -> None:
    text = script(multipart(("x-shellscript", "one"), ("x-shellscript", "two"), ("x-unknown", "three")))
    assert text.index("printf %s one") < text.index("printf %s two")
    assert "three" not in text


def test_the_host_key_is_shown_on_the_console_at_last() -> None:
    lines = script("#cloud-config\n").splitlines()
    assert lines[-1] == "echo '-----END SSH HOST KEY KEYS-----'; } > /dev/ttyS0"
    assert lines[-3] == "{ echo '-----BEGIN SSH HOST KEY KEYS-----'"


# ---- dropbear's own form --------------------------------------------------------------------------------------------


def fields(data: bytes) -> list[bytes]:
    found = []
    while data:
        size = int.from_bytes(data[:4], "big")
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found


def test_a_key_in_dropbears_form_is_its_name_and_both_halves() -> None:
    name, both = fields(dropbear_key(KEYS.host_private))
    public = load_ssh_public_key(KEYS.host_public.encode())
    assert isinstance(public, Ed25519PublicKey)
    assert name == b"ssh-ed25519"
    assert len(both) == 64
    assert both[32:] == public.public_bytes_raw()


def test_other_kinds_of_keys_are_refused() -> None:
    key = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    with pytest.raises(TypeError, match="only ed25519"):
        dropbear_key(key.decode())
