"""The decorators of an imagefile. They only mark: nothing registers, nothing runs, the function comes back."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, dataclass_transform, overload

from bakery.errors import ImagefileError, Location
from bakery.imagefile import option_checks
from bakery.model import Source
from bakery.redaction.secret import Secret

MARK = "__bakery__"
Kind = Literal["source", "task", "test", "post", "image", "variables"]
Function: TypeAlias = Callable[..., Any]

SourceF = TypeVar("SourceF", bound=Callable[..., Source])
StepF = TypeVar("StepF", bound=Callable[..., None])
ImageF = TypeVar("ImageF", bound=Callable[..., str | None])
ClassT = TypeVar("ClassT", bound=type)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What a decorator leaves on a function: its kind, where it stands, and the decorator's own arguments."""

    kind: Kind
    where: Location
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


def mark_of(thing: object) -> Mark | None:
    """Return the mark of a decorated function or class."""
    mark = getattr(thing, MARK, None)
    return mark if isinstance(mark, Mark) else None


def location_of(thing: Function | type) -> Location:
    """Return where a function or class is defined."""
    code = getattr(inspect.unwrap(thing), "__code__", None)
    if code is not None:
        return Location(Path(code.co_filename), code.co_firstlineno)
    try:
        return Location(Path(inspect.getsourcefile(thing) or "?"), inspect.getsourcelines(thing)[1])
    except (OSError, TypeError):
        return Location(Path("?"), 0)


def _mark(thing: T, kind: Kind, **options: Any) -> T:
    if not callable(thing):
        raise ImagefileError(
            f"@bakery.{kind} got {thing!r}, not a function",
            hint=f"write @bakery.{kind} or @bakery.{kind}(name=value, ...); all arguments go by name",
        )
    setattr(thing, MARK, Mark(kind=kind, where=location_of(thing), options=options))
    return thing


@overload
def source(function: SourceF, /) -> SourceF: ...
@overload
def source(*, labels: Sequence[str] = ()) -> Callable[[SourceF], SourceF]: ...
def source(function: SourceF | None = None, /, **options: Any) -> SourceF | Callable[[SourceF], SourceF]:
    """Mark a function that returns where an image starts and where it is built: `Qemu(...)`, `Ec2(...)`, ...

    Args:
        function: the source.
        labels: what each of its builds takes of things that there are only so many of: `["licence"]`, `["gpu:2"]`.
            `bake build --limit licence:1`, or `BAKERY_LIMITS` on a host, says how many there are.
    """
    return _with_options("source", function, options, _SOURCE_OPTIONS)


@overload
def task(function: StepF, /) -> StepF: ...
@overload
def task(
    *,
    retries: int = 0,
    timeout: float | None = None,
    user: str = "root",
    only: Sequence[Callable[..., Source]] = (),
    skip: Sequence[Callable[..., Source]] = (),
    cache: bool = True,
    max_age: str | None = None,
    checkpoint: bool | None = None,
) -> Callable[[StepF], StepF]: ...
def task(function: StepF | None = None, /, **options: Any) -> StepF | Callable[[StepF], StepF]:
    """Mark a provisioning task. Its first argument is the `Machine`, its second, if asked for, the variables.

    Args:
        function: the task.
        retries: how often it is run again after a failure (0), with growing pauses.
        timeout: seconds after which it is stopped and counts as failed (no limit).
        user: who its commands run as (root).
        only: source functions: run only for these.
        skip: source functions: run for all but these.
        cache: False runs it on every build.
        max_age: `30m`, `12h`, `7d`: run again when the cached result is older.
        checkpoint: True saves the machine after this task also where that costs money (an image in a cloud);
            False never does.
    """
    return _with_options("task", function, options, _TASK_OPTIONS)


