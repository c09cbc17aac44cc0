"""An account's API in memory, under the real botocore, and the right to make things in it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name
from botocore.awsrequest import AWSResponse

from bakery.drivers.ec2.api.account import Ec2Account, Ec2Cloud
from bakery.state.claim import Claim
from bakery.state.ssh_keys import make_keys
from bakery.testing.contract import RecordingLedger
from bakery.util.waiting import Cancel


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Ec2Cloud:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    return Ec2Cloud(Ec2Account(region="eu-west-1", poll=0.01))


@pytest.fixture
def claim(tmp_path: Path) -> Claim:
    return Claim(
        cache=tmp_path,
        run="r",
        build="web@aws",
        role="image",
        name="bakery-r-1",
        folder=tmp_path,
        images=tmp_path,
        keys=make_keys("test"),
        tags={},
        ledger=RecordingLedger(),
        driver="ec2",
    )


class Aws:
    """The API's end: botocore checks and sends each request, and is given these answers in place of a connection's.

    `asked` are the requests: the operation in boto3's spelling, and its parameters. An operation without an answer gets
    an empty one.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._answers: dict[str, list[Any]] = {}

    def answer(self, operation: str, *answers: Any) -> None:
        """Give an operation these answers, one after the other; the last one stays. A text is the code of a refusal."""
        self._answers[operation] = list(answers)

    def requests(self, operation: str) -> list[dict[str, Any]]:
        """Return the parameters of each request of an operation."""
        return [parameters for name, parameters in self.asked if name == operation]

    def plug(self, client: Any) -> None:
        """Listen to a client."""
        client.meta.events.register("provide-client-params.*.*", self._note)
        client.meta.events.register("before-call.*.*", self._reply)

    def _note(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self.asked.append((xform_name(model.name), copy.deepcopy(params)))

    def _reply(self, model: Any, **_: Any) -> tuple[Any, Any]:
        answers = self._answers.get(xform_name(model.name), [{}])
        said = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(said, Exception):
            raise said
        if callable(said):
            said = said(self.asked[-1][1])
        if isinstance(said, str):
            code, message = said.partition(": ")[::2]
            status = 500 if code in {"InternalError", "InsufficientInstanceCapacity"} else 400
            error = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
            return AWSResponse("", status, {}, None), error
        return AWSResponse("", 200, {}, None), copy.deepcopy(said)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Aws:
    """An account's API in memory; every `Ec2Cloud` made afterwards speaks to it."""
    aws = Aws()
    client = Ec2Cloud.client
    plugged: set[int] = set()

    def plug(self: Ec2Cloud, service: str, *, once: bool = False) -> Any:
        made = client(self, service, once=once)
        if id(made) not in plugged:
            plugged.add(id(made))
            aws.plug(made)
        return made

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setattr(Ec2Cloud, "client", plug)
    # The pauses between two attempts are tested by `retry` itself.
    monkeypatch.setattr(Cancel, "sleep", lambda self, _: self.check())
    return aws


@pytest.fixture
def account(aws: Aws) -> Ec2Cloud:
    """Return an account whose API is `aws`."""
    del aws
    return Ec2Cloud(Ec2Account(region="eu-west-1", poll=0.0))
