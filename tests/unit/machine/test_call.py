"""From a task's words to the machine's shell."""

from __future__ import annotations

import io
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakery.machine.command import BEGIN, LONGEST, Command, join_path, joined, quote_path
from bakery.machine.transport.sudo import sudo_refused

HOME = 'cd -- "$HOME" 2>/dev/null || cd /'
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


def test_a_string_runs_in_bash_where_there_is_one_and_in_sh_elsewhere() -> None:
    line, head = Command(command="echo $HOME").line("root")
    assert line.splitlines() == [
        BEGIN,
        HOME,
        "c='echo $HOME'",
        'command -v bash >/dev/null 2>&1 && exec bash -c "$c"',
        'exec sh -c "$c"',
    ]
    assert head == b""


def test_words_meet_no_shell() -> None:
    assert Command(command=("echo", "$HOME; reboot")).line("root") == (
        f"{BEGIN}\n{HOME}\nexec echo '$HOME; reboot'",
        b"",
    )


def test_prefixes_run_in_the_same_shell_as_the_command() -> None:
    line, _ = Command(command="pip list", prefixes=("source v/bin/activate", "export A=1")).line("root")
    assert line.splitlines()[2].startswith("c='source v/bin/activate && export A=1 && pip list'")


def test_words_with_a_prefix_stay_quoted() -> None:
    line, _ = Command(command=("echo", "a b"), prefixes=("true",)).line("root")
    assert shlex.split(line.splitlines()[2])[0] == "c=true && echo 'a b'"


def test_a_named_shell_is_taken() -> None:
    call = Command(command="echo", shell="/bin/zsh")  # noqa: S604  a name, not subprocess's switch
    assert call.line("root")[0].splitlines()[2] == "exec /bin/zsh -c echo"


def test_a_value_of_the_environment_is_in_no_argument_list() -> None:
    line, head = Command(command="true", env={"TOKEN": "s3cret"}).line("root")
    assert "s3cret" not in line
    assert b"export TOKEN=s3cret\n" in head


@given(value=TEXT)
def test_any_value_comes_through_the_prologue_whole(value: str) -> None:
    _, head = Command(command="true", env={"A": value}).line("root")
    lines, _, end = head.decode().rpartition("\nbakery-")
    assert shlex.split(lines, posix=True) == ["export", f"A={value}"]
    assert end.endswith("\n")


def test_a_command_with_input_begins_with_proof_of_it() -> None:
    line, head = Command(command="cat").line("root", reads=True)
    assert head.decode().strip() in line
    assert Command(command="cat").line("root") == ("\n".join([BEGIN, *line.splitlines()[-4:]]), b"")


def test_the_prologue_comes_before_the_commands_own_input() -> None:
    _, head = Command(command="cat", env={"A": "1"}).line("root")
    both = joined(head, io.BytesIO(b"mine"))
    assert not isinstance(both, bytes)
    assert both is not None
    assert both.read(9) + both.read(9) == head + b"mine"
    assert joined(head, None) == head
    assert joined(b"", None) is None
    assert joined(head, b"x") == head + b"x"


def test_another_user_is_become_by_what_the_machine_has() -> None:
    line, _ = Command(command="id", user="app").line("root")
    order = [line.index(word) for word in ("exec runuser -u app", "exec su -s /bin/sh app", "exec sudo -n -H -u app")]
    assert order == sorted(order)


def test_a_login_user_becomes_root_by_sudo_alone_and_never_waits_for_a_password() -> None:
    line, _ = Command(command="id").line("admin")
    assert "exec sudo -n -H -u root" in line
    assert "runuser" not in line


def test_the_login_user_needs_nothing_to_be_itself() -> None:
    line, _ = Command(command="id", user="admin").line("admin")
    assert "sudo" not in line


@pytest.mark.parametrize("user", ["", "a b", "root;reboot", "-u", "$(id)"])
def test_what_is_no_user_name_is_refused(user: str) -> None:
    with pytest.raises(ValueError, match="not a user name"):
        Command(command="id", user=user)


@pytest.mark.parametrize("name", ["", "A B", "1A", "A;id", "A=B"])
def test_what_is_no_variable_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not an environment variable"):
        Command(command="id", env={name: "1"})


def test_no_command_is_refused() -> None:
    with pytest.raises(TypeError, match="a string or a list of strings"):
        Command(command=())
    with pytest.raises(TypeError, match="a string or a list of strings"):
        Command(command=("sleep", 3))  # type: ignore[arg-type]  # what users do


def test_a_command_longer_than_a_kernel_takes_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"script\(\)"):
        Command(command="x" * LONGEST).line("root")


@pytest.mark.parametrize(
    ("path", "quoted"),
    [("/a b", "'/a b'"), ("~", "~"), ("~/a b", "~/'a b'"), ("~app/x", "~app/x"), ("~x;id", "'~x;id'"), ("$H", "'$H'")],
)
def test_a_path_is_quoted_but_home_stays_home(path: str, quoted: str) -> None:
    assert quote_path(path) == quoted


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ([], ""),
        (["/a"], "/a"),
        (["/a", "b"], "/a/b"),
        (["/a", "b/", "c"], "/a/b/c"),
        (["a", "/b"], "/b"),
        (["a", "~"], "~"),
    ],
)
def test_folders_nest_as_in_fabric(parts: list[str], whole: str) -> None:
    assert join_path(parts) == whole


@pytest.mark.parametrize(
    "stderr",
    [
        "sudo: a password is required\n",
        "sudo: sorry, you must have a tty to run sudo\n",
        "admin is not in the sudoers file.\n",
        "bakery: this machine has no sudo\n",
        "sudo: sh: command not found\n",
        "sudo: a terminal is required to read the password; either use ...\n",
    ],
)
def test_a_refusal_of_sudo_is_recognised(stderr: str) -> None:
    assert sudo_refused(stderr)


def test_other_errors_are_no_refusal_of_sudo() -> None:
    assert not sudo_refused("apt: a password is required by nobody\n")