@overload
def test(function: StepF, /) -> StepF: ...
@overload
def test(
    *, only: Sequence[Callable[..., Source]] = (), skip: Sequence[Callable[..., Source]] = ()
) -> Callable[[StepF], StepF]: ...
def test(function: StepF | None = None, /, **options: Any) -> StepF | Callable[[StepF], StepF]:
    """Mark a smoke test. Its first argument is testinfra's `host`, on a machine booted from the finished image.

    Args:
        function: the test; it asserts.
        **options: `only` and `skip`, as for tasks.
    """
    return _with_options("test", function, options, _SCOPE_OPTIONS)


@overload
def post(function: StepF, /) -> StepF: ...
@overload
def post(
    *, only: Sequence[Callable[..., Source]] = (), skip: Sequence[Callable[..., Source]] = ()
) -> Callable[[StepF], StepF]: ...
def post(function: StepF | None = None, /, **options: Any) -> StepF | Callable[[StepF], StepF]:
    """Mark a step that gets the tested `Artifact`. When it fails, the image is kept all the same.

    Args:
        function: the step.
        **options: `only` and `skip`, as for tasks.
    """
    return _with_options("post", function, options, _SCOPE_OPTIONS)


@overload
def image(function: ImageF, /) -> ImageF: ...
@overload
def image(
    *,
    sources: Sequence[Callable[..., Source]] | None = None,
    tasks: Sequence[Callable[..., None]] | None = None,
    tests: Sequence[Callable[..., None]] | None = None,
    post: Sequence[Callable[..., None]] | None = None,
    matrix: Mapping[str, Sequence[Any]] | None = None,
    seal: Any = None,
    builtin_tests: bool | Sequence[str] = True,
    strict_host: bool = True,
    login: Any = None,
    hygiene: Any = True,
) -> Callable[[ImageF], ImageF]: ...
def image(function: ImageF | None = None, /, **options: Any) -> ImageF | Callable[[ImageF], ImageF]:
    """Mark an image. The function returns its name, or None for the function's own name.

    Args:
        function: the image.
        sources, tasks, tests, post: decorated functions, in order; what is left out is all of the file's.
        matrix: values for variables; every combination is an image of its own.
        seal: a `Seal(...)` that says what is removed before capture; everything by default.
        builtin_tests: False for none, or the names of those wanted.
        strict_host: False gives tests testinfra's own answers, also where they are known to be wrong.
        login: a `Login(...)` for the tests, where the image does not let root in on port 22.
        hygiene: False leaves the image unread; a `Hygiene(...)` allows paths or switches off kinds of findings.
    """
    return _with_options("image", function, options, _IMAGE_OPTIONS)


_SOURCE_OPTIONS = ("labels",)
_SCOPE_OPTIONS = ("only", "skip")
_TASK_OPTIONS = ("retries", "timeout", "user", "only", "skip", "cache", "max_age", "checkpoint")
_IMAGE_OPTIONS = (
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
)


def _with_options(
    kind: Kind, function: T | None, options: dict[str, Any], known: tuple[str, ...]
) -> T | Callable[[T], T]:
    for name in options:
        if name not in known:
            raise TypeError(f"{kind}() got an unexpected keyword argument '{name}'; it knows {', '.join(known)}")
    option_checks.check(kind, options)
    if function is not None:
        return _mark(function, kind, **options)
    return lambda decorated: _mark(decorated, kind, **options)


def var(*, default: T = dataclasses.MISSING, help: str = "", choices: Sequence[T] = ()) -> T:  # type: ignore[assignment]  # noqa: A002  MISSING is dataclasses' way to say "no default"; help is click's word
    """Describe a variable.

    Args:
        default: its value when nobody gives one; without it the variable must be given.
        help: one line for `bake list`.
        choices: the values it may have.
    """
    metadata = {"help": help, "choices": tuple(choices)}
    return dataclasses.field(default=default, metadata=metadata)


def secret(*, env: str | None = None, file: str | None = None, help: str = "") -> Secret:  # noqa: A002
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
    dataclass(frozen=True, kw_only=True)(cls)  # changes the class itself
    return _mark(cls, "variables")
