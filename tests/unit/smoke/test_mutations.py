"""What is found to be broken on a machine, what is chosen of it, and the lines that break it."""

from __future__ import annotations

import pytest

from bakery.cli.commands.mutate import KINDS as OFFERED
from bakery.smoke.mutations import KINDS, Mutation, candidates, chosen

FOUND = """\
service\tnginx.service
service\tssh.service
port\t22
port\t80
file\t/etc/it's a file
mode\t/etc/shadow
package\tnginx
package\topenssh-server
kernel\tconsole=ttyS0
clock\ttwo days ahead
dns\t/etc/resolv.conf
nonsense
other\tthing
file\t
"""


def test_what_would_cut_us_off_is_no_candidate_and_a_file_may_be_opened_as_well() -> None:
    assert [(each.kind, each.subject) for each in candidates(FOUND)] == [
        ("service", "nginx.service"),
        ("service", "ssh.service"),
        ("port", "80"),
        ("file", "/etc/it's a file"),
        ("mode", "/etc/it's a file"),
        ("mode", "/etc/shadow"),
        ("package", "nginx"),
        ("kernel", "console=ttyS0"),
        ("clock", "two days ahead"),
        ("dns", "/etc/resolv.conf"),
    ]


def test_of_each_kind_one_is_chosen_before_a_second() -> None:
    found = [Mutation("file", str(number)) for number in range(9)] + [Mutation("port", "80"), Mutation("port", "81")]
    kinds = [each.kind for each in chosen(found, (), 5)]
    assert kinds == ["port", "file", "port", "file", "file"]
    assert [each.subject for each in chosen(found, ("port",), 9)] == ["80", "81"]
    assert chosen(found, ("dns",), 9) == []


def test_the_command_line_offers_each_kind() -> None:
    assert OFFERED == KINDS


@pytest.mark.parametrize(
    ("kind", "subject", "part"),
    [
        ("service", "nginx.service", "systemctl disable --now nginx.service"),
        ("service", "ssh.service", "systemctl disable ssh.service"),
        ("file", "/etc/it's", """rm -f -- '/etc/it'"'"'s'"""),
        ("mode", "/etc/shadow", "chmod a+rw -- /etc/shadow"),
        ("package", "a;b", "dpkg --force-all --purge 'a;b'"),
        ("port", "8080", "port=$(printf %04X 8080)"),
        ("port", "8080", "pid=${pid%%/*}"),
        ("kernel", "console=ttyS0", "printf %s console=ttyS0"),
        ("clock", "two days ahead", "date +%s"),
        ("dns", "/etc/resolv.conf", "mount --bind"),
    ],
)
def test_each_is_broken_by_lines_that_quote_what_was_found(kind: str, subject: str, part: str) -> None:
    mutation = Mutation(kind, subject)  # type: ignore[arg-type]  # a literal
    assert part in mutation.script
    assert len(str(mutation)) > 10
    assert str(mutation) != str(Mutation("file", "x"))


def test_the_sentences_say_what_was_done() -> None:
    assert str(Mutation("service", "nginx.service")) == "the service nginx.service is disabled and stopped"
    assert str(Mutation("service", "ssh.service")) == "the service ssh.service is disabled"
    assert str(Mutation("dns", "/etc/resolv.conf")) == "no name server is known"
