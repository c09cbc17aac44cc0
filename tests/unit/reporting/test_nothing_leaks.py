"""Whatever a run says, and in whatever form: no reporter ever writes a secret."""

from __future__ import annotations

import base64
import io
import json
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from bakery.redaction.redactor import Redactor
from bakery.redaction.secret import Secret
from bakery.reporting.bus import Bus, Reporter
from bakery.reporting.github import GitHub
from bakery.reporting.html import Html
from bakery.reporting.jsonl import JsonFile, JsonLines
from bakery.reporting.junit import JUnit
from bakery.reporting.plain import Log
from bakery.reporting.terminal import Terminal

from .story import story

FORMS: tuple[Callable[[str], str], ...] = (
    str,
    shlex.quote,
    json.dumps,
    repr,
    lambda t: quote(t, safe=""),
    lambda t: t.encode().hex(),
    lambda t: base64.b64encode(t.encode()).decode(),
    lambda t: base64.b64encode(b"u:" + t.encode()).decode(),
)


@settings(deadline=None, max_examples=40)
@given(
    st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=4, max_size=60).map(
        "q7Zx{}".format
    ),  # no word of a format
    st.sampled_from(FORMS),
    st.sampled_from(["{}", "the password is {}.", "line\n{}\nline", "a={}&b={}"]),
)
def test_no_reporter_ever_writes_a_secret(secret: str, form: Callable[[str], str], frame: str) -> None:
    redact = Redactor()
    redact.add(Secret(secret, "pw"))
    with tempfile.TemporaryDirectory() as folder:
        streams = [io.StringIO() for _ in range(4)]
        bus = Bus("run", redact)
        for reader in _readers(streams):
            bus.add(reader)
        for event in story(folder, frame.replace("{}", form(secret))):
            bus.emit(event)
        bus.close()
        written = [stream.getvalue() for stream in streams]
        written += [path.read_text() for path in sorted(Path(folder).iterdir())]
    assert len(written) == 7
    for text in written:
        assert "[secret pw]" in text
        for known in FORMS:
            assert known(secret) not in text


def _readers(streams: list[io.StringIO]) -> list[Reporter]:
    return [
        Terminal(Console(file=streams[0], width=4000), "verbose"),
        Log(streams[1], "verbose"),
        GitHub(streams[2], "verbose"),
        JsonLines(streams[3]),
        JsonFile(),
        JUnit(),
        Html(),
    ]
