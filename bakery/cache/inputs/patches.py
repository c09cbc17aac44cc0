"""Watching what Python's audit hooks do not tell: `os.stat`, `os.environ`, new threads. Only while a step runs."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any


class Observer(ABC):
    """Whoever is told."""

    @abstractmethod
    def stat(self, path: Any) -> None:
        """Somebody asked for a file's size, date or existence."""

    @abstractmethod
    def environment(self, name: str | None) -> None:
        """Somebody asked for an environment variable, or for all of them (None)."""

    @abstractmethod
    def follow(self, run: Callable[[], None]) -> Callable[[], None]:
        """Return a function that does the same in a new thread, where it is watched, too."""


_Who = Callable[[], Observer | None]


class _Environment(dict[Any, Any]):
    """The dictionary inside `os.environ`, telling who reads it."""

    def __init__(self, data: dict[Any, Any], who: _Who) -> None:
        super().__init__(data)
        self._who = who

    def __getitem__(self, key: Any) -> Any:
        if (watch := self._who()) is not None:
            watch.environment(os.fsdecode(key))
        return super().__getitem__(key)

    def __iter__(self) -> Iterator[Any]:
        if (watch := self._who()) is not None:
            watch.environment(None)
        return super().__iter__()


class _Patch:
    """All watches, put in place by the first who needs them and taken away by the last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._undo: list[Callable[[], None]] = []

    def add(self, who: _Who) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._undo = [_watch_stat(who), _watch_environ(who), _watch_threads(who)]

    def remove(self) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                for undo in self._undo:
                    undo()


@cache
def _patch() -> _Patch:
    return _Patch()


@contextmanager
def watching(who: _Who) -> Generator[None]:
    """Tell `who()` of each `os.stat`, look into `os.environ` and new thread while the block runs.

    Args:
        who: returns the watch of the calling thread, or None; the same function for all callers.
    """
    _patch().add(who)
    try:
        yield
    finally:
        _patch().remove()


def _watch_stat(who: _Who) -> Callable[[], None]:
    plain = os.stat

    @wraps(plain)
    def stat(path: Any, *args: Any, **kwargs: Any) -> os.stat_result:
        if (watch := who()) is not None:
            watch.stat(path)
        return plain(path, *args, **kwargs)

    features = [known for known in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks) if plain in known]
    for known in features:
        known.add(stat)
    os.stat = stat

    def undo() -> None:
        os.stat = plain
        for known in features:
            known.discard(stat)

    return undo


def _watch_environ(who: _Who) -> Callable[[], None]:
    """`os.environ` and `os.environb` share one plain dictionary; its `_data` has had this name since Python 3.0."""
    both: list[Any] = [os.environ, *([os.environb] if hasattr(os, "environb") else [])]
    plain: dict[Any, Any] = os.environ._data  # type: ignore[attr-defined]  # noqa: SLF001  there is no public way
    watched = _Environment(plain, who)
    for environ in both:
        environ._data = watched  # noqa: SLF001  the same

    def undo() -> None:
        plain.clear()
        plain.update(dict.items(watched))
        for environ in both:
            environ._data = plain  # noqa: SLF001  the same

    return undo


def _watch_threads(who: _Who) -> Callable[[], None]:
    plain = threading.Thread.start

    @wraps(plain)
    def start(self: threading.Thread) -> None:
        if (watch := who()) is not None:
            self.run = watch.follow(self.run)  # type: ignore[method-assign]  # what the new thread will call
        plain(self)

    threading.Thread.start = start  # type: ignore[method-assign]  # taken back below

    def undo() -> None:
        threading.Thread.start = plain  # type: ignore[method-assign]  # the same

    return undo
