"""AWS for tests, as far as no server is needed: which calls meet a fault, and calls that are repeated."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakery.testing.aws.proxy import Fault, Proxy
from bakery.testing.aws.server import Tokens


@pytest.mark.parametrize(
    ("fault", "calls", "hit"),
    [
        (Fault(action="RunInstances"), ["RunInstances", "RunInstances"], [True, False]),
        (Fault(action="RunInstances"), ["StopInstances", "RunInstances"], [False, True]),
        (Fault(action="Run"), ["RunInstances"], [False]),
        (Fault(action="Describe.*"), ["DescribeImages", "DescribeKeyPairs"], [True, False]),
        (
            Fault(action="Describe.*", times=2),
            ["DescribeImages", "RunInstances", "DescribeKeyPairs"],
            [True, False, True],
        ),
        (Fault(action=".*", times=-1), ["A", "B", "C"], [True, True, True]),
        (Fault(action=".*", times=0), ["A"], [False]),
        (Fault(action="A", after=2), ["A", "B", "A", "A", "A"], [False, False, False, True, False]),
    ],
)
def test_a_fault_meets_the_calls_that_it_names(fault: Fault, calls: list[str], hit: list[bool]) -> None:
    assert [fault.due(call) for call in calls] == hit
    assert fault.met == sum(hit)


@settings(max_examples=50)
@given(
    calls=st.lists(st.sampled_from(["A", "B"]), max_size=12),
    after=st.integers(0, 4),
    times=st.integers(-1, 4),
)
def test_a_fault_lets_some_through_and_then_hits_some(calls: list[str], after: int, times: int) -> None:
    fault = Fault(action="A", after=after, times=times)
    number, expected = 0, list[bool]()
    for call in calls:
        number += call == "A"
        expected.append(call == "A" and after < number <= (after + times if times >= 0 else 99))
    assert [fault.due(call) for call in calls] == expected


def test_a_proxy_counts_calls_keeps_what_was_asked_and_the_first_due_fault_counts() -> None:
    proxy = Proxy("http://127.0.0.1:1")
    try:
        first, second = Fault(action="RunInstances", kind="lose"), Fault(action="Run.*", times=-1)
        proxy.faults += [first, second]
        assert [proxy.meet("RunInstances", {"ImageId": number}) for number in "12"] == [first, second]
        assert proxy.meet("StopInstances", {}) is None
        assert proxy.calls == ["RunInstances", "RunInstances", "StopInstances"]
        assert proxy.asked == {"RunInstances": {"ImageId": "2"}, "StopInstances": {}}
    finally:
        proxy._server.server_close()


# ---- client tokens --------------------------------------------------------------------------------------------------

Reply = tuple[str, bytes]


class App:
    """A WSGI application that makes a new thing at each call."""

    def __init__(self, *statuses: str) -> None:
        self.bodies: list[bytes] = []
        self._statuses = list(statuses)

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        self.bodies.append(environ["wsgi.input"].read())
        start(self._statuses.pop(0) if self._statuses else "200 OK", [("X-Number", str(len(self.bodies)))])
        yield b"thing "
        yield str(len(self.bodies)).encode()


def ask(
    tokens: Tokens, form: dict[str, str], user: str = "me", kind: str = "application/x-www-form-urlencoded"
) -> Reply:
    body = urlencode(form).encode()
    credential = f"{user}/20261129/us-east-1/ec2/aws4_request"
    said: list[str] = []
    answer = tokens(
        {
            "CONTENT_TYPE": f"{kind}; charset=utf-8",
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_AUTHORIZATION": f"AWS4-HMAC-SHA256 Credential={credential}, Signature=0",
            "wsgi.input": io.BytesIO(body),
        },
        lambda status, headers, *_: said.extend((status, *(value for _, value in headers))),
    )
    whole = b"".join(answer)
    return said[0], whole


RUN = {"Action": "RunInstances", "ImageId": "ami-1"}


def test_a_repeated_call_gets_the_first_answer_and_makes_nothing() -> None:
    app = App()
    tokens = Tokens(app)
    replies = [ask(tokens, {**RUN, "ClientToken": "t"}) for _ in range(3)]
    assert replies == [("200 OK", b"thing 1")] * 3
    assert len(app.bodies) == 1
    assert b"ImageId=ami-1" in app.bodies[0]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({**RUN}, {**RUN}),
        ({**RUN, "ClientToken": "a"}, {**RUN, "ClientToken": "b"}),
        ({**RUN, "ClientToken": "a"}, {"Action": "CopyImage", "ClientToken": "a"}),
        ({**RUN, "ClientToken": "a", "DryRun": "true"}, {**RUN, "ClientToken": "a"}),
    ],
)
def test_another_call_is_another_thing(first: dict[str, str], second: dict[str, str]) -> None:
    tokens = Tokens(App())
    assert [ask(tokens, first)[1], ask(tokens, second)[1]] == [b"thing 1", b"thing 2"]


def test_another_account_may_use_the_same_token() -> None:
    tokens = Tokens(App())
    form = {**RUN, "ClientToken": "t"}
    assert [ask(tokens, form, user)[1] for user in ("me", "you", "me")] == [b"thing 1", b"thing 2", b"thing 1"]


def test_a_refused_call_may_be_repeated() -> None:
    tokens = Tokens(App("503 Busy", "200 OK"))
    form = {**RUN, "ClientToken": "t"}
    assert [ask(tokens, form) for _ in range(3)] == [
        ("503 Busy", b"thing 1"),
        ("200 OK", b"thing 2"),
        ("200 OK", b"thing 2"),
    ]


def test_what_is_no_form_is_handed_on_as_it_is() -> None:
    app = App()
    tokens = Tokens(app)
    form = {"Action": "X", "ClientToken": "t"}
    assert [ask(tokens, form, kind="application/json")[1] for _ in range(2)] == [b"thing 1", b"thing 2"]
    assert all(re.match(b"Action=X", body) for body in app.bodies)
