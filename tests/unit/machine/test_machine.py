"""What a task can say to a machine. Nothing here leaves the process."""

from __future__ import annotations

import io
import os
import re
import stat
from pathlib import Path

import pytest

from bakery import Machine, Secret
from bakery.errors import CommandFailed, TaskError
from bakery.events import Output
from bakery.machine.facts import Facts
from bakery.model import Result
from bakery.testing import FakeMachine, Ran, UnforeseenCall


def test_a_task_is_tested_without_a_machine() -> None:
    def nginx(m: Machine) -> None:
        m.run("apt-get install --yes nginx")
        m.write("/etc/nginx/conf.d/workers.conf", "worker_processes 4;\n")

    m = FakeMachine({"apt-get install *": "done\n"})
    nginx(m)
    assert m.commands == ["apt-get install --yes nginx"]
    assert m.files["/etc/nginx/conf.d/workers.conf"].text == "worker_processes 4;\n"
    assert m.output == "done"


def test_an_unforeseen_command_is_an_error() -> None:
    with pytest.raises(UnforeseenCall, match=r"rm -rf"):
        FakeMachine().run("rm -rf /srv")


def test_a_failed_command_raises_with_its_code_and_the_users_line() -> None:
    with pytest.raises(CommandFailed) as raised:
        FakeMachine({"false": 1}).run("false")
    assert raised.value.what == "`false` ended with exit code 1"
    assert raised.value.result.exited == 1
    assert raised.value.where is not None
    assert raised.value.where.file == Path(__file__)


def test_a_failed_command_returns_where_it_may_fail() -> None:
    assert FakeMachine({"false": 3}).run("false", warn=True).exited == 3


def test_only_output_that_nobody_has_seen_is_in_the_error() -> None:
    result = Result(command="", exited=2, stdout="seen\n", stderr="hidden\n")
    with pytest.raises(CommandFailed) as raised:
        FakeMachine({"make": result}).run("make", hide="err")
    assert raised.value.why == "hidden"


def test_a_missing_command_is_explained() -> None:
    with pytest.raises(CommandFailed) as raised:
        FakeMachine({"nginx": 127}).run("nginx")
    assert "not found" in raised.value.hint


def test_sudo_that_wants_a_password_is_an_error_even_where_the_command_may_fail() -> None:
    result = Result(command="", exited=1, stderr="sudo: a password is required\n")
    with pytest.raises(TaskError, match="the login user may not") as raised:
        FakeMachine({"id": result}).run("id", warn=True)
    assert "NOPASSWD" in raised.value.hint


def test_cd_and_prefix_nest_and_end() -> None:
    m = FakeMachine({"*": ""})
    with m.cd("/srv"), m.prefix("source v/bin/activate"), m.cd("app"):
        m.run("make", cwd="sub")
    m.run("make")
    assert [(ran.cwd, ran.prefixes) for ran in m.ran] == [("/srv/app/sub", ("source v/bin/activate",)), ("", ())]


def test_a_view_has_its_own_user_and_the_same_machine() -> None:
    m = FakeMachine({"*": ""})
    m.with_defaults(user="app").run("id")
    m.for_step("nginx", user="www").run("id")
    m.sudo("id")
    m.sudo("id", user="app")
    assert [ran.user for ran in m.ran] == ["app", "www", "root", "app"]


def test_events_carry_the_step() -> None:
    m = FakeMachine({"*": "hello\n"})
    m.for_step("nginx").run("echo hello")
    assert [(e.step, e.text) for e in m.events if isinstance(e, Output)] == [("nginx", "hello")]


def test_secrets_reach_the_machine_as_input_environment_and_files() -> None:
    m, secret = FakeMachine({"*": ""}), Secret("hunter22")
    m.run("chpasswd", input=secret.map(lambda text: f"root:{text}"), env={"TOKEN": secret})
    m.write("/etc/token", secret, mode=0o600)
    assert m.ran[0].input == b"root:hunter22"
    assert m.ran[0].env == {"TOKEN": "hunter22"}
    assert (m.files["/etc/token"].text, m.files["/etc/token"].mode) == ("hunter22", 0o600)


def test_fabrics_keywords_are_understood() -> None:
    m, out = FakeMachine({"*": "text\n"}), io.StringIO()
    m.run("cat", in_stream=io.StringIO("in"), out_stream=out, pty=True, echo=True, replace_env=True)
    assert m.ran[0].input == b"in"
    assert out.getvalue() == "text\n"
    assert m.output == "$ cat"


