"""A user's user data beside ours, merged by the cloud-init of Debian's releases themselves."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bakery.disk.bases.debian import Debian
from bakery.drivers import cloudinit
from bakery.drivers.user_data import join
from bakery.state.project import cache_folder
from bakery.state.ssh_keys import make_keys
from bakery.util.context import WorkContext

pytestmark = [pytest.mark.live, pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for chroot")]

OURS, THEIRS = make_keys("bakery-r"), make_keys("theirs")
MERGER = """
import json, sys
from cloudinit import helpers, user_data
from cloudinit.distros import ug_util
from cloudinit.handlers.cloud_config import CloudConfigPartHandler
paths = helpers.Paths({"cloud_dir": "/nowhere", "run_dir": "/nowhere"})
handler = CloudConfigPartHandler(paths)
handler.handle_part(None, "__begin__", None, None, None, None)
kinds = []
for part in user_data.UserDataProcessor(paths).process(sys.stdin.buffer.read()).walk():
    if part.get_content_maintype() == "multipart":
        continue
    kinds.append(part.get_content_type())
    if kinds[-1] == "text/cloud-config":
        text = part.get_payload(decode=True).decode()
        handler.handle_part(None, kinds[-1], "part", text, "once-per-instance", dict(part))
Distro = type("Distro", (), {"get_default_user": lambda _: {"name": "d"}})
users, _ = ug_util.normalize_users_groups(handler.cloud_buf, Distro())
print(json.dumps({"kinds": kinds, "config": handler.cloud_buf, "users": users}))
"""
CONFIG = f"""#cloud-config
disable_root: true
users:
- default
- name: deploy
  shell: /bin/bash
  ssh_authorized_keys: ["{THEIRS.user_public}"]
ssh_authorized_keys: ["{THEIRS.user_public}"]
ssh_keys: {{ed25519_private: theirs, ed25519_public: theirs}}
"""


@pytest.fixture(
    scope="module", params=["bookworm", *(pytest.param(r, marks=pytest.mark.all) for r in ("bullseye", "trixie"))]
)
def tree(request: pytest.FixtureRequest) -> Path:
    return Debian(str(request.param)).tree(WorkContext(cache=cache_folder(os.environ))).path


def merged(tree: Path, user: str, theirs: str) -> dict[str, Any]:
    text = join(cloudinit.configuration(OURS, user=user), theirs)
    words = ["chroot", str(tree), "python3", "-B", "-W", "ignore", "-c", MERGER]
    done = subprocess.run(words, input=text.encode(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_accounts_and_keys_of_both_stand_beside_each_other_and_the_pinned_host_key_is_ours(tree: Path) -> None:
    found = merged(tree, "root", CONFIG)
    assert {"d", "deploy"} <= set(found["users"])
    assert found["config"]["ssh_authorized_keys"] == [THEIRS.user_public, OURS.user_public]
    assert found["config"]["ssh_keys"]["ed25519_public"] == OURS.host_public
    assert found["config"]["disable_root"] is False


def test_an_account_that_both_name_takes_both_keys_and_looks_as_the_user_says(tree: Path) -> None:
    account = merged(tree, "deploy", CONFIG)["users"]["deploy"]
    assert account["ssh_authorized_keys"] == [THEIRS.user_public, OURS.user_public]
    assert account["shell"] == "/bin/bash"
    assert "NOPASSWD" in account["sudo"]


@pytest.mark.parametrize(
    ("theirs", "kind"),
    [
        ("\n\n#!/bin/sh\ntrue\n", "text/x-shellscript"),
        ("#part-handler\ndef list_types(): return []\n", "text/part-handler"),
        ("## template: jinja\n#cloud-config\nfqdn: {{ v1.instance_id }}\n", "text/jinja2"),
        ("#cloud-boothook\ntrue\n", "text/cloud-boothook"),
        ("#cloud-config-archive\n- type: text/x-shellscript\n  content: '#!/bin/sh'\n", "text/x-shellscript"),
    ],
)
def test_every_kind_is_taken_by_cloud_init_as_what_it_is(tree: Path, theirs: str, kind: str) -> None:
    found = merged(tree, "root", theirs)
    assert found["kinds"] == [kind, "text/cloud-config", "text/cloud-config"]
    assert found["config"]["ssh_authorized_keys"] == [OURS.user_public]
