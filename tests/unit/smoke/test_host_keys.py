"""What makes host keys on a machine, told from systemd's own words."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakery.model import Endpoint
from bakery.smoke.host_keys import makers, was_given
from bakery.smoke.identity import Identity, fingerprint
from bakery.smoke.job import SmokeJob
from bakery.state.ssh_keys import make_keys

KEYS = make_keys("test")
SHOWN = """\
ExecStart={ path=/usr/bin/ssh-keygen ; argv[]=/usr/bin/ssh-keygen -A ; ignore_errors=no ; pid=0 ; code=(null) }
Id=ran-or-was-skipped.service
ConditionTimestampMonotonic=868574312

ExecStart={ path=/usr/bin/ssh-keygen ; argv[]=/usr/bin/ssh-keygen -A ; ignore_errors=no }
Id=never-started.service
ConditionTimestampMonotonic=0

ExecStartPre={ path=/usr/sbin/sshd-keygen ; argv[]=/usr/sbin/sshd-keygen ; ignore_errors=no }
ExecStartPre={ path=/usr/sbin/sshd ; argv[]=/usr/sbin/sshd -t ; ignore_errors=no }
ExecStart={ path=/usr/sbin/sshd ; argv[]=/usr/sbin/sshd -D ; ignore_errors=no }
Id=old-sshd.service
ConditionTimestampMonotonic=629720722

Id=basic.target
ConditionTimestampMonotonic=500
"""


def job(endpoint: Endpoint) -> SmokeJob:
    return SmokeJob(imagefile=Path("imagefile.py"), tests=(), endpoint=endpoint, keys=KEYS, junit=Path("junit.xml"))


def test_what_this_boot_ran_to_make_keys_is_told_also_where_a_condition_kept_it_from_running() -> None:
    assert makers(SHOWN) == ["ran-or-was-skipped.service", "old-sshd.service"]


@pytest.mark.parametrize(
    ("pinned", "on_the_machine", "given"),
    [
        (KEYS.host_public, set[str](), True),
        ("", {fingerprint(KEYS.host_public)}, True),  # a container's
        (make_keys("other").host_public, {"SHA256:x"}, False),
        ("", {"SHA256:x"}, False),
    ],
    ids=["pinned", "in a container", "another pinned", "another in a container"],  # keys differ in each process
)
def test_a_machine_was_given_the_host_key_that_we_made_for_it_or_it_was_not(
    pinned: str, on_the_machine: set[str], given: bool
) -> None:
    identity = Identity(machine_id="m", host_keys=frozenset(on_the_machine))
    assert was_given(job(Endpoint(host_key=pinned)), identity) is given
