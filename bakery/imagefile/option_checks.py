"""What the decorators' options may be: a wrong one is found when the imagefile is read, not when a machine runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from bakery.errors import ImagefileError
from bakery.imagefile.suites import Suites
from bakery.imagefile.user_code import repr_of
from bakery.model import Login


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_seconds(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and value > 0)


def _is_span(value: Any) -> bool:
    from bakery.util.durations import seconds

    if value is None:
        return True
    seconds(value)  # says itself what is wrong
    return True


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_list(value: Any) -> bool:
    return value is None or isinstance(value, list | tuple | set | frozenset)


def _is_login(value: Any) -> bool:
    if value is None:
        return True
    return (
        isinstance(value, Login)
        and re.fullmatch(r"([A-Za-z_][A-Za-z0-9_.-]*)?", value.user) is not None
        and 0 < value.port < 1 << 16
        and (not value.home or re.fullmatch(r"/[A-Za-z0-9_./-]+", value.home) is not None)
    )


def _is_suites(value: Any) -> bool:
    if value is None:
        return True
    return (
        isinstance(value, Suites)
        and isinstance(value.hosts, list | tuple)
        and all(isinstance(host, str) and host for host in value.hosts)
        and value.other_hosts in ("refuse", "run", "skip")
        and value.user in ("root", "login")
        and isinstance(value.login_shell, bool)
        and isinstance(value.strict_host, bool)
    )


def _is_front(value: Any) -> bool:
    return _is_bool(value) or (isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)*", value, re.ASCII) is not None)


LISTS: Final = ("only", "skip")
CHECKS: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "retries": (_is_count, "how often it is run again: retries=2"),
    "timeout": (_is_seconds, "seconds: timeout=600"),
    "user": (_is_name, 'a name: user="app"'),
    "idempotent": (_is_bool, "idempotent=True runs it a second time"),
    "reboot": (_is_bool, "reboot=True runs the test before and after a reboot"),
    "strict_host": (_is_bool, "strict_host=False gives testinfra's own answers"),
    "login": (_is_login, 'as in bakery.Login(user="deploy", port=2222, key="~/.ssh/id_deploy", home="/srv/deploy")'),
    "suites": (
        _is_suites,
        'as in bakery.Suites(hosts=["app-*"], other_hosts="refuse", user="root", strict_host=False)',
    ),
    "versions": (_is_front, 'True for web-1, web-2; versions="1.4" for web-1.4.0, web-1.4.1'),
    "cache": (_is_bool, "cache=False runs the task on every build"),
    "max_age": (_is_span, 'max_age="7d"'),
    "checkpoint": (lambda value: value is None or _is_bool(value), "True, False or None"),
    "matrix": (
        lambda value: value is None or isinstance(value, Mapping),
        'names and values: matrix={"release": ["a", "b"]}',
    ),
    **{name: (_is_list, f"a list, also of one: {name}=[...]") for name in LISTS},
}


def check(kind: str, options: Mapping[str, Any]) -> None:
    """Refuse what an option cannot be.

    Args:
        kind: the decorator's name.
        options: what it was given.

    Raises:
        ImagefileError: with what it should be.
    """
    if "name" in options:
        _check_name(kind, options["name"])
    for name, value in options.items():
        fits, hint = CHECKS.get(name, (lambda _: True, ""))
        if not fits(value):
            raise ImagefileError(f"@bakery.{kind}({name}={repr_of(value)}) is not what {name}= takes", hint=hint)


def _check_name(kind: str, name: Any) -> None:
    """Names of images and sources become those of files and of things at providers; others are only shown."""
    if kind in ("image", "source"):
        hint = "letters, digits, dots, dashes and underscores, at most 128"
        fits = isinstance(name, str) and bool(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", name))
    else:
        hint = 'one line of text, without ::, as in name="install nginx"'
        fits = isinstance(name, str) and name == name.strip() != "" and name.isprintable() and "::" not in name
    if not fits:
        raise ImagefileError(f"@bakery.{kind}(name={repr_of(name)}) is not what name= takes", hint=hint)
