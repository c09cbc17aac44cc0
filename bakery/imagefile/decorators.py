"""The decorators of an imagefile. They only mark: nothing registers, nothing runs, the function comes back."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from types import MethodType
from typing import Any, TypeVar, dataclass_transform, overload

from bakery.errors import ImagefileError
from bakery.imagefile import callables, option_checks, variable_class
from bakery.imagefile.marks import MARK, NOWHERE, Kind, Mark, mark_of, note, own_name, place_of
from bakery.imagefile.suites import Suites
from bakery.imagefile.user_code import called_from
from bakery.model import Source
from bakery.redaction.secret import Secret

SourceF = TypeVar("SourceF", bound=Callable[..., Source])
StepF = TypeVar("StepF", bound=Callable[..., None])
ImageF = TypeVar("ImageF", bound=Callable[..., str | None])
ClassT = TypeVar("ClassT", bound=type)
T = TypeVar("T")


def _marked(thing: T, kind: Kind, options: Mapping[str, Any]) -> T:
    marked: T = _mark(thing, kind, **options)
    return marked


def _mark(thing: Any, kind: Kind, *, name: str = "", **options: Any) -> Any:
    where = place_of(thing) or called_from()
    callables.check(kind, thing, name or own_name(thing), where)
    mark = Mark(kind=kind, where=where or NOWHERE, name=name, options=options)
    before = mark_of(thing)
    if before is not None and before.kind != kind:
        raise ImagefileError(
            f"{own_name(thing)} is marked as a {before.kind} already, and cannot be a {kind} as well",
            where=mark.where,
            hint="take one of the two decorators away",
        )
    if isinstance(thing, MethodType):
        thing = functools.partial(thing)  # a method has no place for a mark of its own
    try:
        setattr(thing, MARK, mark)
    except (AttributeError, TypeError):  # a built-in function, an object with __slots__
        thing = functools.partial(thing)
        setattr(thing, MARK, mark)
    note(thing, mark)
    return thing


@overload
def source(function: SourceF, /) -> SourceF: ...
@overload
def source(*, name: str = "", labels: Sequence[str] = ()) -> Callable[[SourceF], SourceF]: ...
def source(function: SourceF | None = None, /, **options: Any) -> SourceF | Callable[[SourceF], SourceF]:
    """Mark a function that returns where an image starts and where it is built: `Qemu(...)`, `Ec2(...)`, ...

    Args:
        function: the source.
        name: what it is called; the function's own name.
        labels: what each of its builds takes of things that there are only so many of: `["licence"]`, `["gpu:2"]`.
            `bake build --limit licence:1`, or `BAKERY_LIMITS` on a host, says how many there are.
    """
    return _with_options("source", function, options, _SOURCE_OPTIONS)


@overload
def task(function: StepF, /) -> StepF: ...
@overload
def task(
    *,
    name: str = "",
    retries: int = 0,
    timeout: float | None = None,
    user: str = "root",
    only: Sequence[Callable[..., Source]] = (),
    skip: Sequence[Callable[..., Source]] = (),
    cache: bool = True,
    max_age: str | None = None,
    checkpoint: bool | None = None,
    idempotent: bool = False,
) -> Callable[[StepF], StepF]: ...
def task(function: StepF | None = None, /, **options: Any) -> StepF | Callable[[StepF], StepF]:
    """Mark a provisioning task. Its first argument is the `Machine`, its second, if asked for, the variables.

    Args:
        function: the task.
        name: what it is called; the function's own name.
        retries: how often it is run again after a failure (0), with growing pauses.
        timeout: seconds after which it is stopped and counts as failed (no limit).
        user: who its commands run as (root).
        only: source functions: run only for these.
        skip: source functions: run for all but these.
        cache: False runs it on every build.
        max_age: `30m`, `12h`, `7d`: run again when the cached result is older.
        checkpoint: True saves the machine after this task also where that costs money (an image in a cloud);
            False never does.
        idempotent: True runs it a second time, which must change nothing on the machine.
    """
    return _with_options("task", function, options, _TASK_OPTIONS)


@overload
def test(function: StepF, /) -> StepF: ...
@overload
def test(
    *,
    name: str = "",
    only: Sequence[Callable[..., Source]] = (),
    skip: Sequence[Callable[..., Source]] = (),
    reboot: bool = False,
) -> Callable[[StepF], StepF]: ...
def test(function: StepF | None = None, /, **options: Any) -> StepF | Callable[[StepF], StepF]:
    """Mark a smoke test. Its first argument is testinfra's `host`, on a machine booted from the finished image.

    Args:
        function: the test; it asserts.
        **options: `name`, `only` and `skip`, as for tasks; `reboot=True` runs it twice, before and after the machine
            was rebooted.
    """
    return _with_options("test", function, options, _TEST_OPTIONS)


@overload
def post(function: StepF, /) -> StepF: ...
@overload
def post(
    *, name: str = "", only: Sequence[Callable[..., Source]] = (), skip: Sequence[Callable[..., Source]] = ()
) -> Callable[[StepF], StepF]: ...
def post(function: StepF | None = None, /, **options: Any) -> StepF | Callable[[StepF], StepF]:
    """Mark a step that gets the tested `Artifact`. When it fails, the image is kept all the same.

    Args:
        function: the step.
        **options: `name`, `only` and `skip`, as for tasks.
    """
    return _with_options("post", function, options, _SCOPE_OPTIONS)


@overload
def image(function: ImageF, /) -> ImageF: ...
@overload
def image(
    *,
    name: str = "",
    sources: Sequence[Callable[..., Source]] | None = None,
    tasks: Sequence[Callable[..., None]] | None = None,
    tests: Sequence[Callable[..., None] | str | PathLike[str]] | None = None,
    post: Sequence[Callable[..., None]] | None = None,
    matrix: Mapping[str, Sequence[Any]] | None = None,
    seal: Any = None,
    builtin_tests: bool | Sequence[str] = True,
    strict_host: bool = True,
    login: Any = None,
    hygiene: Any = True,
    suites: Suites | None = None,
    nodes: Sequence[Callable[..., str | None]] | Mapping[str, Callable[..., str | None]] = (),
    versions: bool | str = False,
) -> Callable[[ImageF], ImageF]: ...
def image(function: ImageF | None = None, /, **options: Any) -> ImageF | Callable[[ImageF], ImageF]:
    """Mark an image. The function returns its name, or None for the function's own name.

    Args:
        function: the image.
        name: what `bake` calls it; the function's own name.
        sources, tasks, tests, post: decorated functions, in order; what is left out is all of the file's. `tests`
            takes pytest suites as well: `"tests/"`, `"tests/test_web.py::TestNginx"`.
        matrix: values for variables; every combination is an image of its own.
        seal: a `Seal(...)` that says what is removed before capture; everything by default.
        builtin_tests: False for none, or the names of those wanted.
        strict_host: False gives tests testinfra's own answers, also where they are known to be wrong.
        login: a `Login(...)` for the tests, where the image does not let root in on port 22.
        hygiene: False leaves the image unread; a `Hygiene(...)` allows paths or switches off kinds of findings.
        suites: a `Suites(...)` that says how pytest suites in `tests` run.
        nodes: images whose machines run beside the one that is tested, on one private network; a list, or by name.
        versions: True keeps `web-1`, `web-2`, ... beside each other; `"1.4"` keeps `web-1.4.0`, `web-1.4.1`, ...
    """
    return _with_options("image", function, options, _IMAGE_OPTIONS)


_SOURCE_OPTIONS = ("name", "labels")
_SCOPE_OPTIONS = ("name", "only", "skip")
_TEST_OPTIONS = (*_SCOPE_OPTIONS, "reboot")
_TASK_OPTIONS = ("name", "retries", "timeout", "user", "only", "skip", "cache", "max_age", "checkpoint", "idempotent")
_IMAGE_OPTIONS = (
    "name",
    "sources",
    "tasks",
    "tests",
    "post",
    "matrix",
    "seal",
    "builtin_tests",
    "strict_host",
    "login",
    "hygiene",
    "suites",
    "nodes",
    "versions",
)


def _with_options(
    kind: Kind, function: T | None, options: dict[str, Any], known: tuple[str, ...]
) -> T | Callable[[T], T]:
    for name in options:
        if name not in known:
            raise TypeError(f"{kind}() got an unexpected keyword argument '{name}'; it knows {', '.join(known)}")
    option_checks.check(kind, options)
    if function is not None:
        return _marked(function, kind, options)
    return lambda decorated: _marked(decorated, kind, options)


def var(
    *,
    default: T = dataclasses.MISSING,  # type: ignore[assignment]  # dataclasses' way to say "no default"
    default_factory: Callable[[], T] | None = None,
    help: str = "",  # noqa: A002  click's word
    choices: Sequence[T] = (),
) -> T:
    """Describe a variable.

    Args:
        default: its value when nobody gives one; without it the variable must be given.
        default_factory: a function that makes it.
        help: one line for `bake list`.
        choices: the values it may have.
    """
    metadata = {"help": help, "choices": tuple(choices)}
    if type(default).__hash__ is None:  # a list, a mapping: each object gets one of its own
        default_factory, default = functools.partial(copy.deepcopy, default), dataclasses.MISSING  # type: ignore[assignment]  # the same
    factory: Any = dataclasses.MISSING if default_factory is None else default_factory
    described: Any = dataclasses.field(default=default, default_factory=factory, metadata=metadata)  # only one is given
    return described  # type: ignore[no-any-return]  # typed as what the user gets, as dataclasses.field is


def secret(*, env: str | None = None, file: str | None = None, help: str = "") -> Secret:  # noqa: A002  click's word
    """Describe a secret: a variable that never becomes text, and is asked for before anything is launched.

    Args:
        env: the environment variable that holds it.
        file: a file that holds it, without its final line end; relative to the imagefile.
        help: one line for `bake list`.
    """
    metadata = {"help": help, "secret": True, "env": env, "file": file}
    described: Any = dataclasses.field(default=None, metadata=metadata)  # None: absent until resolved
    return described  # type: ignore[no-any-return]  # typed as what the user gets, as dataclasses.field is


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(var, secret, dataclasses.field))
def variables(cls: ClassT) -> ClassT:
    """Mark the class that holds the imagefile's variables; it becomes a frozen dataclass."""
    callables.check("variables", cls, own_name(cls), called_from())
    variable_class.prepare(cls)
    return _marked(cls, "variables", {"fields": vars(cls)["__dataclass_fields__"]})
