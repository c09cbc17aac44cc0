"""Values as data that is equal for equal values, in every process; or a clear no."""

from __future__ import annotations

import copyreg
import functools
import re
import threading
import types
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path, PurePath
from typing import Any

from bakery.cache.inputs.digest import Keyed
from bakery.model import Json
from bakery.redaction.secret import Secret

LONGEST = 60
MOST_BITS = 14_000
MARK = "__bakery__"
_LOOKS_SECRET = re.compile(r"pass|secret|token|cred|key", re.IGNORECASE)
_CALLABLES = (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type)
_CACHED = type(functools.lru_cache(len))
_LOCKS = (type(threading.Lock()), type(threading.RLock()), threading.local)
_SLOTS = (
    types.MemberDescriptorType,
    types.GetSetDescriptorType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
)


class Unstable(Exception):  # noqa: N818  a finding, not a fault
    """The value cannot be compared with itself in another process."""


def shown(name: str, value: object) -> str:
    """Return a short text of a plain value, for `bake why`; empty where it is long, or may be confidential."""
    if _LOOKS_SECRET.search(name):
        return ""
    if isinstance(value, PurePath):
        return repr(str(value))
    if _is_huge(value):
        return ""
    plain = value is None or isinstance(value, (bool, int, float, str))
    if not plain and not (isinstance(value, (list, tuple)) and all(shown("", item) for item in value)):
        return ""
    text = repr(value)
    return text if len(text) <= LONGEST else ""


def _is_huge(value: object) -> bool:
    """Say whether a number has more digits than Python writes as a decimal: 4300, `sys.set_int_max_str_digits`."""
    return isinstance(value, int) and value.bit_length() > MOST_BITS


class Values:
    """Turns values into JSON data.

    Args:
        keyed: digests secrets.
        root: the imagefile's folder: a path inside is the same in every checkout.
        reference: what stands for a function, a class or a module.
    """

    def __init__(self, keyed: Keyed, root: Path, reference: Callable[[Any], Json]) -> None:
        self._keyed = keyed
        self._root = root
        self._reference = reference
        self._open: list[int] = []

    def form(self, value: Any) -> Json:
        """Return the data.

        Raises:
            Unstable: an open file, a connection, a generator, ...
        """
        match value:
            case None | bool() | int() | str() if type(value) in (type(None), bool, int, str):
                return [type(value).__name__, hex(value) if isinstance(value, int) and _is_huge(value) else str(value)]
            case Secret():
                return ["secret", self._keyed(value.reveal())]
            case float() | complex() | range() | slice():
                return [type(value).__name__, repr(value)]
            case bytes() | bytearray():
                return [type(value).__name__, value.hex()]
            case PurePath() if value.is_relative_to(self._root):
                return ["path", "inside", str(value.relative_to(self._root))]
            case PurePath():
                return ["path", str(value)]
            case _:
                return self._other(value)

    def _other(self, value: Any) -> Json:
        bound = getattr(value, "__self__", None)
        if isinstance(value, _CALLABLES) and (bound is None or isinstance(bound, types.ModuleType)):
            return self._reference(value)
        if id(value) in self._open:
            return ["again", len(self._open) - self._open.index(id(value))]
        self._open.append(id(value))
        try:
            return self._compound(value)
        finally:
            self._open.pop()

    def _compound(self, value: Any) -> Json:
        match value:
            case Enum():
                return ["enum", self._reference(type(value)), value.name]
            case list() | tuple() if type(value) in (list, tuple):
                return [type(value).__name__, [self.form(item) for item in value]]
            case set() | frozenset() if type(value) in (set, frozenset):
                return [type(value).__name__, sorted((self.form(item) for item in value), key=repr)]
            case dict() | types.MappingProxyType() if type(value) in (dict, types.MappingProxyType):
                return self._mapping(value)
            case types.GenericAlias() | types.UnionType():
                return ["type", repr(value)]
            case _:
                pass
        if isinstance(value, _LOCKS):
            return ["lock"]
        if isinstance(value, _SLOTS):
            return ["slot", value.__name__]
        return self._wrapper(value)

    def _wrapper(self, value: Any) -> Json:
        """Return what stands for that which stands around functions."""
        match value:
            case types.MethodType():
                return ["method", self.form(value.__func__), self.form(value.__self__)]
            case types.BuiltinMethodType() | types.MethodWrapperType():
                return ["bound", value.__qualname__, self.form(value.__self__)]
            case staticmethod() | classmethod():
                return [type(value).__name__, self.form(value.__func__)]
            case property():
                return ["property", [self.form(part) for part in (value.fget, value.fset, value.fdel)]]
            case functools.cached_property():
                return ["cached_property", self.form(value.func)]
            case functools.partial():
                return ["partial", self.form(value.func), self.form(value.args), self._mapping(value.keywords)]
            case _:
                pass
        if isinstance(value, _CACHED):
            return ["lru_cache", self.form(value.__wrapped__)]
        return self._reduced(value)

    def _mapping(self, value: Mapping[Any, Any]) -> Json:
        return ["dict", [[self.form(key), self.form(item)] for key, item in value.items()]]

    def _reduced(self, value: Any) -> Json:
        """Any other object, taken apart as `pickle` and `copy` would."""
        try:
            reduce = copyreg.dispatch_table.get(type(value))
            parts = reduce(value) if reduce else value.__reduce_ex__(4)
        except BaseException as error:  # whatever its class raises, it says no
            kind = type(value)
            raise Unstable(f"a {kind.__module__}.{kind.__qualname__} has no content that could be compared") from error
        if isinstance(parts, str):
            return ["global", self._reference(type(value)), parts]
        make, arguments, *rest = parts
        state, items, pairs = (*rest, None, None, None)[:3]
        if isinstance(state, dict):  # a task may be an object with `__call__`, and its mark is none of its content
            state = {name: item for name, item in state.items() if name != MARK}
        content = [list(items or ()), [list(pair) for pair in pairs or ()]]
        return ["object", self.form(make), self.form(arguments), self.form(state), self.form(content)]
