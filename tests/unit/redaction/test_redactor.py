"""No known secret passes the redactor, in any form, however its text is cut."""

from __future__ import annotations

import ast
import base64
import html
import json
import logging
import re
import shlex
import sys
import textwrap
import threading
from collections.abc import Callable, Iterable
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape, quoteattr

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from bakery.redaction import redactor
from bakery.redaction.logs import clean_record, guarded, traceback_text
from bakery.redaction.redactor import LineBuffer, Redactor
from bakery.redaction.secret import Secret

SECRET = "it's \"7<&>\\ $é/+"


def _b64(text: str, before: bytes = b"", after: bytes = b"") -> str:
    return base64.b64encode(before + text.encode() + after).decode()


ENCODINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda t: t,
    "shell": shlex.quote,
    "shell, single quotes escaped": lambda t: "'" + t.replace("'", "'\\''") + "'",
    "repr": repr,
    "ascii": ascii,
    "bytes": lambda t: repr(t.encode()),
    "repr beside other quotes": lambda t: repr(f"'{t}\""),
    "json": json.dumps,
    "json in json": lambda t: json.dumps(json.dumps({"a": t})),
    "json, unicode": lambda t: json.dumps(t, ensure_ascii=False),
    "html": html.escape,
    "html text": lambda t: html.escape(t, quote=False),
    "xml": escape,
    "xml attribute": quoteattr,
    "xml attribute, hexadecimal": lambda t: quoteattr(t).replace("&#10;", "&#xA;").replace("&#9;", "&#x9;"),
    "xml, all entities": lambda t: escape(t, {"'": "&apos;", '"': "&quot;"}),
    "url": quote,
    "url, all": lambda t: quote(t, safe=""),
    "form": quote_plus,
    "url, lower": lambda t: "".join(chr(b) if b < 128 and chr(b).isalnum() else f"%{b:02x}" for b in t.encode()),
    "base64": _b64,
    "base64, shifted": lambda t: _b64(t, b"x", b"yz"),
    "base64, shifted twice": lambda t: _b64(t, b"xx", b"y"),
    "base64, url-safe": lambda t: base64.urlsafe_b64encode(t.encode()).decode(),
    "base64 in a url": lambda t: quote(_b64(t), safe=""),
    "basic auth": lambda t: _b64(t, b"user:"),
    "hex": lambda t: t.encode().hex(),
    "hex, upper": lambda t: t.encode().hex().upper(),
}


def make(*values: str) -> Redactor:
    redact = Redactor()
    for number, value in enumerate(values):
        redact.add(Secret(value, f"s{number}"))
    return redact


def raise_it(text: str) -> None:
    raise ValueError(text)


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS.keys())
def test_every_encoding_is_found(encode: Callable[[str], str]) -> None:
    clean = make(SECRET)(f"before {encode(SECRET)} after")
    assert "[secret s0]" in clean
    assert "7" not in clean.replace("[secret s0]", "")
    assert clean.startswith("before ")
    assert clean.endswith(" after")


def test_text_without_secrets_is_untouched() -> None:
    assert make(SECRET)("Setting up nginx (1.22.1-9) ...\n") == "Setting up nginx (1.22.1-9) ...\n"


def test_a_redactor_that_knows_nothing_changes_nothing() -> None:
    assert Redactor()("anything\n") == "anything\n"


def test_derived_values_are_redacted_before_and_after_they_are_made() -> None:
    secret, redact = Secret("hunter2", "password"), Redactor()
    early = secret.map(str.upper)
    redact.add(secret)
    late = early.map(lambda text: text[::-1])
    assert redact(f"{early.reveal()} {late.reveal()}") == "[secret password] [secret password]"


def test_overlapping_secrets_leave_no_rest() -> None:
    assert make("abcdef", "defghijk")("<abcdefghijk>") == "<[secret s0]>"


def test_lines_of_a_long_secret_count_by_themselves() -> None:
    assert make("-----BEGIN KEY-----\nMIIEvQIBADAN\n-----END KEY-----\n")("  | MIIEvQIBADAN") == "  | [secret s0]"


@pytest.mark.parametrize("width", [64, 70, 75, 76])
def test_what_all_key_files_share_is_no_secret(width: int) -> None:
    def key() -> str:  # ssh-keygen's lines have 70 characters, those of cryptography 45 had 76
        private = Ed25519PrivateKey.generate()
        text = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
        begin, *lines, end = text.splitlines(keepends=True)
        return f"{begin}{textwrap.fill(''.join(lines).replace(chr(10), ''), width)}\n{end}"

    mine, other = key(), key()
    redact = make(mine)
    assert redact(other) == other
    assert not any(form in other.encode() for _, form in redact.patterns())
    assert redact(mine) == "[secret s0]"
    assert all("[secret s0]" in redact(line) for line in mine.splitlines()[2:-2])


