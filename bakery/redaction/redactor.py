"""The redactor: takes the values of secrets, in all their forms, out of every text that leaves the process."""

from __future__ import annotations

import codecs
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

from bakery.redaction.encodings import forms
from bakery.redaction.secret import Secret

Span: TypeAlias = tuple[int, int, str]  # start, end, the secret's name

_BREAK = re.compile(r"[ \t]*\r?\n[ \t]*")
_SHORTEST_WRAPPED: Final = 8
_WRAP_FROM: Final = 16
"""Tools break encoded data at 60, 64 or 76 columns: a line whose last word is shorter does not go on."""
_MARK_TRIES: Final = 20
_MERGE: Final = 8
_PREFIX: Final = 6


@dataclass(frozen=True)
class _Named:
    """The forms of some values, each with its name."""

    values: int
    plain: dict[str, str]
    wrapped: dict[str, str]

    @classmethod
    def merged(cls, parts: Sequence[_Named]) -> _Named:
        """Return all secrets; what was known first keeps its name."""
        union = cls(sum(part.values for part in parts), {}, {})
        for part in reversed(parts):
            union.plain.update(part.plain)
            union.wrapped.update(part.wrapped)
        return union


class _EncodingGroup:
    """The same, prepared for the search."""

    def __init__(self, named: _Named) -> None:
        self.named, self.plain, self.wrapped = named, named.plain, named.wrapped
        cuts = {form[:cut] for form in self.plain for cut in _breaks(form)}
        self.begun = tuple(cut for cut in cuts if cut.strip())  # forms of several lines, cut behind each of them
        self.longest = max(map(len, self.plain), default=0)

    @cached_property
    def gate(self) -> re.Pattern[str]:
        """Matches wherever a form may begin; most lines end here. Made when first needed: keys come in groups."""
        return _gate(self.plain)


@dataclass(frozen=True)
class _Known:
    """All that is known so far; replaced as a whole, so that readers need no lock.

    Every machine brings keys of its own, and to prepare the search takes long. So values are in groups: whenever there
    are `_MERGE` of one size, they become one. A value is prepared a few times, a text searched for a few groups.
    """

    values: frozenset[tuple[str, str]] = frozenset()
    groups: tuple[_EncodingGroup, ...] = ()

    def plus(self, text: str, name: str) -> _Known:
        """Return what is known with one value more."""
        encodings = forms(text)
        wrapped = (form for form in encodings.wrapped if len(form) >= _SHORTEST_WRAPPED)
        new = _Named(1, dict.fromkeys(encodings.plain, name), dict.fromkeys(wrapped, name))
        kept = [*self.groups]
        while [group.named.values for group in kept[1 - _MERGE :]] == [new.values] * (_MERGE - 1):
            new = _Named.merged([*(group.named for group in kept[1 - _MERGE :]), new])
            del kept[1 - _MERGE :]
        return _Known(values=self.values | {(text, name)}, groups=(*kept, _EncodingGroup(new)))

    @property
    def longest(self) -> int:
        """The length of the longest form."""
        return max((group.longest for group in self.groups), default=0)

    def plain(self) -> Iterator[tuple[str, str]]:
        """Yield each form with its name."""
        for group in self.groups:
            yield from group.plain.items()

    def name(self, form: str) -> str:
        """Return what a form was called first, where two secrets have it."""
        return next(group.plain[form] for group in self.groups if form in group.plain)


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
            spans = list(self.spans(text))
            if not spans:
                return text
            text = self._replace(text, spans)
        return self._mark("")  # marks and what surrounds them keep forming a secret: show nothing of it

    def lines(self) -> LineBuffer:
        """Return a buffer that redacts a stream."""
        return LineBuffer(self)

    def patterns(self) -> list[tuple[str, bytes]]:
        """List all forms as bytes, each with the secret's name: what must not be found in a finished image."""
        return [(name, form.encode(errors="surrogatepass")) for form, name in self._known.plain()]

    def spans(self, text: str) -> Iterator[Span]:
        """Yield where secrets are: sorted, overlapping ones merged."""
        pending = sorted([*_plain(self._known, text), *_broken(self._known, text)])
        while pending:
            start, end, name = pending.pop(0)
            while pending and pending[0][0] < end:
                end = max(end, pending.pop(0)[1])
            yield start, end, name

    def open_end(self, text: str) -> int:
        """Return where the last secret begins that may go on after the end of `text`, else the text's length.

        Args:
            text: whole lines.
        """
        known = self._known
        starts: list[int] = []
        for group in known.groups:
            if text.endswith(group.begun):  # hardly ever, and quick to tell
                starts += [len(text) - len(begun) for begun in group.begun if text.endswith(begun)]
        return min([*starts, *_unfinished(known, text)], default=len(text))

    @property
    def longest(self) -> int:
        """The length of the longest known form, in characters."""
        return self._known.longest

    def _replace(self, text: str, spans: list[Span]) -> str:
        parts, at = list[str](), 0
        for start, end, name in spans:
            parts += [text[at:start], self._mark(name)]
            at = end
        return "".join([*parts, text[at:]])

    def _mark(self, name: str) -> str:
        """Return the text shown instead; a plainer one where the mark would tell (a secret called by its value)."""
        candidates = (f"[secret {name}]" if name else "[secret]", "[***]", "█")
        return next((mark for mark in candidates if not any(form in mark for form, _ in self._known.plain())), "")


def _gate(encodings: Iterable[str]) -> re.Pattern[str]:
    """Compile the beginnings of all forms, grouped by their first character: half as slow as a flat list."""
    groups: dict[str, set[str]] = {}
    for form in encodings:
        groups.setdefault(form[0], set()).add(re.escape(form[1:_PREFIX]))
    return re.compile("|".join(f"{re.escape(first)}(?:{'|'.join(rest)})" for first, rest in sorted(groups.items())))


def _plain(known: _Known, text: str) -> Iterator[Span]:
    for group in known.groups:
        if not group.gate.search(text):
            continue
        for form in group.plain:
            at = text.find(form)
            while at >= 0:
                yield at, at + len(form), known.name(form)
                at = text.find(form, at + 1)


def _broken(known: _Known, text: str) -> Iterator[Span]:
    """Find encodings that are broken into lines: look in the text without its line breaks."""
    if "\n" not in text.rstrip("\n"):
        return
    flat = _BREAK.sub("", text)
    for group in known.groups:
        if not group.wrapped or not group.gate.search(flat):
            continue
        joined, places = _join(text)
        for form in group.wrapped:
            at = joined.find(form)
            while at >= 0:
                yield places[at], places[at + len(form) - 1] + 1, known.name(form)
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
    """Yield where a form that has several lines can be cut behind a line."""
    return (at.end() for at in re.finditer("\n", form[:-1]))


def _unfinished(known: _Known, text: str) -> Iterator[int]:
    """Find encodings that begin in the last lines and may go on in the next one."""
    last = text.rstrip("\r\n").rpartition("\n")[2].split(" ")[-1].strip()
    if len(last) < _WRAP_FROM or not any(group.wrapped for group in known.groups):
        return
    offset = max(0, len(text) - 2 * known.longest)
    joined, places = _join(text[offset:])
    for form in (form for group in known.groups for form in group.wrapped):
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
