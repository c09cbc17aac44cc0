"""Random edits of random imagefiles: a step key is never stale, and comments and unrelated code never waste a run.

The judge is the program itself: what the tasks did, run again from nothing after the edit. Where that differs, the
cache must miss. Where an edit cannot change what any run does (a comment, a docstring, the layout, code that the tasks
do not reach, the order of definitions), it must hit.
"""

import importlib.util
import itertools
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bakery.cache.steps import Hit, Steps
from bakery.imagefile.task_options import TaskOptions

NAMES = itertools.count()
SIZE = 4
TASKS = 3


@dataclass(frozen=True)
class Text:
    """An imagefile and what is around it, as data.

    Args:
        constants: values of C0, C1, ...
        helpers: for each function f0, f1, ... the constants and later helpers that it uses, and a number of its own.
        factory: what the factory's product encloses.
        tasks: what each task uses, in order.
        sequence: the order in which an image has the tasks.
        files: contents of file0, ...
        variables: values of v0, ...
        comments: sprinkled over the text; a seed.
        order: of the definitions; a seed.
        unrelated: a number inside a function that nobody calls.
    """

    constants: tuple[int, ...]
    helpers: tuple[tuple[int, tuple[str, ...]], ...]
    factory: int
    tasks: tuple[tuple[str, ...], ...]
    sequence: tuple[int, ...]
    files: tuple[str, ...]
    variables: tuple[int, ...]
    environ: tuple[str, ...]
    comments: int = 0
    order: int = 0
    unrelated: int = 0
    extra: dict[str, int] = field(default_factory=dict[str, int])

    def imagefile(self) -> str:
        note = random.Random(self.comments)

        def comment() -> str:
            return note.choice(["", "", f"  # note {note.random()}"])

        def blank() -> str:
            return "\n" * note.randrange(3) + (f"# {note.random()}\n" if note.random() < 0.3 else "")

        def docstring() -> str:
            return f'    """Text {note.random()}."""\n' if self.comments else ""

        parts = [f"C{n} = {value}{comment()}\n" for n, value in enumerate(self.constants)]
        for n, (number, uses) in enumerate(self.helpers):
            body = "".join(f"    did.append({_use(use)}){comment()}\n" for use in uses)
            parts.append(f"def f{n}(did, v):\n{docstring()}    did.append({number})\n{blank()}{body}")
        parts.append(f"def unrelated():\n    return {self.unrelated}\n")
        parts.append(
            f"def make(n):\n{docstring()}    def product(did, v):\n        did.append(n)\n    return product\n"
        )
        fields = "".join(f"    v{n}: int = {value}{comment()}\n" for n, value in enumerate(self.variables))
        parts.append(f"@dataclass(frozen=True)\nclass Vars:\n{docstring()}{fields}")
        for n, uses in enumerate(self.tasks):
            body = "".join(f"    did.append({_use(use)}){comment()}\n{blank()}" for use in uses)
            parts.append(f"def task{n}(did, v):\n{docstring()}    did.append('task{n}')\n{body}")
        random.Random(self.order).shuffle(parts)
        head = "import os\nfrom dataclasses import dataclass\nfrom pathlib import Path\nHERE = Path(__file__).parent\n"
        tail = f"made = make({self.factory})\nv = Vars()\nTASKS = [{', '.join(f'task{n}' for n in self.sequence)}]\n"
        return head + "".join(blank() + part for part in parts) + tail


def _use(use: str) -> str:
    kind, number = use[0], use[1:]
    return {
        "C": f"C{number}",
        "f": f"f{number}(did, v)",
        "F": f"(HERE / 'file{number}').read_text()",
        "E": f"(HERE / 'file{number}').exists()",
        "v": f"v.v{number}",
        "e": f"os.environ.get('BAKERY_PROPERTY_{number}')",
        "m": "made(did, v)",
        "L": "len(sorted(HERE.glob('file*')))",
    }[kind]


NUMBER = st.integers(0, SIZE - 1)
USE = st.one_of(st.builds("{}{}".format, st.sampled_from("CfFEve"), NUMBER), st.sampled_from(["m", "L"]))


