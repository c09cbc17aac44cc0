"""Commands over a link: what is sent, what comes back, and what a lost connection means."""

from __future__ import annotations

import io
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from bakery import Machine, Secret
from bakery.errors import CommandFailed, ConnectError, DriverError, Interrupted, TaskError
from bakery.machine.command import INPUT_LOST, NO_INPUT
from bakery.machine.execute import HINTS
from bakery.machine.transport.stages import NotReached
from bakery.model import Endpoint, Result
from tests.unit.clock import Clock
from tests.unit.machine.box import Asked, Box

NO_SUDO = "sudo: a password is required\n"


@pytest.fixture
def box() -> Box:
    return Box()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def m(box: Box, clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    return box.machine(monkeypatch, tmp_path, cancel=clock)


def test_a_command_comes_back_as_the_user_wrote_it(m: Machine, box: Box) -> None:
    box.answer("make *", Result(command="", exited=0, stdout="ein\nzwölf\ndrei", stderr="warning\n"))
    result = m.run("make install")
    assert (result.command, result.stdout, result.stderr) == ("make install", "ein\nzwölf\ndrei", "warning\n")
    assert box.output == [("stdout", "ein"), ("stdout", "zwölf"), ("stderr", "warning"), ("stdout", "drei")]


@pytest.mark.parametrize("chunk", [1, 2, 7, 1000])
def test_what_a_user_sees_is_whole_lines_however_it_comes(m: Machine, box: Box, chunk: int) -> None:
    box.chunk = chunk
    box.answer("cat", "größer\n\n漢字\n")
    m.run("cat")
    assert "\n".join(text for _, text in box.output) == "größer\n\n漢字"


def test_one_connection_serves_all_commands(m: Machine, box: Box) -> None:
    box.answer("*", "")
    for _ in range(3):
        m.run("true")
    assert (box.connections, len(box.asked)) == (1, 3)


def test_root_needs_nothing_and_a_login_user_sudo(m: Machine, box: Box) -> None:
    box.answer("*", "")
    m.run("id")
    box.login = "admin"
    m.run("id")
    m.run("id", user="admin")
    assert ["sudo" in asked.line for asked in box.asked] == [False, True, False]
    assert box.commands == ["id"] * 3


def test_words_never_meet_a_shell(m: Machine, box: Box) -> None:
    box.answer("*", "")
    m.run(["echo", "$HOME; rm -r /srv"])
    assert box.asked[0].words == ["echo", "$HOME; rm -r /srv"]


@pytest.mark.parametrize(
    ("given", "came"),
    [
        (None, b""),
        ("Öl", "Öl".encode()),
        (b"\0\xff", b"\0\xff"),
        (Secret("hunter22"), b"hunter22"),
        (bytearray(b"ab"), b"ab"),
        (io.BytesIO(b"stream"), b"stream"),
        (io.StringIO("täxt"), "täxt".encode()),
    ],
)
def test_input_of_each_kind_arrives(m: Machine, box: Box, given: object, came: bytes) -> None:
    box.answer("cat", "")
    m.run("cat", input=given)  # type: ignore[arg-type]  # a bytearray is taken too
    assert box.asked[0].input == came


def test_a_command_whose_input_goes_elsewhere_is_an_error_also_with_warn(m: Machine, box: Box) -> None:
    box.answer("cat", Result(command="", exited=INPUT_LOST, stderr=f"Welcome\n{NO_INPUT}\n"))
    with pytest.raises(TaskError, match="its input does not reach it") as raised:
        m.run("cat", input="x", warn=True)
    assert "exec <" in raised.value.hint


def test_the_environment_comes_before_the_input_and_in_no_argument_list(m: Machine, box: Box) -> None:
    box.answer("cat", "")
    m.run("cat", env={"TOKEN": Secret("s3cret word")}, input=io.BytesIO(b"mine"))
    head, _, rest = box.asked[0].input.decode().partition("\nbakery-")
    assert head == "export TOKEN='s3cret word'"
    assert rest.partition("\n")[2] == "mine"
    assert "s3cret" not in box.asked[0].line


def test_folders_and_prefixes_are_in_the_line(m: Machine, box: Box) -> None:
    box.answer("*", "")
    with m.cd("/srv"), m.prefix(". venv/bin/activate"):
        m.run("make", cwd="a b")
    assert "cd -- '/srv/a b' || exit" in box.asked[0].line
    assert box.commands == [". venv/bin/activate && make"]


def test_an_echoed_command_is_seen_before_its_output(m: Machine, box: Box) -> None:
    box.answer("make", "built\n")
    m.run("make", echo=True)
    assert box.output == [("stdout", "$ make"), ("stdout", "built")]


def test_output_for_a_file_of_the_caller_is_in_no_event(m: Machine, box: Box) -> None:
    box.answer("make", Result(command="", exited=0, stdout="out\n", stderr="err\n"))
    out, err = io.StringIO(), io.StringIO()
    m.run("make", out_stream=out, err_stream=err, hide=True)
    assert (out.getvalue(), err.getvalue(), box.output) == ("out\n", "err\n", [])


# ---- failures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "hint"), [*HINTS.items(), (2, "")])
def test_each_exit_code_has_its_hint(m: Machine, box: Box, code: int, hint: str) -> None:
    box.answer("x", code)
    with pytest.raises(CommandFailed) as raised:
        m.run("x")
    assert (raised.value.what, raised.value.hint) == (f"`x` ended with exit code {code}", hint)
    assert raised.value.where is not None
    assert raised.value.where.file == Path(__file__)


def test_a_command_that_may_fail_still_needs_its_user(m: Machine, box: Box) -> None:
    box.login = "admin"
    box.answer("id", Result(command="", exited=1, stderr=NO_SUDO))
    with pytest.raises(TaskError, match="cannot run commands as app"):
        m.run("id", user="app", warn=True)


def test_a_timeout_is_told_with_its_seconds(m: Machine, box: Box) -> None:
    box.answer("sleep *", Result(command="", exited=-1, stdout="half\n"))
    with pytest.raises(CommandFailed, match=r"ran longer than its timeout of 2.5 s") as raised:
        m.run("sleep 9", timeout=2.5, hide=True)
    assert (raised.value.result.exited, raised.value.why) == (-1, "half")
    assert box.asked[0].timeout == 2.5
    assert m.run("sleep 9", timeout=1, warn=True).exited == -1


def test_a_step_gives_each_command_what_is_left_of_its_time(m: Machine, box: Box, clock: Clock) -> None:
    box.answer("*", "")
    step = m.for_step("web", timeout=100)
    step.run("a")
    clock.now += 60
    step.run("b")
    step.run("c", timeout=5)
    step.with_defaults(timeout=7).run("d")
    assert [asked.timeout for asked in box.asked] == [100, 40, 5, 7]
    clock.now += 40
    with pytest.raises(TaskError, match="the task web ran longer than its timeout"):
        step.run("e")
    assert len(box.asked) == 4, "nothing is sent when the time is over"


def test_a_helper_that_ran_out_of_its_steps_time_says_so(m: Machine, box: Box) -> None:
    box.answer("*bakery-put*", -1)
    with pytest.raises(CommandFailed, match=r"`put /etc/motd` was ended: it ran longer than its timeout of 30 s"):
        m.for_step("web", timeout=30).write("/etc/motd", "hello")


# ---- lost connections -------------------------------------------------------------------------------------------


def cutting(box: Box) -> Callable[[Asked], str]:
    def cut(_: Asked) -> str:
        box.cut()
        return "half of\n"

    return cut


def test_a_lost_connection_to_a_machine_that_lives_is_explained(m: Machine, box: Box) -> None:
    box.answer("systemctl *", cutting(box)).answer("id", "")
    with pytest.raises(TaskError) as raised:
        m.run("systemctl restart ssh")
    assert raised.value.what == "the connection was lost under `systemctl restart ssh`"
    assert "lets us in again" in raised.value.hint
    assert raised.value.where is not None
    m.run("id")
    assert box.connections == 2


def test_a_lost_connection_to_a_dead_machine_is_its_death(m: Machine, box: Box) -> None:
    def die(_: Asked) -> str:
        box.dead = "Kernel panic"
        box.cut()
        return ""

    box.answer("*", die)
    with pytest.raises(DriverError, match="gone") as raised:
        m.run("boom")
    assert raised.value.why == "Kernel panic"


def test_a_machine_without_an_address_for_now_is_not_dead(m: Machine, box: Box, clock: Clock) -> None:
    def leave(_: Asked) -> str:
        box.endpoint = Endpoint(host="nowhere")
        box.cut()
        return ""

    box.answer("*", leave)
    started = clock.now
    with pytest.raises(TaskError, match="does not let us in again") as raised:
        m.run("ip link set eth0 down")
    assert "it has no address" in raised.value.why
    assert 60 <= clock.now - started < 62


def test_a_machine_that_refuses_us_afterwards_is_said_to(m: Machine, box: Box) -> None:
    def lock(_: Asked) -> str:
        box.refuses = [NotReached("authentication", "our key is refused")] * 200
        box.cut()
        return ""

    box.answer("*", lock)
    with pytest.raises(TaskError, match="does not let us in again") as raised:
        m.run("rm -r /root/.ssh")
    assert "stage: authentication" in raised.value.why
    assert raised.value.hint.startswith("did the command stop sshd")


def test_a_cancelled_run_sends_nothing(m: Machine, box: Box, clock: Clock) -> None:
    clock.set("Ctrl-C")
    with pytest.raises(Interrupted, match="Ctrl-C"):
        m.run("true")
    assert box.asked == []


def test_what_took_the_place_of_our_shell_gets_the_users_line(m: Machine, box: Box) -> None:
    box.answer("*", ConnectError("the login shell is /bin/false"))
    with pytest.raises(ConnectError) as raised:
        m.run("true")
    assert raised.value.where is not None
    assert raised.value.where.file == Path(__file__)


def test_the_driver_is_asked_whether_the_machine_lives_where_it_knows_better(
    box: Box, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clock: Clock
) -> None:
    def dead() -> None:
        raise DriverError("stopped by its provider")

    link = box.machine(monkeypatch, tmp_path, cancel=clock)._link
    machine = Machine(link, tmp_path, link._work, alive=dead)
    box.answer("*", cutting(box))
    with pytest.raises(DriverError, match="stopped by its provider"):
        machine.run("x")


# ---- the rest of what tasks can say -----------------------------------------------------------------------------


def test_facts_are_read_once_by_all_views_and_again_after_a_restart(m: Machine, box: Box) -> None:
    box.answer("*os-release*", "os_id=debian\ncpus=2\n", "os_id=debian\ncpus=4\n")
    assert (m.facts.cpus, m.for_step("other").facts.cpus) == (2, 2)
    box.answer("*systemctl is-system-running --wait", "running\n")
    box.answer("*systemctl reboot*", _restarting(box))
    m.reboot()
    assert m.facts.cpus == 4


def _restarting(box: Box) -> Callable[[Asked], str]:
    def restart(_: Asked) -> str:
        box.restart()
        return ""

    return restart


def test_a_script_runs_by_the_program_in_its_first_line(m: Machine, box: Box, tmp_path: Path) -> None:
    (tmp_path / "setup").write_text("#!/usr/bin/env -S python3 -u\nprint(1)\n")
    box.answer("*bakery-script*", "1\n")
    assert m.script("setup", "--fast", "a b").command == "script setup --fast a b"
    assert box.asked[0].words[3:] == ["bakery-script", "4", "/usr/bin/env", "-S", "python3", "-u", "--fast", "a b"]
    assert box.asked[0].input.endswith(b"print(1)\n")


def test_the_connection_is_the_builds_and_can_be_left_and_opened(m: Machine, box: Box) -> None:
    assert not m.is_connected
    with m:
        m.open()
    assert m.is_connected
    m.close()
    assert not m.is_connected
    box.endpoint = Endpoint(host="192.0.2.7", port=2222)
    assert (m.host, m.port, m.user, m.cwd) == ("192.0.2.7", 2222, "root", "")
    with m.cd("/srv"), m.cd("app"):
        assert m.cwd == "/srv/app"


@pytest.mark.parametrize("name", ["sftp", "shell", "forward_local", "gateway", "connect_kwargs"])
def test_what_only_fabric_has_says_what_to_use_in_its_place(m: Machine, name: str) -> None:
    with pytest.raises(AttributeError, match=f"a Machine has no {name}: "):
        getattr(m, name)


def test_what_nobody_has_is_an_attribute_error(m: Machine) -> None:
    with pytest.raises(AttributeError, match="'Machine' object has no attribute 'rum'"):
        m.rum  # type: ignore[attr-defined]  # noqa: B018  that is the point


def test_the_login_key_is_the_links(m: Machine) -> None:
    assert m.login_key == "ssh-ed25519 AAAA bakery-box"


def test_a_wait_for_a_command_ends_when_it_succeeds(m: Machine, box: Box, clock: Clock) -> None:
    box.answer("curl *", 7, Result(command="", exited=22, stderr="first\nrefused\n"), "up")
    started = clock.now
    m.wait_for("curl localhost", timeout=30)
    assert len(box.asked) == 3
    assert clock.now - started < 1
    assert box.waits == ["curl localhost: exit code 7", "curl localhost: exit code 22: refused"]
    assert box.output == []


def test_a_wait_that_runs_out_says_where_it_stands(m: Machine, box: Box) -> None:
    box.answer("curl *", 7)
    with pytest.raises(TaskError, match=r"waiting for curl localhost: timed out") as raised:
        m.wait_for("curl localhost", timeout=30)
    assert raised.value.why == "waited 30 s and still: exit code 7"
    assert raised.value.where is not None
    assert raised.value.where.file == Path(__file__)


def test_a_function_is_waited_for_by_its_name(m: Machine) -> None:
    answers = iter([False, 0, "", "yes"])

    def ready() -> object:
        return next(answers)

    m.wait_for(ready, timeout=30)
    answers = iter([False] * 1000)
    with pytest.raises(TaskError, match="waiting for ready: timed out"):
        m.wait_for(ready, timeout=3)


def test_quoting_survives_two_shells(m: Machine, box: Box) -> None:
    box.login = "admin"
    box.answer("*", "")
    text = "printf '%s\n' \"it's\" $'a\\tb' # c"
    m.run(text, user="app")
    m.run(["printf", text], user="app")
    assert box.commands == [text, shlex.join(["printf", text])]
