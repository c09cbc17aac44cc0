"""Every form in which a known value may turn up in a text: quoted, escaped, encoded, a line at a time."""

from __future__ import annotations

import base64
import json
import shlex
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

SHORTEST: Final = 4
SHORTEST_LINE: Final = 8
"""A line of a secret counts by itself from this length on: a JSON file's `{` or `},` does not."""
_PADDINGS: Final = tuple(
    base64.b64encode(bytes(48 + shift) + bytes(range(1, count + 1))).decode()
    for shift in range(3)
    for count in range(1, 8)
)
"""How an OpenSSH key may end, whoever wrote it and however long its lines are: the comment's length, which is 0, and
bytes that count from 1 up to a multiple of 8."""

_ALNUM = string.ascii_letters + string.digits
_UNRESERVED = frozenset(f"{_ALNUM}_.-~")
"""What `urllib.parse.quote` leaves as it is, whatever it is told."""


_URL: Final = tuple(
    (kept, form, blank)
    for form in ("%{:02X}", "%{:02x}")
    for kept, blank in (
        *((_UNRESERVED | frozenset(f"{safe} "), "+") for safe in ("/", "", "!'()*~", "!'()*~;/?:@&=+$,#")),
        *((_UNRESERVED | frozenset(safe), "") for safe in ("/", "", "!'()*~", "!'()*~;/?:@&=+$,#")),
        (frozenset(_ALNUM), ""),
    )
)
"""As many tools as there are, as many opinions: what stays as it is, how the rest is written, and a blank."""
_SHELL: Final = (
    {char: f"\\{char}" for char in '\\"$`'},  # inside double quotes
    {char: f"\\{char}" for char in '\\"$`!'},
    {char: f"\\{char}" for char in "\\ \t\n!\"#$&'()*,;<>?[]^`{|}~"},  # printf %q
    {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\x1b": "\\E"},  # bash's $'...'
)


@dataclass(frozen=True)
class Forms:
    """The forms of one value.

    Args:
        plain: they stand in a text as they are; some have several lines.
        wrapped: encodings (base64, hex) that tools break into lines anywhere.
    """

    plain: frozenset[str]
    wrapped: frozenset[str]


def forms(text: str) -> Forms:
    """List all forms of a value, those of its single lines included."""
    plain: set[str] = set()
    wrapped: set[str] = set()
    for part in _parts(text):
        for inner in {part, json.dumps(part)[1:-1]}:
            wrapped.update(_encoded(inner.encode(errors="surrogatepass")))
        plain.update(_escaped(part))
    plain.update([_percent(form, _UNRESERVED) for form in wrapped])  # base64 inside of a URL
    return Forms(_long_enough(plain | wrapped), _long_enough(wrapped))


def _long_enough(encodings: set[str]) -> frozenset[str]:
    return frozenset(form for form in encodings if len(form.strip()) >= SHORTEST)


def _parts(text: str) -> Iterator[str]:
    """Yield the value, the value as `$(...)` or `.strip()` leave it, and its lines."""
    yield text
    yield text.strip()
    lines = text.splitlines()
    if len(lines) > 1:
        yield from (line.strip() for line in lines if len(line.strip()) >= SHORTEST_LINE and not _common(line.strip()))


def _common(line: str) -> bool:
    """Say whether a line of a key file is the same in every other one, and therefore no secret.

    The first line of an unencrypted OpenSSH key holds only the words `openssh-key-v1`, `none` and the key's type; the
    last one, where the key has no comment, may hold nothing but padding.
    """
    if line.startswith(("-----BEGIN ", "-----END ", "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU")):
        return True
    return any(padding.endswith(line) for padding in _PADDINGS)


def _escaped(text: str) -> Iterator[str]:
    yield text
    yield text.replace("\n", "\r\n")  # as a terminal writes it
    yield from _shell(text)
    yield from _json(text)
    yield from _python(text)
    yield from _markup(text)
    yield from _url(text)


def _shell(text: str) -> Iterator[str]:
    yield shlex.quote(text)
    yield text.replace("'", "'\"'\"'")
    yield text.replace("'", "'\\''")
    for codes in _SHELL:
        yield _replaced(text, codes)


def _json(text: str) -> Iterator[str]:
    for ascii_only in (True, False):
        once = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield once
        yield once.replace("/", "\\/")  # PHP
        for char in "<>&'":
            once = once.replace(char, f"\\u{ord(char):04x}")  # Go, and templates
        yield once
        yield json.dumps(json.dumps(text, ensure_ascii=ascii_only), ensure_ascii=ascii_only)[3:-3]


def _python(text: str) -> Iterator[str]:
    yield repr(text)[1:-1]
    yield ascii(text)[1:-1]
    yield repr(text + "'\"")[1:-4]  # both quotes inside: the one is escaped
    yield repr(text + "'")[1:-2]
    yield repr(text.encode(errors="surrogatepass"))[2:-1]


def _markup(text: str) -> Iterator[str]:
    """As `html.escape` and `xml.sax.saxutils` write it: to load these two takes longer than all of this file."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for spaced in (escaped, _references(escaped, "&#{};"), _references(escaped, "&#x{:X};")):
        yield spaced
        for double in ("&quot;", "&#34;"):
            quoted = spaced.replace('"', double)
            yield quoted
            for single in ("&apos;", "&#39;", "&#x27;"):
                yield quoted.replace("'", single)


def _references(text: str, form: str) -> str:
    """Write what an attribute of XML would lose as character references: breaks and tabs become blanks there."""
    return _replaced(text, {char: form.format(ord(char)) for char in "\t\n\r"})


def _url(text: str) -> Iterator[str]:
    raw = text.encode(errors="surrogatepass").decode("latin-1")
    for kept, form, blank in _URL:
        encoded = _percent(raw, kept, form)
        yield encoded.replace(" ", blank) if blank else encoded


def _percent(text: str, kept: frozenset[str], form: str = "%{:02X}") -> str:
    """Write as `urllib.parse.quote` does, in microseconds: there are keys for each machine."""
    others = sorted(set(text) - kept)
    others.sort(key=lambda char: char != "%")  # it is in what stands for the others
    return _replaced(text, {char: form.format(ord(char)) for char in others})


def _replaced(text: str, codes: Mapping[str, str]) -> str:
    """Replace characters, one after the other: first the one that is in what stands for the others."""
    for char, code in codes.items():
        text = text.replace(char, code)
    return text


def _encoded(raw: bytes) -> Iterator[str]:
    """Base64 and hex; of base64 what stays the same wherever in a stream the value stands.

    A stream's neighbours change the characters at both ends: those are left out.
    """
    for shift in range(3):
        standard = base64.b64encode(bytes(shift) + raw).decode()
        first = (0, 2, 3)[shift]
        last = (shift + len(raw)) * 8 // 6
        core = standard[first:last]
        yield core
        yield core.replace("+", "-").replace("/", "_")
        if shift == 0:
            yield standard
    yield raw.hex()
    yield raw.hex().upper()