@st.composite
def texts(draw: st.DrawFn) -> Text:
    def helper(number: int) -> tuple[int, tuple[str, ...]]:
        uses = draw(st.lists(USE, max_size=3))
        return draw(st.integers(0, 9)), tuple(use for use in uses if use[0] != "f" or int(use[1:]) > number)

    small = st.lists(st.integers(0, 9), min_size=SIZE, max_size=SIZE).map(tuple)
    words = st.lists(st.sampled_from(["", "a", "b"]), min_size=SIZE, max_size=SIZE).map(tuple)
    return Text(
        constants=draw(small),
        helpers=tuple(helper(n) for n in range(SIZE)),
        factory=draw(st.integers(0, 9)),
        tasks=tuple(tuple(draw(st.lists(USE, max_size=3))) for _ in range(TASKS)),
        sequence=tuple(range(TASKS)),
        files=draw(words),
        variables=draw(small),
        environ=draw(words),
        order=draw(st.integers(0, 99)),
    )


def _at(items: tuple[Any, ...], index: int, item: Any) -> tuple[Any, ...]:
    return (*items[:index], item, *items[index + 1 :])


def edited(text: Text, kind: str, n: int, value: int, use: str) -> Text:
    match kind:
        case "constant":
            return replace(text, constants=_at(text.constants, n, value))
        case "helper":
            return replace(text, helpers=_at(text.helpers, n, (value, text.helpers[n][1])))
        case "helper's uses":
            return replace(text, helpers=_at(text.helpers, n, (text.helpers[n][0], () if use[0] == "f" else (use,))))
        case "factory":
            return replace(text, factory=value)
        case "file":
            return replace(text, files=_at(text.files, n, str(value)))
        case "file gone":
            return replace(text, files=_at(text.files, n, ""))
        case "variable":
            return replace(text, variables=_at(text.variables, n, value))
        case "environment":
            return replace(text, environ=_at(text.environ, n, str(value)))
    return _edited_tasks(text, kind, n, value, use)


def _edited_tasks(text: Text, kind: str, n: int, value: int, use: str) -> Text:
    place, lines = value % TASKS, text.tasks[value % TASKS]
    match kind:
        case "line":
            return replace(text, tasks=_at(text.tasks, place, (*lines, use)))
        case "line gone":
            return replace(text, tasks=_at(text.tasks, place, lines[1:]))
        case "order of lines":
            return replace(text, tasks=_at(text.tasks, place, lines[::-1]))
        case "order of tasks":
            return replace(text, sequence=tuple(itertools.permutations(range(TASKS)))[(n * value) % 6])
        case "task gone":
            return replace(text, sequence=text.sequence[1:])
    return text


EDITS = (
    "constant",
    "helper",
    "helper's uses",
    "factory",
    "line",
    "line gone",
    "order of lines",
    "order of tasks",
    "task gone",
    "file",
    "file gone",
    "variable",
    "environment",
    "none",
)
HARMLESS: dict[str, Callable[[Text, int], Text]] = {
    "comments, docstrings and layout": lambda t, n: replace(t, comments=n + 1),
    "order of definitions": lambda t, n: replace(t, order=n + 100),
    "unrelated function": lambda t, n: replace(t, unrelated=n + 1),
}


