"""A manifest of this host on a machine: what is sent, how Puppet is called, what becomes of its report."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bakery.errors import TaskError
from bakery.events import ItemApplied
from bakery.machine.facts import Facts
from bakery.model import Result
from bakery.provision import puppet
from bakery.redaction.secret import Secret
from bakery.testing import FakeMachine
from bakery.util.changes import collected_changes

from .watcher import watched

FOLDER = "/tmp/.bakery-puppet-1"
STATUS = """resource_statuses:
  File[/etc/web]: !ruby/object:Puppet::Resource::Status
    file: "{folder}/manifest/site.pp"
    line: 2
    resource: File[/etc/web]
    resource_type: File
    changed: {changed}
    failed: {failed}
    skipped: false
    events:
    - message: defined content
      status: success
"""


def report(*, changed: bool = False, failed: bool = False) -> str:
    return STATUS.format(folder=FOLDER, changed=str(changed).lower(), failed=str(failed).lower())


@pytest.fixture
def m(tmp_path: Path) -> FakeMachine:
    """A machine with Puppet; the run changed something."""
    (tmp_path / "site.pp").write_text("file { '/etc/web': }")
    (tmp_path / "env/modules").mkdir(parents=True)
    (tmp_path / "env/manifests").mkdir()
    (tmp_path / "env/manifests/site.pp").write_text("include web")
    (tmp_path / "more").mkdir()
    (tmp_path / "hiera.yaml").write_text("version: 5")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/common.yaml").write_text("a: 1")
    m = FakeMachine(folder=tmp_path, facts=Facts(package_manager="apt-get"))
    m.answer("dpkg-query *", "puppet-agent\n").answer("mktemp *", f"{FOLDER}\n")
    m.answer("mkdir -p *", "").answer("rm -rf -- *", "").answer("sh -c *", "")
    m.answer(re.compile("puppet apply"), 2)
    return m.answer("cat */last_run_report.yaml", report(changed=True))


def called(m: FakeMachine) -> str:
    (line,) = [command for command in m.commands if "puppet apply" in command]
    return line


def test_what_puppet_changed_is_told_item_by_item_and_counts_as_a_change(m: FakeMachine, tmp_path: Path) -> None:
    with collected_changes() as changes:
        applied = puppet(m, "site.pp")
    assert str(applied) == "1 changed"
    (told,) = [event for event in m.events if isinstance(event, ItemApplied)]
    assert (told.tool, told.item, told.location) == ("puppet", "File[/etc/web]", f"{tmp_path}/site.pp:2")
    assert changes == ["puppet: File[/etc/web]"]
    assert m.output.splitlines()[-1] == "puppet: 1 changed"


def test_all_of_puppet_s_own_is_in_the_folder_that_goes(m: FakeMachine) -> None:
    puppet(m, "site.pp")
    line = called(m)
    for name in ("confdir", "vardir", "statedir", "ssldir", "codedir", "logdir", "rundir", "publicdir"):
        assert f"--{name}={FOLDER}/" in line
    for word in ("--detailed-exitcodes", "--strict_variables", "--color=false", "--no-show_diff"):
        assert f" {word} " in line
    assert line.endswith(f"{FOLDER}/manifest/site.pp")
    assert m.commands[-1] == f"rm -rf -- {FOLDER}"


def test_modules_are_searched_in_the_user_s_order_and_the_machine_s_own_come_last(m: FakeMachine) -> None:
    puppet(m, "site.pp", modules=["more", "env/modules"], environment="env")
    line = called(m)
    path = re.search(r"--modulepath (\S+)", line)
    assert path is not None
    first, second, third, *machine = path[1].split(":")
    assert [first, second] == [f"{FOLDER}/modules-0", f"{FOLDER}/modules-1"]
    assert third == f"{FOLDER}/environments/production/modules"
    assert machine[0] == "/etc/puppet/code/modules"
    assert f"--environmentpath {FOLDER}/environments --environment production" in line


def test_without_a_manifest_the_environment_s_own_is_applied(m: FakeMachine) -> None:
    puppet(m, environment="env", noop=True, options=["--debug"])
    assert called(m).endswith(f"{FOLDER}/environments/production/manifests --noop --debug")
    assert f"{FOLDER}/environments/production/manifests/site.pp" in m.files


def test_neither_is_a_mistake_before_anything_is_done(m: FakeMachine) -> None:
    with pytest.raises(TaskError, match=r"puppet needs a manifest= or an environment=") as raised:
        puppet(m)
    assert m.ran == []
    assert raised.value.where is not None
    assert raised.value.where.file.name == "test_puppet_apply.py"


def test_hiera_s_data_keeps_the_name_by_which_its_configuration_knows_it(m: FakeMachine) -> None:
    puppet(m, "site.pp", hiera="hiera.yaml", data="data")
    assert f"--hiera_config {FOLDER}/hiera/hiera.yaml" in called(m)
    assert m.files[f"{FOLDER}/hiera/data/common.yaml"].text == "a: 1"


def test_a_secret_among_the_facts_is_in_a_file_of_root_s_and_in_no_argument(m: FakeMachine) -> None:
    puppet(m, "site.pp", facts={"role": "web", "password": Secret("hunter22")})
    file = m.files[f"{FOLDER}/var/facts.d/bakery.json"]
    assert json.loads(file.text) == {"role": "web", "password": "hunter22"}
    assert file.mode == 0o600
    assert not any("hunter22" in command for command in m.commands)


@pytest.mark.parametrize("code", [0, 2])
def test_nothing_to_do_and_something_done_are_both_well(m: FakeMachine, code: int) -> None:
    m.answer(re.compile("puppet apply"), code).answer("cat */last_run_report.yaml", report())
    assert str(puppet(m, "site.pp")) == "1 ok"


@pytest.mark.parametrize("code", [0, 4, 6])
def test_a_resource_that_failed_is_an_error_with_the_user_s_line(m: FakeMachine, tmp_path: Path, code: int) -> None:
    m.answer(re.compile("puppet apply"), code).answer("cat */last_run_report.yaml", report(failed=True))
    with pytest.raises(TaskError, match=r"puppet: File\[/etc/web\] failed") as raised:
        puppet(m, "site.pp")
    assert str(raised.value.where) == f"{tmp_path}/site.pp:2"
    assert m.commands[-1] == f"rm -rf -- {FOLDER}"


def test_a_manifest_that_does_not_compile_has_no_report_and_its_error_names_the_file_here(
    m: FakeMachine, tmp_path: Path
) -> None:
    error = f"Error: Syntax error at 'x' (file: {FOLDER}/manifest/site.pp, line: 1, column: 3)"
    m.answer(re.compile("puppet apply"), Result(command="", exited=1, stderr=error))
    m.answer("cat */last_run_report.yaml", 1)
    with pytest.raises(TaskError, match="puppet: Syntax error at 'x'") as raised:
        puppet(m, "site.pp")
    assert str(raised.value.where) == f"{tmp_path}/site.pp:1"


def test_what_puppet_read_counts_as_an_input_of_the_step(m: FakeMachine, tmp_path: Path) -> None:
    m.answer(re.compile(r"find . -type f -exec stat"), "./manifest/site.pp\n")
    with watched() as seen:
        puppet(m, "site.pp", modules="more")
    assert ("file", f"{tmp_path}/site.pp") in seen.taken
    assert ("listing", f"{tmp_path}/more") in seen.taken


def test_packages_that_were_not_there_are_borrowed_and_taken_back_unless_they_are_to_stay(m: FakeMachine) -> None:
    m.answer("dpkg-query *", "adduser\n").answer("find /var/lib/apt/lists *", 0).answer("apt-get *", "")
    puppet(m, "site.pp", install=["puppet-agent", "adduser"])
    install, purge = [command for command in m.commands if command.startswith("apt-get")]
    assert install.endswith("-- puppet-agent")
    assert purge.endswith("purge --auto-remove -- puppet-agent")
    m.ran.clear()
    puppet(m, "site.pp", keep=True)
    assert not any("purge" in command for command in m.commands)


def test_where_another_manager_than_apt_rules_nothing_is_taken_back(tmp_path: Path, m: FakeMachine) -> None:
    other = FakeMachine(folder=tmp_path, facts=Facts(package_manager="dnf"))
    other._answers = m._answers
    other.answer("dnf *", "")
    puppet(other, "site.pp")
    assert sum(command.startswith("dnf") for command in other.commands) == 1
    assert not any(command.startswith(("dpkg-query", "apt-get")) for command in other.commands)
