"""The redactor: takes the values of secrets, in all their forms, out of every text that leaves the process."""

from __future__ import annotations

import codecs
import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from bakery._forms import forms
from bakery._secret import Secret

Span: TypeAlias = tuple[int, int, str]  # start, end, the secret's name

_BREAK = re.compile(r"[ \t]*\r?\n[ \t]*")
_SHORTEST_WRAPPED: Final = 8
_WRAP_FROM: Final = 16
"""Tools break encoded data at 60, 64 or 76 columns: a line whose last word is shorter does not go on."""
_MARK_TRIES: Final = 20
_PREFIX: Final = 6
_NEVER: Final = re.compile(r"(?!)")


@dataclass(frozen=True)
class _Known:
    """All that is known so far; replaced as a whole, so that readers need no lock."""

    values: frozenset[tuple[str, str]] = frozenset()
    plain: dict[str, str] = field(default_factory=dict[str, str])
    wrapped: dict[str, str] = field(default_factory=dict[str, str])
    begun: tuple[str, ...] = ()  # forms of several lines, cut behind each of their lines
    longest: int = 0
    gate: re.Pattern[str] = _NEVER  # matches wherever a form may begin; most lines end here

    def plus(self, text: str, name: str) -> _Known:
        """The same and one value more."""
        found = forms(text)
        plain = {**dict.fromkeys(found.plain, name), **self.plain}
        wrapped = dict.fromkeys((form for form in found.wrapped if len(form) >= _SHORTEST_WRAPPED), name)
        plain = dict(sorted(plain.items(), key=lambda item: -len(item[0])))
        return _Known(
            values=self.values | {(text, name)},
            plain=plain,
            wrapped={**wrapped, **self.wrapped},
            begun=tuple({form[:cut] for form in plain for cut in _breaks(form) if form[:cut].strip()}),
            longest=max(map(len, plain), default=0),
            gate=_gate(plain),
        )


class Redactor:
    """Replaces every known secret, in every form in which it may appear, by `[secret NAME]`.

    Safe to use from several threads. Known forms: as it is; quoted for a shell, Python, JSON, XML, HTML; URL-encoded;
    base64 and hex, also broken into lines; each longer line of a value that has several.
    """

    def __init__(self) -> None:
        self._known = _Known()
        self._lock = threading.Lock()

    def add(self, secret: Secret | str, name: str = "") -> None:
        """Redact this secret from now on, and whatever is derived from it by `map`. Adding twice is harmless."""
        if isinstance(secret, Secret):
            secret.watch(lambda member: self._learn(member.reveal(), name or member.name))
        else:
            self._learn(secret, name)

    def _learn(self, text: str, name: str) -> None:
        with self._lock:
            if text.strip() and (text, name) not in self._known.values:
                self._known = self._known.plus(text, name)

    def __call__(self, text: str) -> str:
        """Return the text without any secret."""
        for _ in range(_MARK_TRIES):
            found = list(self.spans(text))
            if not found:
                return text
            text = self._replace(text, found)
        return self._mark("")  # marks and what surrounds them keep forming a secret: show nothing of it

    def lines(self) -> LineBuffer:
        """Return a buffer that redacts a stream."""
        return LineBuffer(self)

    def patterns(self) -> list[tuple[str, bytes]]:
        """List all forms as bytes, each with the secret's name: what must not be found in a finished image."""
        return [(name, form.encode(errors="surrogatepass")) for form, name in self._known.plain.items()]

    def spans(self, text: str) -> Iterator[Span]:
        """Yield where secrets are: sorted, overlapping ones merged."""
        found = sorted([*_plain(self._known, text), *_broken(self._known, text)])
        while found:
            start, end, name = found.pop(0)
            while found and found[0][0] < end:
                end = max(end, found.pop(0)[1])
            yield start, end, name

    def open_end(self, text: str) -> int:
        """Return where the last secret begins that may go on after the end of `text`, else the text's length.

        Args:
            text: whole lines.
        """
        known = self._known
        starts: list[int] = []
        if text.endswith(known.begun):  # hardly ever, and quick to tell
            starts = [len(text) - len(begun) for begun in known.begun if text.endswith(begun)]
        return min([*starts, *_unfinished(known, text)], default=len(text))

    @property
    def longest(self) -> int:
        """The length of the longest known form, in characters."""
        return self._known.longest

    def _replace(self, text: str, found: list[Span]) -> str:
        parts, at = list[str](), 0
        for start, end, name in found:
            parts += [text[at:start], self._mark(name)]
            at = end
        return "".join([*parts, text[at:]])

    def _mark(self, name: str) -> str:
        """The text shown instead; a plainer one where the mark itself would tell (a secret called by its value)."""
        candidates = (f"[secret {name}]" if name else "[secret]", "[***]", "█")
        return next((mark for mark in candidates if not any(form in mark for form in self._known.plain)), "")