def test_a_terminals_line_ends_do_not_hide_it() -> None:
    assert make("one\ntwo")("one\r\ntwo") == "[secret s0]"


@pytest.mark.parametrize("width", [60, 64, 76])
@pytest.mark.parametrize("before", range(0, 80, 7))
def test_encodings_broken_into_lines_are_found(width: int, before: int) -> None:
    secret = "a-rather-long-secret-value-that-is-broken"
    whole = _b64(secret, bytes(before), b"tail")
    lines = [whole[at : at + width] for at in range(0, len(whole), width)]
    clean = make(secret)("  " + "\n  ".join(lines) + "\n")
    assert "[secret s0]" in clean
    assert base64.b64encode(secret.encode())[4:20].decode() not in "".join(clean.split())


@pytest.mark.parametrize("name", ["secret", "hunter2", "***]"])
def test_a_mark_that_would_tell_the_value_is_not_used(name: str) -> None:
    redact = Redactor()
    redact.add(Secret(name, name))
    assert name not in redact(f"it is {name}.")


def test_patterns_are_what_a_finished_image_must_not_hold() -> None:
    patterns = make("hunter2").patterns()
    assert ("s0", b"hunter2") in patterns
    assert ("s0", b"hunter2".hex().encode()) in patterns
    assert all(len(form) >= 4 for _, form in patterns)


def test_chunks_become_whole_lines() -> None:
    buffer = LineBuffer(Redactor())
    assert [buffer.feed(chunk) for chunk in ("a", "b\nc", "d\n", "e")] == ["", "ab\n", "cd\n", ""]
    assert buffer.flush() == "e"


def test_characters_cut_in_two_are_put_together() -> None:
    buffer = LineBuffer(Redactor())
    assert buffer.feed("é".encode()[:1]) + buffer.feed("é\n".encode()[1:]) == "é\n"


def test_an_endless_line_is_handed_on_in_pieces() -> None:
    buffer = LineBuffer(make("hunter2hunter2"), limit=200)
    out = [buffer.feed("x" * 50 + "hunter2hunter2") for _ in range(20)]
    assert any(out)
    assert "hunter2" not in "".join([*out, buffer.flush()])


def test_a_secret_that_begins_with_an_empty_line_holds_nothing_back() -> None:
    buffer = LineBuffer(make("\none-one-one\ntwo"))
    assert [buffer.feed("a\n"), buffer.feed("\n"), buffer.feed("b\n")] == ["a\n", "\n", "b\n"]
    assert buffer.feed("\none-one-one\n") + buffer.feed("two\n") + buffer.flush() == "[secret s0]\n"


def test_a_line_is_not_held_back_without_reason() -> None:
    buffer = LineBuffer(make("one\ntwo\nthree-three-three"))
    assert buffer.feed("Unpacking nginx-common-with-a-long-name\n") == "Unpacking nginx-common-with-a-long-name\n"
    assert buffer.feed("one\n") == ""
    assert buffer.feed("four\n") == "one\nfour\n"


def test_breaks_in_an_xml_attribute_do_not_hide_a_secret() -> None:
    secret = "00\n\t0"
    for encode in ("xml attribute", "xml attribute, hexadecimal"):
        clean = make(secret)(f"<a b={ENCODINGS[encode](secret)}/>")
        assert clean == '<a b="[secret s0]"/>'


@st.composite
def _printed(draw: st.DrawFn) -> tuple[list[str], str, list[int]]:
    """Secrets, a text that holds them in many forms, and where it is cut."""
    # no surrogates: nothing prints them; no blanks at the ends: tools strip them
    alphabet = st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029\x1c\x1d\x1e\x0b\x0c\r")
    secrets = draw(st.lists(st.text(alphabet, min_size=4, max_size=90).filter(_usable), min_size=1, max_size=3))
    parts = []
    for _ in range(draw(st.integers(1, 6))):
        encode = draw(st.sampled_from(sorted(ENCODINGS)))
        parts.append(draw(st.text("ab \n'\"=+/", max_size=80)) + ENCODINGS[encode](draw(st.sampled_from(secrets))))
    text = "".join(parts) + draw(st.text("ab \n", max_size=5))
    return secrets, text, sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))


def _usable(text: str) -> bool:
    return len(text.strip()) >= 4 and not text.isspace()


