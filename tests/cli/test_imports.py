"""What is cheap stays cheap: no library of a provider, a transport or a screen is loaded before it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .conftest import Place

HEAVY = (
    "boto3",
    "botocore",
    "openstack",
    "keystoneauth1",
    "rich",
    "fabric",
    "invoke",
    "paramiko",
    "cryptography",
    "httpx",
    "jinja2",
    "pytest",
    "testinfra",
    "qemu",
    "pycdlib",
    "hypothesis",
    "moto",
)
CHECK = f"import sys; print(*sorted(set(sys.modules) & set({HEAVY!r})))"


@pytest.mark.parametrize(
    "code",
    [
        "import bakery",
        "import bakery.drivers",
        "from bakery import Artifact, Host, Hygiene, Seal, Secret, image, post, source, task, test, var, variables",
        "from bakery.drivers import CloudImage, Debian, Ec2, Newest, Nspawn, OpenStack, Qemu",
        "from bakery.cli import main; main(['list'])",
        "from bakery.cli import main; main(['plan'])",
    ],
)
def test_no_heavy_library_is_loaded(empty: Place, code: str) -> None:
    empty.bake("init")
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{CHECK}"], cwd=empty.folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == ""