def _gate(found: Iterable[str]) -> re.Pattern[str]:
    """Compile the beginnings of all forms, grouped by their first character: half as slow as a flat list."""
    groups: dict[str, set[str]] = {}
    for form in found:
        groups.setdefault(form[0], set()).add(re.escape(form[1:_PREFIX]))
    return re.compile("|".join(f"{re.escape(first)}(?:{'|'.join(rest)})" for first, rest in sorted(groups.items())))


def _plain(known: _Known, text: str) -> Iterator[Span]:
    if not known.gate.search(text):
        return
    for form, name in known.plain.items():
        at = text.find(form)
        while at >= 0:
            yield at, at + len(form), name
            at = text.find(form, at + 1)


def _broken(known: _Known, text: str) -> Iterator[Span]:
    """Find encodings that are broken into lines: look in the text without its line breaks."""
    if "\n" not in text.rstrip("\n") or not known.wrapped:
        return
    if not known.gate.search(_BREAK.sub("", text)):
        return
    joined, places = _join(text)
    for form, name in known.wrapped.items():
        at = joined.find(form)
        while at >= 0:
            yield places[at], places[at + len(form) - 1] + 1, name
            at = joined.find(form, at + 1)


def _join(text: str) -> tuple[str, list[int]]:
    """Remove line breaks and the blanks around them; also say where each character was."""
    kept, places, at = list[str](), list[int](), 0
    for gap in [*_BREAK.finditer(text), None]:
        start, end = gap.span() if gap else (len(text), len(text))
        kept.append(text[at:start])
        places.extend(range(at, start))
        at = end
    return "".join(kept), places


def _breaks(form: str) -> Iterator[int]:
    """Where a form that has several lines can be cut behind a line."""
    return (at + 1 for at, char in enumerate(form[:-1]) if char == "\n")


def _unfinished(known: _Known, text: str) -> Iterator[int]:
    """Find encodings that begin in the last lines and may go on in the next one."""
    last = text.rstrip("\r\n").rpartition("\n")[2].split(" ")[-1].strip()
    if not known.wrapped or len(last) < _WRAP_FROM:
        return
    offset = max(0, len(text) - 2 * known.longest)
    joined, places = _join(text[offset:])
    for form in known.wrapped:
        at = joined.find(form[0], max(0, len(joined) - len(form) + 1))
        while at >= 0:
            if form.startswith(joined[at:]):
                yield offset + places[at]
                break
            at = joined.find(form[0], at + 1)


class LineBuffer:
    """Turns chunks, cut anywhere, into redacted text of whole lines.

    A line is held back only while it may be the beginning of a secret that has several. Not for several threads.

    Args:
        redact: what knows the secrets.
        limit: characters; a longer line is handed on in pieces, none of which cuts a secret.
    """

    def __init__(self, redact: Redactor, limit: int = 65536) -> None:
        self._redact = redact
        self._limit = limit
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._text = ""

    def feed(self, chunk: bytes | str) -> str:
        """Take a chunk and return what can be shown by now: whole lines, or nothing."""
        more = chunk if isinstance(chunk, str) else self._decoder.decode(chunk)
        self._text += more
        if "\n" not in more and len(self._text) <= self._limit:
            return ""
        cut = self._text.rfind("\n") + 1
        cut = self._text.rfind("\n", 0, self._redact.open_end(self._text[:cut])) + 1 if cut else 0
        return self._take(cut)

    def flush(self) -> str:
        """Return what is left; nothing more will come."""
        self._text += self._decoder.decode(b"", final=True)
        rest, self._text = self._text, ""
        return self._redact(rest)

    def _take(self, cut: int) -> str:
        """Hand on all before `cut`, or more of a text that is longer than the limit; never half of a secret."""
        overlong = len(self._text) - cut > self._limit
        if overlong:
            cut = max(cut, len(self._text) - 2 * self._redact.longest)
        for start, end, _ in reversed(list(self._redact.spans(self._text))):
            if start < cut < end:
                cut = end if overlong else self._text.rfind("\n", 0, start) + 1
        ready, self._text = self._text[:cut], self._text[cut:]
        return self._redact(ready)