class World:
    """One folder, one cache, and the world outside."""

    def __init__(self, root: Path) -> None:
        self.root = root / "project"
        self.root.mkdir()
        self.cache = root / "cache"

    @contextmanager
    def loaded(self, text: Text, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
        (self.root / "imagefile.py").write_text(text.imagefile())
        for number, content in enumerate(text.files):
            path = self.root / f"file{number}"
            path.unlink(missing_ok=True)
            if content:
                path.write_text(content)
        for number, value in enumerate(text.environ):
            name = f"BAKERY_PROPERTY_{number}"
            monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
        name = f"imagefile_property_{next(NAMES)}"
        spec = importlib.util.spec_from_file_location(name, self.root / "imagefile.py")
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
            yield module
        finally:
            del sys.modules[name]

    def behaviour(self, module: ModuleType) -> list[str]:
        """What had been done after each task."""
        did: list[object] = []
        states: list[str] = []
        for task in module.TASKS:
            try:
                task(did, module.v)
            except Exception as error:  # a missing file is behaviour, too
                did.append(type(error).__name__)
            states.append(repr(did))
        return states

    def keys(self, module: ModuleType) -> list[str]:
        """Hit or run each step, as a build does."""
        steps = Steps(self.cache, self.root)
        keys = ["base"]
        for task in module.TASKS:
            found = steps.find(keys[-1], task, TaskOptions(), module.v)
            if isinstance(found, Hit):
                keys.append(found.key)
                continue
            with steps.tracer(task, module.v) as tracer:
                did: list[object] = []
                with suppress(OSError):
                    task(did, tracer.variables(module.v))
            made = steps.record(keys[-1], task, TaskOptions(), tracer, module.v)
            assert made.reusable, made.reasons
            again = steps.find(keys[-1], task, TaskOptions(), module.v)
            assert isinstance(again, Hit)
            assert again.key == made.key
            keys.append(made.key)
        return keys[1:]

    def known(self, module: ModuleType) -> list[str]:
        """The keys of all steps, none of which may have to run."""
        steps = Steps(self.cache, self.root)
        keys = ["base"]
        for task in module.TASKS:
            found = steps.find(keys[-1], task, TaskOptions(), module.v)
            assert isinstance(found, Hit), found
            keys.append(found.key)
        return keys[1:]


EXAMPLES = int(os.environ.get("BAKERY_EXAMPLES", "20"))
PATIENT = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)


@pytest.fixture(autouse=True)
def no_bytecode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


@PATIENT
@given(
    text=texts(),
    edits=st.lists(st.tuples(st.sampled_from(EDITS), NUMBER, st.integers(0, 9), USE), min_size=1, max_size=4),
)
def test_a_key_is_never_stale(
    text: Text, edits: list[tuple[str, int, int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        met: dict[str, str] = {}
        for edit in [None, *edits]:
            if edit:
                text = edited(text, *edit)
            with world.loaded(text, monkeypatch) as module:
                behaviour = world.behaviour(module)
                keys = world.keys(module)
            for key, done in zip(keys, behaviour, strict=True):
                assert met.setdefault(key, done) == done, edit


@PATIENT
@given(
    text=texts(),
    edits=st.lists(st.tuples(st.sampled_from(sorted(HARMLESS)), st.integers(0, 99)), min_size=1, max_size=4),
)
def test_comments_layout_order_and_unrelated_code_never_waste_a_run(
    text: Text, edits: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        with world.loaded(text, monkeypatch) as module:
            keys = world.keys(module)
        for name, number in edits:
            text = HARMLESS[name](text, number)
            with world.loaded(text, monkeypatch) as module:
                assert world.known(module) == keys, name


@PATIENT
@given(text=texts(), number=NUMBER, value=st.integers(10, 99))
def test_what_the_task_does_not_reach_never_wastes_a_run(
    text: Text, number: int, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = {use for uses in text.tasks for use in uses}
    for _ in range(SIZE):
        reached |= {use for each in set(reached) if each[0] == "f" for use in text.helpers[int(each[1:])][1]}
    others = {"C": "constant", "f": "helper", "v": "variable", "e": "environment"}
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        with world.loaded(text, monkeypatch) as module:
            keys = world.keys(module)
        for kind, edit in others.items():
            if f"{kind}{number}" in reached:
                continue
            text = edited(text, edit, number, value, "")
            with world.loaded(text, monkeypatch) as module:
                assert world.known(module) == keys, kind


@PATIENT
@given(text=texts(), edit=st.tuples(st.sampled_from(EDITS), NUMBER, st.integers(0, 9), USE))
def test_an_edit_that_is_taken_back_wastes_no_run(
    text: Text, edit: tuple[str, int, int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        with world.loaded(text, monkeypatch) as module:
            keys = world.keys(module)
        with world.loaded(edited(text, *edit), monkeypatch) as module:
            world.keys(module)
        with world.loaded(text, monkeypatch) as module:
            assert world.known(module) == keys
