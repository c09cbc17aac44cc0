"""Puppet's report and its errors, as recorded from 7.23 of Debian 12."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from bakery.errors import Location
from bakery.model import Result
from bakery.provision.puppet_report import failure, items_of
from bakery.provision.uploads import Uploads

REPORT = """--- !ruby/object:Puppet::Transaction::Report
status: changed
resource_statuses:
  File[/etc/web]: !ruby/object:Puppet::Resource::Status
    title: "/etc/web"
    file: "/tmp/.b/site.pp"
    line: 2
    resource: File[/etc/web]
    resource_type: File
    evaluation_time: 0.02
    failed: false
    changed: true
    skipped: false
    events:
    - !ruby/object:Puppet::Transaction::Event
      message: defined content as 'x'
      status: success
  Notify[hi]: !ruby/object:Puppet::Resource::Status
    file: "/tmp/.b/site.pp"
    line: 3
    resource: Notify[hi]
    resource_type: Notify
    changed: true
    failed: false
    skipped: false
    events: []
  File[/etc/pending]: !ruby/object:Puppet::Resource::Status
    file: "/tmp/.b/site.pp"
    line: 4
    resource: File[/etc/pending]
    resource_type: File
    changed: false
    failed: false
    skipped: false
    events:
    - !ruby/object:Puppet::Transaction::Event
      message: current_value 'absent', should be 'file' (noop)
      status: noop
  Exec[bad]: !ruby/object:Puppet::Resource::Status
    file: "/tmp/.b/site.pp"
    line: 5
    resource: Exec[bad]
    resource_type: Exec
    changed: false
    failed: true
    skipped: false
    events:
    - !ruby/object:Puppet::Transaction::Event
      message: "'/bin/false' returned 1 instead of one of [0]"
      status: failure
  Schedule[daily]: !ruby/object:Puppet::Resource::Status
    resource: Schedule[daily]
    resource_type: Schedule
    changed: false
    failed: false
    skipped: false
    events: []
"""
UNKNOWN = (
    "Error: Evaluation Error: Error while evaluating a Resource Statement, Unknown resource type: '{}' "
    "(file: /tmp/.b/site.pp, line: 7, column: 1) on node x"
)


class Sent:
    """What was sent, without a machine: `/tmp/.b` is `/project`."""

    def place(self, file: str, line: int) -> Location:
        return Location(Path(file.replace("/tmp/.b", "/project")), line)

    def localized(self, text: str) -> str:
        return text.replace("/tmp/.b", "/project")


SENT = cast("Uploads", Sent())


def test_the_items_are_the_resources_that_somebody_wrote() -> None:
    items = items_of(REPORT, SENT)
    assert [(item.name, item.outcome) for item in items] == [
        ("File[/etc/web]", "changed"),
        ("Notify[hi]", "ok"),
        ("File[/etc/pending]", "changed"),
        ("Exec[bad]", "failed"),
    ]
    assert items[0].location == "/project/site.pp:2"
    assert items_of("", SENT) == []


def test_a_failed_resource_is_named_with_its_line() -> None:
    error = failure(Result(command="", exited=4), items_of(REPORT, SENT), SENT)
    assert error.what == "puppet: Exec[bad] failed"
    assert error.why == "'/bin/false' returned 1 instead of one of [0]"
    assert str(error.where) == "/project/site.pp:5"


@pytest.mark.parametrize("name", ["cron", "host", "mount", "ssh_authorized_key"])
def test_a_type_that_is_a_package_of_its_own_is_offered(name: str) -> None:
    error = failure(Result(command="", exited=1, stderr=UNKNOWN.format(name)), [], SENT)
    assert f"Unknown resource type: '{name}' (file: /project/site.pp, line: 7" in error.what
    assert str(error.where) == "/project/site.pp:7"
    assert "puppet-module-puppetlabs-" in error.hint


def test_an_end_without_a_word_is_said_as_it_is() -> None:
    error = failure(Result(command="", exited=127, stderr="no puppet"), [], SENT)
    assert (error.what, error.why) == ("puppet ended with exit code 127", "no puppet")
    assert "install=" in error.hint
    assert "longer than 3 s" in failure(Result(command="", exited=-1, seconds=3), [], SENT).what


def test_an_error_at_the_end_of_a_file_has_its_file() -> None:
    said = "Error: Could not retrieve catalog: Syntax error at end of input (file: /tmp/.b/site.pp) on node x"
    assert str(failure(Result(command="", exited=1, stderr=said), [], SENT).where) == "/project/site.pp:1"
