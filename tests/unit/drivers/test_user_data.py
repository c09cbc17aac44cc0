"""A user's own user data beside ours."""

from __future__ import annotations

import base64
import gzip
from email import message_from_string
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Any

import pytest
import yaml

from bakery.drivers import Ec2, OpenStack, Qemu, cloudinit
from bakery.drivers.user_data import APPEND, check, join, kind, packed, text_of
from bakery.errors import ImagefileError
from bakery.state.ssh_keys import make_keys

KEYS = make_keys("bakery-r")
SCRIPT = "#!/bin/sh\necho hello\n"
CONFIG = "#cloud-config\npackage_update: true\n"


def parts(text: str) -> list[tuple[str, str, str]]:
    """Kind, merge type and text of each part."""
    found: list[tuple[str, str, str]] = []
    for part in message_from_string(text).walk():
        content = part.get_payload(decode=True)
        if isinstance(content, bytes):
            found.append((part.get_content_subtype(), str(part.get("Merge-Type", "")), content.decode()))
    return found


def joined(theirs: str, user: str = "root") -> list[tuple[str, str, str]]:
    return parts(join(cloudinit.configuration(KEYS, user=user), theirs))


def test_theirs_come_first_and_ours_are_split_into_what_replaces_and_what_is_added() -> None:
    theirs, replaces, adds = joined(CONFIG)
    assert theirs == ("cloud-config", "", CONFIG)
    assert replaces[1] == ""
    assert set(yaml.safe_load(replaces[2])) == {"ssh_deletekeys", "ssh_keys", "disable_root"}
    assert adds[1] == APPEND
    assert yaml.safe_load(adds[2]) == {"users": [], "ssh_authorized_keys": [KEYS.user_public]}


@pytest.mark.parametrize(
    ("theirs", "merges"),
    [
        (CONFIG, False),
        ("#cloud-config\nusers: [{name: admin, uid: 2000}]\n", True),
        ("#include https://example.com/users\n", True),
    ],
)
def test_our_account_is_merged_with_theirs_of_the_same_name_where_there_may_be_one(theirs: str, merges: bool) -> None:
    account: dict[str, Any] = yaml.safe_load(joined(theirs, "admin")[-1][2])["users"][0]
    assert ("merge_how" in account) is merges


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("#cloud-config\n", "cloud-config"),
        ("\n\n#cloud-config\n", "cloud-config"),
        ("#Cloud-Config\n", "cloud-config"),
        ("#cloud-config-archive\n- '#!/bin/sh'\n# ", "cloud-config-archive"),
        ("#cloud-config-jsonp\n", "cloud-config-jsonp"),
        ("#cloud-boothook\n", "cloud-boothook"),
        ("#part-handler\n", "part-handler"),
        ("#include https://x\n", "x-include-url"),
        ("#include-once https://x\n", "x-include-once-url"),
        ("## template: jinja\n#cloud-config\n", "jinja2"),
        (SCRIPT, "x-shellscript"),
    ],
)
def test_every_kind_that_cloud_init_knows_is_known(text: str, wanted: str) -> None:
    assert kind(text) == wanted
    assert joined(text + "a: 1\n")[0][0] == wanted


def test_a_blank_first_line_does_not_stand_before_what_a_script_begins_with() -> None:
    assert joined("\n \n" + SCRIPT)[0][2] == SCRIPT


def test_a_message_of_several_parts_keeps_its_parts_and_their_headers() -> None:
    message = MIMEMultipart()
    message.attach(MIMEText(SCRIPT, "x-shellscript"))
    config = MIMEText(CONFIG, "cloud-config")
    config["Merge-Type"] = "list(prepend)"
    message.attach(config)
    found = joined("\n" + message.as_string())
    assert [part[0] for part in found] == ["x-shellscript", *["cloud-config"] * 3]
    assert found[1] == ("cloud-config", "list(prepend)", CONFIG)


@pytest.mark.parametrize(
    "given",
    [
        CONFIG,
        CONFIG.encode(),
        gzip.compress(CONFIG.encode(), mtime=0),
        base64.b64encode(gzip.compress(CONFIG.encode(), mtime=0)),
        base64.b64encode(gzip.compress(CONFIG.encode(), mtime=0)).decode(),
    ],
)
def test_what_gzip_has_made_is_unpacked(given: str | bytes) -> None:
    assert text_of(given) == CONFIG
    assert Ec2(base="ami-1", user_data=given).user_data == CONFIG
    assert Qemu(base="x", user_data=given).user_data == CONFIG
    assert OpenStack(base="x", flavor="small", user_data=given).user_data == CONFIG


@pytest.mark.parametrize("given", [b"\x1f\x8bno", b"\xff\xfe", "H4sI====="])
def test_what_is_neither_text_nor_packed_text_is_refused(given: str | bytes) -> None:
    with pytest.raises(ImagefileError, match="user_data"):
        text_of(given)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("hello\n", "of what kind"),
        ("#cloud-config\na: [\n", "no YAML"),
        ("#cloud-config\n", "no entries"),
        ("#cloud-config\nusers: default, deploy\n", "users: must be a list"),
        ("#cloud-config\nusers: {deploy: true}\n", "users: must be a list"),
        ("#cloud-config\nusers:\n", "users: must be a list"),
        ("#cloud-config\nssh_authorized_keys: ssh-ed25519 AAAA\n", "ssh_authorized_keys: must be a list"),
        ("#cloud-config\nusers: [{name: a, ssh-authorized-keys: [x]}]\n", "ssh-authorized-keys"),
        ("#cloud-config-archive\n- {type: text/cloud-config, content: 'users: {deploy: true}'}\n", "users: must be"),
        ("#cloud-config-archive\n- |\n  #cloud-config\n  users: default\n", "users: must be a list"),
        ("#cloud-config-archive\n- hello\n", "has no entries"),
        ("#cloud-config-archive\na: 1\n", "no list"),
        ("#cloud-config-archive\n- [\n", "no YAML"),
    ],
)
def test_what_would_take_our_way_in_away_is_refused_when_the_file_is_read(text: str, match: str) -> None:
    with pytest.raises(ImagefileError, match=match):
        check(text)
    with pytest.raises(ImagefileError, match=match):
        Ec2(base="ami-1", user_data=text)
    assert OpenStack(base="x", flavor="small", user_data=text, host_key="console").user_data == text


def test_an_account_that_takes_no_keys_is_not_the_one_that_logs_in() -> None:
    text = "#cloud-config\nusers: [default, {name: ubuntu, ssh_redirect_user: true}]\n"
    assert Ec2(base="ami-1", user_data=text, user="admin").user_data == text
    with pytest.raises(ImagefileError, match="ubuntu, who logs in, has ssh_redirect_user"):
        Ec2(base="ami-1", user_data=text, user="ubuntu")
    with pytest.raises(ImagefileError, match="ssh_redirect_user"):
        joined(text, "ubuntu")


def test_long_user_data_are_packed_as_cloud_init_unpacks_them() -> None:
    assert packed(CONFIG, 100) == CONFIG.encode()
    assert gzip.decompress(packed(CONFIG, 10)) == CONFIG.encode()
