"""Why a step ran again, in words: the difference between two records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bakery.cache.inputs.external import FOLDER, MISSING, Input
from bakery.cache.records import Record

_REFERENCES = ("name ", "package ")


def differences(old: Record, new: Record, *, step_prefix: str) -> list[str]:
    """Say what changed, the most telling first.

    Args:
        old: the last run.
        new: what would be taken in now.
        step_prefix: how the keys of steps begin, to tell them from those of bases.
    """
    reasons = [*_inputs(old.inputs, new.inputs), *_code(old, new), *_options(old, new)]
    if old.parent != new.parent:
        reasons.append(
            "a step before it changed"
            if new.parent.startswith(step_prefix)
            else "another base, or other settings of the source"
        )
    return reasons or ["its result is no longer in the cache"]


def _inputs(old: tuple[Input, ...], new: tuple[Input, ...]) -> Iterator[str]:
    for before, now in zip(old, new, strict=True):
        if before.digest != now.digest:
            yield _input(before, now)


def _input(before: Input, now: Input) -> str:
    match before.kind:
        case "variable" if before.shown and now.shown:
            return f"variable {before.name}: {before.shown} -> {now.shown}"
        case "variable":
            return f"variable {before.name} changed"
        case "env":
            return f"environment variable {before.name} changed"
        case "environ":
            return "the environment changed"
        case "listing":
            return f"files were added to or removed from {before.name}"
        case "file" | "tree":
            return _file(before, now)


def _file(before: Input, now: Input) -> str:
    if now.digest == MISSING:
        return f"{before.name} is gone"
    if before.digest in (MISSING, FOLDER):
        return f"{before.name} is new"
    return f"{before.name} changed"


def _code(old: Record, new: Record) -> Iterator[str]:
    """Constants with their values; what was added to or removed from the code follows from code that changed."""
    labels = [label for label in {**old.code, **new.code} if not label.startswith(_REFERENCES)]
    changed = [label for label in labels if label in old.code and label in new.code and _differ(label, old, new)]
    for label in sorted(changed, key=lambda label: (not label.startswith(("constant", "value")), label)):
        before, now = old.shown.get(label), new.shown.get(label)
        yield f"{label}: {before} -> {now}" if before and now and before != now else f"{label} changed"
    if not changed and dict(old.code) != dict(new.code):
        others = sorted(label for label in {**old.code, **new.code} if _differ(label, old, new))
        yield f"{min(others, key=lambda label: label.startswith(_REFERENCES))} changed"


def _differ(label: str, old: Record, new: Record) -> bool:
    return old.code.get(label) != new.code.get(label)


def _options(old: Record, new: Record) -> Iterator[str]:
    for name in sorted({**old.options, **new.options}):
        if old.options.get(name) != new.options.get(name):
            yield f"option {name}: {_value(old.options, name)} -> {_value(new.options, name)}"


def _value(options: Mapping[str, object], name: str) -> str:
    return repr(options[name]) if name in options else "not given"
