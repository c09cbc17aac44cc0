"""Shell assignments, read without a shell: what is understood, and what is passed over and said.

tests/contract compares the same with a shell.
"""

from __future__ import annotations

import pytest

from bakery.disk.shell_settings import ShellSettings


def read(*texts: str) -> ShellSettings:
    return ShellSettings.read((f"file{number}", text) for number, text in enumerate(texts))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('A=""\n', ""),
        ("A=plain # a comment behind it\n", "plain"),
        ("A=with#no-comment\n", "with#no-comment"),
        ("A='single $B \\ \"quoted\"'\n", 'single $B \\ "quoted"'),
        ('A="x\\"y\\$z\\\\w\\q"\n', 'x"y$z\\w\\q'),
        ("A=a\\ b\\\nc\n", "a bc"),
        ('A="over \\\ntwo lines"\n', "over two lines"),
        ('A="over\ntwo lines"\n', "over\ntwo lines"),
        ("A=x\"y z\"'w'$B${B}\n", "xy zw"),
        ('A="a $ b"\n', "a $ b"),
        ("A=$\n", "$"),
        ('A="last line without end"', "last line without end"),
        ("\n\n#A=1\nA=2\n", "2"),
        ("  A=indented\n", "indented"),
        ("A=1;B=2 ; # end\n", "1"),
        ("A=1\nA=2\n", "2"),
        ("export A=1\n", "1"),
        ("A=1\nexport A B\n", "1"),
        (": ${A:=given}\n", "given"),
        ("A=own\n: ${A:=given}\n", "own"),
    ],
)
def test_an_assignment_is_read_as_a_shell_reads_it(text: str, value: str) -> None:
    settings = read(text)
    assert (settings.values["A"], settings.unread) == (value, [])


@pytest.mark.parametrize(
    ("word", "unset", "empty", "full"),
    [
        ("$B", "", "", "x"),
        ("${B}", "", "", "x"),
        ("${B:-word}", "word", "word", "x"),
        ("${B-word}", "word", "", "x"),
        ("${B:+word}", "", "", "word"),
        ("${B+word}", "", "word", "word"),
        ("${B:=word}", "word", "word", "x"),
        ("${B=word}", "word", "", "x"),
        ('${B:-"a b"}', "a b", "a b", "x"),
        ("${B:-${C:-deep}}", "deep", "deep", "x"),
    ],
)
def test_a_variable_that_is_not_set_and_one_that_is_empty_differ_where_they_do_in_a_shell(
    word: str, unset: str, empty: str, full: str
) -> None:
    for before, expected in (("", unset), ("B=\n", empty), ("B=x\n", full)):
        assert read(f'{before}A="{word}"\n').values["A"] == expected


def test_a_default_that_is_taken_is_assigned() -> None:
    assert read('A="${B:=word}"\n').values == {"A": "word", "B": "word"}


def test_several_files_are_one_after_another() -> None:
    assert read("A=1\nB=$A\n", "A=$B$B\n").values == {"A": "11", "B": "1"}


@pytest.mark.parametrize(
    ("text", "values", "unread"),
    [
        ("A=`hostname`\nB=1\n", {"B": "1"}, ["file0:1: A=`hostname`"]),
        ('A="$(hostname)"\n', {}, ['file0:1: A="$(hostname)"']),
        ("A=1 true\n", {}, ["file0:1: A=1 true"]),
        ("A=1 && B=2\n", {}, ["file0:1: A=1 && B=2"]),
        ("echo A=1 >&2\n", {}, ["file0:1: echo A=1 >&2"]),
        ("B=1\n. /etc/other\n", {"B": "1"}, ["file0:2: . /etc/other"]),
        ('A="${A%%x}"\n', {}, ['file0:1: A="${A%%x}"']),
        ("A='never ends\n", {}, ["file0:1: A='never ends"]),
        ('A="never ends\n', {}, ['file0:1: A="never ends']),
        ("A=${B:-never\n", {}, ["file0:1: A=${B:-never"]),
        ("A=$1\n", {}, ["file0:1: A=$1"]),
        ("export true A\n", {}, None),
    ],
)
def test_everything_else_is_passed_over_and_said(text: str, values: dict[str, str], unread: list[str] | None) -> None:
    settings = read(text)
    assert settings.values == values
    assert unread is None or settings.unread == unread


def test_what_stands_in_a_condition_may_not_happen_and_is_not_taken() -> None:
    settings = read("if true; then\n  A=1\nfi\nB=2\ncase x in\n  x) A=1 ;;\nesac\nC=3\n{ A=1; }\nD=4\n")
    assert settings.values == {"B": "2", "C": "3", "D": "4"}
    assert settings.unread[:3] == ["file0:1: if true; then", "file0:2: A=1", "file0:3: fi"]


def test_of_a_command_that_says_more_nothing_is_kept() -> None:
    assert read("A=1 B=2 true\n").values == {}
