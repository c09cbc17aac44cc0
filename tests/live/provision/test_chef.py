"""Chef's contract: no client can be had, so one stands in for it, with Chef's own configuration and option parser."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bakery.cache.inputs.tracer import Tracer
from bakery.errors import TaskError
from bakery.machine.machine import Machine
from bakery.provision import chef
from bakery.redaction.secret import Secret
from bakery.util.changes import collected_changes

pytestmark = [pytest.mark.live, pytest.mark.all, pytest.mark.timeout(900)]
Write = Callable[[str, str], Path]
CONTROL = """Package: cinc-stand-in
Version: 1
Architecture: all
Maintainer: nobody <nobody@example.org>
Depends: ruby, ruby-chef-config, ruby-mixlib-cli
Description: stands in for Cinc
"""
RECIPE = """
user = data_bag_item("users", "eve")
file "/etc/by-chef" do
  content "#{node["level"]} #{user["key"]}"
end
log "done"
file "/etc/never" do
  only_if false
end
execute "false" do
  self.ignore_failure = true
end
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A package of the client's, as `install=` takes it."""
    tree = tmp_path_factory.mktemp("package")
    here = Path(__file__).parent / "chef_stand_in"
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN/control").write_text(CONTROL)
    (tree / "opt/cinc/bin").mkdir(parents=True)
    shutil.copy(here / "cinc-client", tree / "opt/cinc/bin")
    (tree / "opt/cinc/bin/cinc-client").chmod(0o755)
    shutil.copytree(here / "chef", tree / "opt/cinc/lib/chef")
    file = tree.with_suffix(".deb")
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, file], check=True, capture_output=True)
    checksum = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    return {"install": file.as_uri(), "checksum": checksum, "keep": True}


@pytest.fixture
def project(write: Write) -> None:
    write("cookbooks/web/recipes/default.rb", RECIPE)
    write("cookbooks/unused/recipes/default.rb", "")
    write("roles/web.json", '{"name": "web", "run_list": ["recipe[web]"]}')


def test_a_run_list_its_events_and_what_it_reads(
    m: Machine, project: None, package: dict[str, Any], tmp_path: Path
) -> None:
    words: dict[str, Any] = {
        "cookbooks": "cookbooks",
        "roles": "roles",
        "data_bags": {"users": {"eve": {"key": Secret("hunter22")}}},
        "attributes": {"level": 7},
        **package,
    }
    with Tracer(tmp_path) as tracer, collected_changes() as changes:
        done = chef(m, "role[web]", why_run=True, **words)
    assert m.run("test -e /etc/by-chef", warn=True).failed
    with Tracer(tmp_path) as tracer, collected_changes() as changes:
        done = chef(m, "role[web]", **words)
    assert m.run("cat /etc/by-chef", hide=True).stdout == "7 hunter22"
    assert [(item.name, item.outcome) for item in done.items] == [
        ("file[/etc/by-chef]", "changed"),
        ("log[done]", "ok"),
        ("file[/etc/never]", "skipped"),
        ("execute[false]", "ignored"),
    ]
    assert done.items[0].location == f"{tmp_path}/cookbooks/web/recipes/default.rb:3"
    assert done.items[0].text == "update content in file /etc/by-chef"
    assert changes == ["chef: file[/etc/by-chef]"]
    read = {name.removeprefix(f"{tmp_path}/") for kind, name in tracer.read if kind == "file"}
    assert read == {"cookbooks/web/recipes/default.rb", "roles/web.json"}
    assert tracer.problems == []
    assert m.run("ls -A /tmp /var/tmp | grep bakery", warn=True, hide=True).stdout == ""
    with collected_changes() as changes:
        chef(m, "role[web]", **words)
    assert changes == []


FAULTS = {
    "an execute": ('log "x"\nexecute "exit 3"\n', "chef: execute[exit 3] failed", "received '3'", 2),
    "a name": ('log "x"\nfiel "/etc/x"\n', "undefined method `fiel'", "", 2),
    "syntax": ('log "x"\nfile "/x" do\n', "SyntaxError", "", 2),
    "nothing": ("", "chef ran nothing", "", 0),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_said_with_the_cookbooks_file_and_line(
    m: Machine, write: Write, package: dict[str, Any], fault: str
) -> None:
    text, what, why, line = FAULTS[fault]
    file = write("cookbooks/web/recipes/default.rb", text)
    with pytest.raises(TaskError) as caught:
        chef(m, "web", cookbooks="cookbooks", **package)
    error = caught.value
    assert what in str(error)
    assert why in error.why
    assert not line or str(error.where) == f"{file}:{line}"
    assert "/tmp/.bakery" not in str(error)
    assert m.run("ls -A /tmp /var/tmp | grep bakery", warn=True, hide=True).stdout == ""


def test_a_cookbook_that_is_not_there_is_said(m: Machine, project: None, package: dict[str, Any]) -> None:
    with pytest.raises(TaskError, match="Cookbook Not Found: gone"):
        chef(m, "gone", cookbooks="cookbooks", **package)


def test_an_exported_policy(m: Machine, write: Write, package: dict[str, Any], tmp_path: Path) -> None:
    write("policy/Policyfile.lock.json", '{"name": "web"}')
    write("policy/policies/web-1a.json", '{"run_list": ["recipe[web]"], "named_run_lists": {"two": ["web::two"]}}')
    write("policy/cookbook_artifacts/web-1a/recipes/default.rb", 'file "/etc/one" do\n  content "1"\nend\n')
    write("policy/cookbook_artifacts/web-1a/recipes/two.rb", 'file "/etc/two" do\n  content "2"\nend\n')
    assert [item.name for item in chef(m, policyfile="policy", **package).items] == ["file[/etc/one]"]
    done = chef(m, policyfile="policy", named_run_list="two", **package)
    assert done.items[0].location == f"{tmp_path}/policy/cookbook_artifacts/web-1a/recipes/two.rb:1"


def test_a_license_is_accepted_only_when_asked_and_a_client_that_is_there_is_used(
    m: Machine, project: None, package: dict[str, Any], write: Write
) -> None:
    write("cookbooks/web/recipes/default.rb", 'log "x"\n')
    chef(m, "web", cookbooks="cookbooks", **package)
    m.run("ln -s /opt/cinc/bin/cinc-client /usr/local/bin/chef-client")
    with pytest.raises(TaskError, match="waits for its license"):
        chef(m, "web", cookbooks="cookbooks")
    assert chef(m, "web", cookbooks="cookbooks", accept_license=True).items
    m.run("rm /usr/local/bin/chef-client")


def test_what_was_installed_for_the_run_is_gone_after_it(
    m: Machine, project: None, package: dict[str, Any], write: Write
) -> None:
    write("cookbooks/web/recipes/default.rb", 'log "x"\n')
    m.run("apt-get purge --yes --auto-remove cinc-stand-in", hide=True)
    before = m.run("dpkg-query -W", hide=True).stdout
    chef(m, "web", cookbooks="cookbooks", **{**package, "keep": False})
    assert m.run("dpkg-query -W", hide=True).stdout == before
    assert m.run("ls -d /opt/cinc /etc/chef /etc/cinc /root/.chef /root/.cinc", warn=True, hide=True).stdout == ""
    with pytest.raises(TaskError, match="is not there"):
        chef(m, "web", cookbooks="cookbooks")
