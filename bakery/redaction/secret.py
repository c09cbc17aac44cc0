"""`Secret`: a text that refuses to become text by accident."""

from __future__ import annotations

import hmac
import threading
from collections.abc import Callable
from typing import Any, Final, NoReturn

from bakery.errors import ImagefileError

SHORTEST: Final = 4
"""Shorter values cannot be kept out of a log without blacking out half of it."""

HOW = (
    "a secret does not become text: use .map(fn) to build on it (.map(lambda text: f'root:{text}')), hand it to the "
    "machine as input=, env= or write(), and call .reveal() only where the plain text is really needed"
)


def _check(text: object, complaint: str) -> None:
    """Users' code is not always type-checked."""
    if not isinstance(text, str):
        raise TypeError(complaint.format(type(text).__name__))


class _Family:
    """A secret and all that was derived from it, so that whoever redacts the one redacts the others too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._members: list[Secret] = []
        self._watchers: list[Callable[[Secret], None]] = []

    def join(self, member: Secret) -> None:
        with self._lock:
            self._members.append(member)
            watchers = list(self._watchers)
        for watcher in watchers:
            watcher(member)

    def watch(self, watcher: Callable[[Secret], None]) -> None:
        with self._lock:
            self._watchers.append(watcher)
            members = list(self._members)
        for member in members:
            watcher(member)


class Secret:
    """A value that must not be shown.

    It has no text form: `str()`, `format()`, f-strings, `+`, `%`, iteration, pickling and JSON raise `TypeError`.
    Printing one by accident is an error at that line, and never a password of asterisks on a machine.

    Args:
        text: the value; at least 4 characters, or empty.
        name: what logs show in its place: `[secret NAME]`.

    Raises:
        ImagefileError: the value has 1 to 3 characters: redacting it would black out unrelated text.
    """

    __slots__ = ("__weakref__", "_family", "_text", "name")

    def __init__(self, text: str, name: str = "") -> None:
        _check(text, "a Secret is made of a str, not of {}")
        if 0 < len(text.strip()) < SHORTEST:
            raise ImagefileError(
                f"the secret{f' {name}' if name else ''} is too short to be kept out of logs",
                why=f"it has {len(text.strip())} characters; {SHORTEST} are the least that can be found in a text",
                hint="use a longer value, or an ordinary variable if it is not confidential",
            )
        self._text = text
        self.name = name
        self._family = _Family()
        self._family.join(self)

    def map(self, fn: Callable[[str], str]) -> Secret:
        """Derive another secret: `fn` gets the plain text and returns a new one, which is redacted as well.

        Raises:
            TypeError: `fn` returned something else than a `str`.
            ImagefileError: the result is shorter than 4 characters.
        """
        text = fn(self._text)
        _check(text, "the function given to Secret.map must return a str, not {}")
        derived = Secret(text, self.name)
        derived._family = self._family
        self._family.join(derived)
        return derived

    def reveal(self) -> str:
        """Return the plain text. The one way out; easy to find with grep."""
        return self._text

    def watch(self, watcher: Callable[[Secret], None]) -> None:
        """Call `watcher` with this secret and with every one derived from it or beside it, now and later."""
        self._family.watch(watcher)

    def __repr__(self) -> str:
        """Show the name: `Secret('admin_password')`."""
        return f"Secret({self.name!r})"

    def __bool__(self) -> bool:
        """Say whether the value is set, that is, not empty."""
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        """Compare two secrets, in constant time. A secret never equals a plain text."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._bytes(), other._bytes())

    def __hash__(self) -> int:
        """Agree with `==`. Python's own keyed hash, with a new key in every process."""
        return hash((Secret, self._text))

    def __copy__(self) -> Secret:
        """Itself: it never changes."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        """Itself: it never changes."""
        return self

    def _bytes(self) -> bytes:
        return self._text.encode(errors="surrogatepass")

    def _refuse(self, *_: object) -> NoReturn:
        raise TypeError(f"{self!r}: {HOW}")

    # Each of these is a way in which a secret would quietly end in a text.
    __str__ = __format__ = __bytes__ = __fspath__ = _refuse
    __add__ = __radd__ = __mul__ = __rmul__ = __mod__ = __rmod__ = _refuse
    __len__ = __iter__ = __contains__ = __getitem__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __reduce_ex__ = __reduce__ = __getstate__ = _refuse
