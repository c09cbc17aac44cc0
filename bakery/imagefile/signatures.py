"""How many arguments a function of the imagefile takes: the subject first, the variables second."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final

from bakery.errors import ImagefileError
from bakery.imagefile.marks import location_of, name_of

SUBJECTS: Final[Mapping[str, tuple[str, ...]]] = {
    "source": (),
    "task": ("machine",),
    "test": ("host",),
    "post": ("artifact",),
    "image": (),
}
_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def check_signature(kind: str, function: Any, *, has_variables: bool = True) -> None:
    """Check the number of arguments: the subject first, then the variables; a test may have fixtures besides.

    Args:
        kind: the decorator.
        function: what it marked.
        has_variables: False where the imagefile has no class of variables.

    Raises:
        ImagefileError: too few or too many, some that nobody would give, or a number that cannot be known.
    """
    subjects, name = SUBJECTS[kind], name_of(function)
    parameters = _parameters(kind, function)
    if kind == "test":
        _check_test(name, function, parameters, has_variables=has_variables)
        return
    wanted = [p.name for p in parameters if p.kind in _POSITIONAL and p.default is p.empty]
    hint = f"def {_identifier(name)}({', '.join((*subjects, 'v'))}): ..."
    extra = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if extra:
        raise ImagefileError(
            f"{kind} {name} has the keyword-only argument {extra[0]}, which nobody gives",
            hint=f"give it a default, or leave {hint}",
            where=location_of(function),
        )
    if not wanted and any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise ImagefileError(
            f"how many arguments {kind} {name} takes cannot be told from {_shown(parameters)}",
            hint="name them; where a decorator made it, let that use functools.wraps",
            where=location_of(function),
        )
    if not len(subjects) <= len(wanted) <= len(subjects) + 1:
        takes = (
            f"the {subjects[0]}, then the variables if it needs them" if subjects else "no argument, or the variables"
        )
        raise ImagefileError(
            f"{kind} {name}{_shown(parameters)} has {_arguments(len(wanted))}",
            why=f"a {kind} takes {takes}",
            hint=hint,
            where=location_of(function),
        )
    if len(wanted) > len(subjects) and not has_variables:
        raise _no_variables(kind, name, function, wanted[-1])


def takes_variables(kind: str, function: Any) -> bool:
    """Say whether a function asks for the variables, by the number of its arguments."""
    wanted = [p for p in _parameters(kind, function) if p.kind in _POSITIONAL and p.default is p.empty]
    return len(wanted) > len(SUBJECTS[kind])


def _parameters(kind: str, function: Any) -> list[inspect.Parameter]:
    try:
        return [*inspect.signature(function).parameters.values()]
    except (TypeError, ValueError) as error:
        raise ImagefileError(
            f"the arguments of {kind} {name_of(function)} cannot be told",
            why=str(error),
            hint="write a function around it: def ...",
            where=location_of(function),
        ) from error


def _check_test(name: str, function: Any, parameters: list[inspect.Parameter], *, has_variables: bool) -> None:
    """Which arguments are fixtures is known to pytest alone; see `bakery.smoke.collect`."""
    wanted = [p.name for p in parameters if p.default is p.empty and p.kind in (*_POSITIONAL, p.KEYWORD_ONLY)]
    if not wanted:
        unclear = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        raise ImagefileError(
            f"test {name}{_shown(parameters)} has 0 arguments",
            why="a test takes the host, then the variables if it needs them",
            hint="let the decorator around it use functools.wraps"
            if unclear
            else f"def {_identifier(name)}(host, v): ...",
            where=location_of(function),
        )
    if "v" in wanted[1:2] and not has_variables:
        raise _no_variables("test", name, function, "v")


def _no_variables(kind: str, name: str, function: Any, argument: str) -> ImagefileError:
    return ImagefileError(
        f"{kind} {name} asks for the variables as {argument}, and the imagefile has none",
        hint="write a class of variables with @bakery.variables, or leave the argument out",
        where=location_of(function),
    )


def _shown(parameters: list[inspect.Parameter]) -> str:
    return f"({', '.join(str(p.replace(annotation=p.empty, default=p.empty)) for p in parameters)})"


def _arguments(count: int) -> str:
    return "1 argument" if count == 1 else f"{count} arguments"


def _identifier(name: str) -> str:
    """Return a name that may stand behind `def`."""
    made = "".join(char if char.isalnum() else "_" for char in name)
    return made if made.isidentifier() else "name"