@pytest.mark.parametrize(
    ("keyword", "says"),
    [("tiemout", "did you mean timeout"), ("watchers", "input="), ("asynchronous", "nohup"), ("xyz", "takes no xyz=$")],
)
def test_a_keyword_that_does_not_exist_is_refused_with_a_suggestion(keyword: str, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        FakeMachine({"*": ""}).run("id", **{keyword: 1})  # type: ignore[arg-type]  # that is the point


def test_a_value_of_the_environment_is_text() -> None:
    with pytest.raises(TypeError, match="'WORKERS'"):
        FakeMachine({"*": ""}).run("id", env={"WORKERS": 4})  # type: ignore[dict-item]  # that is the point


def test_a_path_is_no_input() -> None:
    with pytest.raises(TypeError, match="an open file, not PosixPath"):
        FakeMachine({"*": ""}).run("id", input=Path("x"))  # type: ignore[arg-type]  # that is the point


def test_files_go_up_with_their_mode_and_come_down_whole(tmp_path: Path) -> None:
    (tmp_path / "site.conf").write_text("listen 80;\n")
    (tmp_path / "site.conf").chmod(0o640)
    m = FakeMachine(folder=tmp_path)
    assert m.put("site.conf", "/etc/nginx/").remote == "/etc/nginx/site.conf"
    assert m.files["/etc/nginx/site.conf"].mode == 0o640
    m.put("site.conf", "/etc/x", preserve_mode=False, owner="app")
    assert (m.files["/etc/x"].mode, m.files["/etc/x"].owner) == (0o644, "app")
    m.put(io.StringIO("ümlaut"), "/etc/y")
    m.get("/etc/y", "down/")
    assert (tmp_path / "down" / "y").read_text() == "ümlaut"
    m.get("/etc/y", buffer := io.BytesIO())
    assert buffer.getvalue() == "ümlaut".encode()


def test_a_download_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnforeseenCall):
        FakeMachine(folder=tmp_path).get("/etc/nothing", "here")
    assert list(tmp_path.iterdir()) == []


def test_a_download_is_written_into_what_is_no_file_and_follows_links(tmp_path: Path) -> None:
    """`m.get("/etc/motd", "/dev/stdout")`, and a file that is kept elsewhere."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    fake = FakeMachine(folder=tmp_path)
    fake.put(io.BytesIO(b"hello"), "/etc/motd")
    fake.get("/etc/motd", tmp_path / "pipe")
    fake.get("/etc/motd", tmp_path / "link")
    assert os.read(reader, 100) == b"hello"
    os.close(reader)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "hello"


def test_a_folder_is_copied_without_what_is_excluded(tmp_path: Path) -> None:
    (tmp_path / "app" / "__pycache__").mkdir(parents=True)
    (tmp_path / "app" / "__pycache__" / "a.pyc").touch()
    (tmp_path / "app" / "a.py").touch()
    m = FakeMachine(folder=tmp_path)
    m.copy("app", "/opt/app", exclude=["__pycache__"])
    m.put("app", "/opt/again")
    assert sorted(m.files) == ["/opt/again/__pycache__/a.pyc", "/opt/again/a.py", "/opt/app/a.py"]


def test_what_is_no_folder_cannot_be_copied(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError):
        FakeMachine(folder=tmp_path).copy("nothing", "/opt")


def test_a_script_is_named_in_its_failure(tmp_path: Path) -> None:
    (tmp_path / "setup.sh").write_text("exit 3\n")
    with pytest.raises(CommandFailed, match=r"`script setup.sh --fast` ended with exit code 3"):
        FakeMachine({"script setup.sh *": 3}, folder=tmp_path).script("setup.sh", "--fast")


def test_waiting_ends_with_the_last_thing_seen() -> None:
    answers = iter([1, 1, 0])
    m = FakeMachine({"curl *": lambda _: next(answers)})
    m.wait_for("curl localhost", timeout=5)
    assert len(m.ran) == 3
    m.answer("curl *", Result(command="", exited=7, stderr="refused\n"))
    with pytest.raises(TaskError, match="exit code 7: refused"):
        m.wait_for("curl localhost", timeout=0.01)
    with pytest.raises(TaskError, match="says no"):
        m.wait_for(lambda: False, timeout=0.01)


def test_answers_may_be_functions_patterns_and_errors() -> None:
    def hello(ran: Ran) -> str:
        return f"hello {ran.user}"

    m = FakeMachine({re.compile("^who"): hello, "boom": TaskError("lost")})
    assert m.run("whoami").stdout == "hello root"
    with pytest.raises(TaskError, match="lost"):
        m.run("boom")
    assert m.local("who", env={"A": "1"}).ok


def test_a_fake_machine_has_facts_and_can_be_restarted() -> None:
    m = FakeMachine(facts=Facts(os_id="alpine"))
    m.reboot(timeout=9)
    assert (m.facts.os_id, m.facts.has_systemd, m.reboots) == ("alpine", False, [9])


def test_facts_are_read_from_what_the_machine_says() -> None:
    facts = Facts.parse("os_id=debian\nversion=12\ncpus=2\nmemory=1024\ninit=systemd\nhostname=a=b\nnoise\n")
    assert facts == Facts(os_id="debian", version="12", cpus=2, memory=1024, init="systemd", hostname="a=b")


def test_a_result_speaks_fabric() -> None:
    result = Result(command="x", exited=0, stdout="a\nb\nc\n")
    assert (result.ok, result.failed, bool(result), result.return_code) == (True, False, True, 0)
    assert result.tail("stdout", 2) == "\n\nb\nc"
