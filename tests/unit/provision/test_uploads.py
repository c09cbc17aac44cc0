"""What a tool is sent, what of it counts as read, and that nothing of it stays on the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakery.errors import DriverError, Location, TaskError
from bakery.machine.access import access
from bakery.provision.uploads import Uploads, uploads
from bakery.testing import FakeMachine
from bakery.testing.machine import Ran

from .watcher import watched

FOLDER = "/tmp/.bakery-puppet-a1b2c3"


@pytest.fixture
def m(tmp_path: Path) -> FakeMachine:
    """A machine, and a project with a folder and a file to send."""
    (tmp_path / "modules/web/manifests").mkdir(parents=True)
    (tmp_path / "modules/web/manifests/init.pp").write_text("class web {}")
    (tmp_path / "modules/web/README").write_text("read me")
    (tmp_path / "site.pp").write_text("include web")
    m = FakeMachine(folder=tmp_path).answer("mktemp -d /tmp/.bakery-*", f"{FOLDER}\n").answer("mkdir -p *", "")
    return m.answer("rm -rf -- *", "").answer("sh -c *", "")


def send_all(sent: Uploads) -> None:
    sent.send("modules", "modules-0")
    sent.send("site.pp", "manifest/site.pp")


def reads(*names: str) -> str:
    return "".join(f"./{name}\n" for name in names)


def test_all_that_was_sent_lies_in_one_folder_that_goes_afterwards(m: FakeMachine) -> None:
    with uploads(m, access(m), "puppet") as sent:
        send_all(sent)
        assert set(m.files) == {
            f"{FOLDER}/modules-0/web/manifests/init.pp",
            f"{FOLDER}/modules-0/web/README",
            f"{FOLDER}/manifest/site.pp",
        }
    assert m.commands[-1] == f"rm -rf -- {FOLDER}"
    assert {ran.user for ran in m.ran} == {"root"}


def test_it_goes_also_where_the_tool_failed_and_the_reason_is_not_hidden(m: FakeMachine) -> None:
    with pytest.raises(TaskError, match="it failed"), uploads(m, access(m), "puppet"):
        raise TaskError("it failed")
    assert m.commands[-1] == f"rm -rf -- {FOLDER}"
    m.answer("rm -rf -- *", DriverError("the machine is gone"))
    with pytest.raises(TaskError, match="it failed"), uploads(m, access(m), "puppet"):
        raise TaskError("it failed")


def test_what_cannot_be_removed_after_success_is_an_error(m: FakeMachine) -> None:
    m.answer("rm -rf -- *", 1)
    with pytest.raises(TaskError), uploads(m, access(m), "puppet"):
        pass


def test_only_what_the_tool_read_counts_and_every_folder_in_which_it_may_have_looked(
    m: FakeMachine, tmp_path: Path
) -> None:
    m.answer("*stat -c*find*sed*", reads("modules-0/web/manifests/init.pp", "manifest/site.pp", "own/cache"))
    m.answer("*find . -type f -exec stat*", reads("modules-0/web/manifests/init.pp", "manifest/site.pp", "own/cache"))
    with watched() as seen, uploads(m, access(m), "puppet") as sent:
        send_all(sent)
        assert seen.taken == []  # sending is not reading
        sent.begin_trace()
        sent.note_inputs()
    assert set(seen.taken) == {
        ("listing", f"{tmp_path}/modules"),
        ("listing", f"{tmp_path}/modules/web"),
        ("listing", f"{tmp_path}/modules/web/manifests"),
        ("file", f"{tmp_path}/modules/web/manifests/init.pp"),
        ("file", f"{tmp_path}/site.pp"),
    }


@pytest.mark.parametrize("code", [3, 1])
def test_where_a_machine_does_not_note_readings_all_that_was_sent_counts(
    m: FakeMachine, tmp_path: Path, code: int
) -> None:
    m.answer("*bakery-trace*", code)
    with watched() as seen, uploads(m, access(m), "puppet") as sent:
        send_all(sent)
        sent.begin_trace()
        sent.note_inputs()
    assert seen.taken == [("tree", f"{tmp_path}/modules"), ("file", f"{tmp_path}/site.pp")]


def test_a_place_that_a_tool_names_is_one_of_this_host(m: FakeMachine, tmp_path: Path) -> None:
    with uploads(m, access(m), "puppet") as sent:
        send_all(sent)
        sent.send("modules/web", "modules-0/inner")
        assert sent.place(f"{FOLDER}/modules-0/web/README", 3) == Location(tmp_path / "modules/web/README", 3)
        assert sent.place(f"{FOLDER}/manifest/site.pp", 1) == Location(tmp_path / "site.pp", 1)
        assert sent.place("/etc/puppet/x.pp", 7) == Location(Path("/etc/puppet/x.pp"), 7)
        assert sent.place(f"{FOLDER}/modules-01/x", 1).file == Path(f"{FOLDER}/modules-01/x")
        text = f"error in {FOLDER}/modules-0/inner/README and {FOLDER}/modules-0/a"
        assert sent.localized(text) == f"error in {tmp_path}/modules/web/README and {tmp_path}/modules/a"


def test_a_link_is_sent_under_the_name_that_the_user_gave(m: FakeMachine, tmp_path: Path) -> None:
    (tmp_path / "link.pp").symlink_to("site.pp")
    with watched() as seen, uploads(m, access(m), "puppet") as sent:
        assert sent.send("./sub/../link.pp", "manifest/link.pp") == f"{FOLDER}/manifest/link.pp"
        sent.note_inputs()
    assert seen.taken == [("file", f"{tmp_path}/link.pp")]
    assert m.files[f"{FOLDER}/manifest/link.pp"].text == "include web"


def test_the_folder_s_name_says_whose_it_is(m: FakeMachine) -> None:
    def made(ran: Ran) -> str:
        assert ran.command == "mktemp -d /tmp/.bakery-salt-XXXXXX"
        return "/tmp/.bakery-salt-1\n"

    m.answer("mktemp *", made)
    with uploads(m, access(m), "salt") as sent:
        assert sent.folder == "/tmp/.bakery-salt-1"
