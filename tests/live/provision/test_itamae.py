"""Itamae of Debian 12: recipes, attributes; what fails, what is traced, what is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bakery.cache.inputs.tracer import Tracer
from bakery.errors import TaskError
from bakery.machine.machine import Machine
from bakery.provision import itamae
from bakery.redaction.secret import Secret
from bakery.util.changes import collected_changes

pytestmark = [pytest.mark.live, pytest.mark.all, pytest.mark.timeout(900)]
Write = Callable[[str, str], Path]
RECIPE = """include_recipe "base"
template "/etc/web" do
  mode "0640"
end
execute "touch /etc/once" do
  not_if "test -e /etc/once"
end
file "/etc/games" do
  content "for games"
  user "games"
  path "/var/games/x"
end
define :twice, word: nil do
  word = params[:word]
  file "/etc/#{params[:name]}" do
    content word
  end
end
twice "told" do
  word "yes"
end
"""


@pytest.fixture
def project(write: Write) -> None:
    write("itamae/web.rb", RECIPE)
    write("itamae/base.rb", 'directory "/etc/base"\n')
    write("itamae/unused.rb", "")
    write("itamae/templates/etc/web.erb", "<%= node[:token] %> <%= node[:level][:x] %>\n")


def test_a_recipe_its_events_and_what_it_reads(m: Machine, project: None, tmp_path: Path) -> None:
    m.run("rm -rf /etc/web /etc/once /etc/base /etc/told /var/games; mkdir /var/games; chown games /var/games")
    node = {"token": Secret("hunter22"), "level": {"x": 3}}
    dry = itamae(m, "itamae/web.rb", node=node, keep=True, dry_run=True)
    assert m.run("test -e /etc/web", warn=True).failed
    with Tracer(tmp_path) as tracer, collected_changes() as changes:
        done = itamae(m, "itamae/web.rb", node=node, keep=True)
    assert m.run("stat -c '%a' /etc/web; cat /etc/web; stat -c %U /var/games/x", hide=True).stdout == (
        "640\nhunter22 3\ngames\n"
    )
    assert {item.name: item.outcome for item in done.items} == {
        "directory[/etc/base]": "changed",
        "template[/etc/web]": "changed",
        "execute[touch /etc/once]": "changed",
        "file[/etc/games]": "changed",
        "file[/etc/told]": "changed",
    }
    assert {item.outcome for item in dry.items} == {"changed"}
    assert [item.location.removeprefix(f"{tmp_path}/itamae/") for item in done.items][:2] == ["base.rb:1", "web.rb:2"]
    assert changes[:2] == ["itamae: directory[/etc/base]", "itamae: template[/etc/web]"]
    read = {name.removeprefix(f"{tmp_path}/") for kind, name in tracer.read if kind == "file"}
    assert read == {"itamae/web.rb", "itamae/base.rb", "itamae/templates/etc/web.erb"}
    assert tracer.problems == []
    assert m.run("ls -dA /tmp/*itamae* /tmp/.bakery*", warn=True, hide=True).stdout == ""
    with collected_changes() as changes:
        again = itamae(m, "itamae/web.rb", node=node, keep=True)
    assert changes == []
    assert {item.name for item in again.of("skipped")} == {"execute[touch /etc/once]"}


FAULTS = {
    "a command": ('file "/etc/x"\nexecute "echo why >&2; exit 3"\n', "execute[echo why >&2; exit 3] failed", "why", 2),
    "a name": ('file "/etc/x"\nfiel "/etc/x"\n', "fiel resource is missing", "", 2),
    "syntax": ('file "/etc/x"\nfile "/x" do\n', "SyntaxError", "", 2),
    "a recipe": ('file "/etc/x"\ninclude_recipe "gone"\n', "Recipe not found. (gone)", "", 2),
    "an attribute": ('file "/etc/x"\nfile "/y" do\n  colour "red"\nend\n', "undefined method `colour'", "", 3),
    "a type": ('file "/y" do\n  mode 0644\nend\n', "mode attribute should be String", "", 1),
    "a template": ('template "/y"\n', "template[/y] failed", "source file is not found", 1),
    "nothing": ("", "itamae ran nothing", "", 0),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_said_with_the_recipes_file_and_line(m: Machine, write: Write, fault: str) -> None:
    text, what, why, line = FAULTS[fault]
    file = write("itamae/web.rb", text)
    with pytest.raises(TaskError) as caught:
        itamae(m, "itamae/web.rb", node={"token": Secret("hunter22")}, keep=True)
    error = caught.value
    assert "hunter22" not in str(error)
    assert what in str(error)
    assert why in error.why
    assert not line or str(error.where) == f"{file}:{line}"
    assert "/tmp/.bakery" not in str(error)
    assert m.run("ls -A /tmp | grep bakery", warn=True, hide=True).stdout == ""


def test_what_was_installed_for_the_run_is_gone_after_it(m: Machine, write: Write) -> None:
    m.run("apt-get purge --yes --auto-remove itamae cinc-stand-in", warn=True, hide=True)
    before = m.run("dpkg-query -W", hide=True).stdout
    write("x.rb", 'file "/etc/x"\n')
    itamae(m, "x.rb")
    assert m.run("dpkg-query -W", hide=True).stdout == before
