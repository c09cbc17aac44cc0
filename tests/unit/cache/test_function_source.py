"""What stands for a task's code in a step's key: the same for every Python."""

from __future__ import annotations

import ast
import hashlib

import pytest

from bakery.cache.inputs.function_source import text_of

SOURCE = """
async def task(m, /, v, *rest, flag: bool = True, **more) -> None:
    with m.cd("/srv/wörld"), open(f"{v.name!r:>{v.width}}.conf", "rb") as file:
        data = {**more, "é": [item for item in rest if item is not None], "raw": b"\\x00", "at": v.at[1:, ...]}
    for name, (first, *others) in data.items():
        if (size := len(others)) > -1 and not 0.1 <= size < 1e6:
            m.run(lambda: first + 2j, *others, warn=True)
    match data:
        case {"a": 1, **kept} | [1, kept] if kept:
            return None
        case _:
            pass
    try:
        assert name, "none"
    except (OSError, ValueError) as error:
        raise SystemExit(1) from error
    return
"""


def text(source: str) -> str:
    return text_of(ast.parse(source).body[0])


def test_every_python_gives_one_text() -> None:
    """Where this fails on one Python alone, all who change to it would see every step run again."""
    assert text("def f(a, b=None): return g(a, *b, 'ö')") == (
        "FunctionDef(name='f', args=arguments(args=[arg(arg='a'), arg(arg='b')], defaults=[NoneType None]), "
        "body=[Return(value=Call(func=Name(id='g', ctx=Load()), args=[Name(id='a', ctx=Load()), "
        "Starred(value=Name(id='b', ctx=Load()), ctx=Load()), str '\\xf6']))])"
    )
    assert (
        hashlib.sha256(text(SOURCE).encode()).hexdigest()
        == "8f29cc5ef5e839c36e6b200023cd4947011745ae21dd46af81fedde3cd5fbabf"
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("return", "return None"),
        ("f(1)", "f('1')"),
        ("f(b'1')", "f('1')"),
        ("f(1)", "f(True)"),
        ("f(1)", "f(1.0)"),
        ("{**a}", "{a: None}"),
        ("x: int", "x: int = None"),
        ("lambda a, *, b=1: 0", "lambda a, b=1: 0"),
        ("f('[]')", "f([])"),
        ("try: a\nfinally: b", "try: a\nexcept: b"),
    ],
)
def test_code_that_differs_has_another_text(one: str, other: str) -> None:
    assert text(one) != text(other)