@given(_printed())
def test_random_secrets_in_random_chunks_never_pass(case: tuple[list[str], str, list[int]]) -> None:
    secrets, text, cuts = case
    redact = make(*secrets)
    buffer = LineBuffer(redact, limit=300)
    chunks = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    shown = "".join(map(buffer.feed, chunks)) + buffer.flush()
    for secret in secrets:
        for name, encode in ENCODINGS.items():
            if len(encode(secret).strip("'\"=")) >= 8:
                assert encode(secret) not in shown, name
        assert secret not in shown
        assert secret.strip() not in shown


@given(
    st.text(st.characters(codec="utf-8"), min_size=4, max_size=90).filter(
        lambda text: len(text.strip().encode()) >= 12 and len(text.strip()) >= 4
    ),
    st.binary(max_size=90),
    st.sampled_from([60, 64, 76]),
    st.integers(1, 100),
)
def test_random_secrets_in_wrapped_base64_never_pass(secret: str, before: bytes, width: int, chunk: int) -> None:
    whole = base64.b64encode(before + secret.encode() + before).decode()
    wrapped = "".join(whole[at : at + width] + "\n" for at in range(0, len(whole), width))
    buffer = LineBuffer(make(secret))
    shown = "".join(buffer.feed(wrapped[at : at + chunk]) for at in range(0, len(wrapped), chunk)) + buffer.flush()
    shift = len(before) % 3
    core = base64.b64encode(bytes(shift) + secret.encode())[4 : (shift + len(secret.encode())) // 3 * 4].decode()
    assert core in whole
    assert core not in "".join(shown.split())


def test_log_records_are_clean_wherever_they_are_handled(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("some.library")
    with guarded(make("hunter2")), caplog.at_level(logging.DEBUG):
        try:
            raise_it("it was hunter2")
        except ValueError:
            log.exception("connecting with %s", "hunter2")
    assert caplog.messages == ["connecting with [secret s0]"]
    assert "hunter2" not in caplog.text
    assert "it was [secret s0]" in caplog.text


def test_a_log_call_with_wrong_arguments_does_not_fail() -> None:
    record = logging.LogRecord("x", logging.INFO, "f", 1, "%d %d", ("hunter2",), None)
    assert clean_record(record, make("hunter2")).getMessage() == "'%d %d' ('[secret s0]',)"


def test_everything_is_as_before_after_the_guard() -> None:
    before = logging.getLogRecordFactory(), sys.excepthook, threading.excepthook
    with guarded(str):
        assert sys.excepthook is not before[1]
    assert (logging.getLogRecordFactory(), sys.excepthook, threading.excepthook) == before


def test_pythons_own_tracebacks_are_clean(capsys: pytest.CaptureFixture[str]) -> None:
    with guarded(make("hunter2")):
        thread = threading.Thread(target=raise_it, args=("it was hunter2",))
        thread.start()
        thread.join()
        error = ValueError("and hunter2 again")
        sys.excepthook(ValueError, error, None)
    assert capsys.readouterr().err.count("[secret s0]") == 2


def test_tracebacks_are_clean_with_their_causes() -> None:
    error = ValueError("outer hunter2")
    error.__cause__ = KeyError("inner hunter2")
    shown = traceback_text(error, make("hunter2"))
    assert "hunter2" not in shown
    assert shown.count("[secret s0]") == 2


def test_python_literals_in_the_forms_mean_the_secret() -> None:
    assert ast.literal_eval(ENCODINGS["repr"](SECRET)) == SECRET


def test_of_many_secrets_each_is_found_and_keeps_the_name_it_had_first() -> None:
    redact = Redactor()
    values = [f"secret number {number * 7919:08}" for number in range(150)]
    for number, value in enumerate(values):
        redact.add(value, f"name{number}")
        redact.add(values[number // 2], "another name")
    for number, value in enumerate(values):
        assert redact(f"before {value} after\n") == f"before [secret name{number}] after\n"
        assert redact(f"{value.encode().hex()}\n") == f"[secret name{number}]\n"
    assert redact("nothing of that") == "nothing of that"


def test_secrets_are_prepared_a_few_times_each_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each machine of a run brings keys of its own: fifty builds may not take fifty times fifty."""
    prepared: list[int] = []
    gate = redactor._gate

    def counted(found: Iterable[str]) -> re.Pattern[str]:
        forms = list(found)
        prepared.append(len(forms))
        return gate(forms)

    monkeypatch.setattr(redactor, "_gate", counted)
    redact = Redactor()
    for number in range(300):
        redact.add(f"secret number {number}", "name")
        assert redact("nothing of it") == "nothing of it"
    forms = len(redact.patterns())
    assert forms < sum(prepared) < 4 * forms
