"""Every form in which a known value may turn up in a text: quoted, escaped, encoded, a line at a time."""

from __future__ import annotations

import base64
import json
import shlex
import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, quote_plus

SHORTEST: Final = 4
SHORTEST_LINE: Final = 8
"""A line of a secret counts by itself from this length on: a JSON file's `{` or `},` does not."""

_SHELL_SPECIAL = frozenset(" \t\n!\"#$&'()*,;<>?[\\]^`{|}~")
_UNRESERVED = frozenset(string.ascii_letters + string.digits)


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
        for inner in (part, json.dumps(part)[1:-1]):
            wrapped.update(_encoded(inner.encode(errors="surrogatepass")))
        plain.update(_escaped(part))
    plain.update([quote(form, safe="") for form in wrapped])  # base64 inside of a URL
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

    The first line of an unencrypted OpenSSH key holds only the words `openssh-key-v1`, `none` and the key's type.
    """
    return line.startswith(("-----BEGIN ", "-----END ", "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU"))


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
    yield "".join(f"\\{char}" if char in '\\"$`' else char for char in text)  # inside double quotes
    yield "".join(f"\\{char}" if char in '\\"$`!' else char for char in text)
    yield "".join(f"\\{char}" if char in _SHELL_SPECIAL else char for char in text)  # printf %q
    escapes = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\x1b": "\\E"}
    yield "".join(escapes.get(char, char) for char in text)  # bash's $'...'


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
    return "".join(form.format(ord(char)) if char in "\t\n\r" else char for char in text)


def _url(text: str) -> Iterator[str]:
    raw = text.encode(errors="surrogatepass")
    for safe in ("/", "", "!'()*~", "!'()*~;/?:@&=+$,#"):
        for encoded in (quote(raw, safe=safe), quote_plus(raw, safe=safe)):
            yield encoded
            yield _lower_hex(encoded)
    for pattern in ("%{:02X}", "%{:02x}"):
        yield "".join(chr(byte) if chr(byte) in _UNRESERVED else pattern.format(byte) for byte in raw)


def _lower_hex(encoded: str) -> str:
    head, *rest = encoded.split("%")
    return "%".join([head, *(part[:2].lower() + part[2:] for part in rest)])


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
