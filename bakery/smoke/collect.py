"""Finding the asked test functions and giving each its arguments, by pytest's own means."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final

import pytest

from bakery.errors import ImagefileError
from bakery.imagefile import recipe as recipes
from bakery.imagefile.loader import import_module
from bakery.imagefile.marks import function_in, location_of, name_of
from bakery.imagefile.user_code import as_exception, describe, user_line
from bakery.smoke.job import SmokeJob, TestRef
from bakery.smoke.read_inputs import ReadInputs
from bakery.smoke.shared_fixtures import FILE, is_fixture, shared_fixtures, wanted_names

SUBJECTS: Final = ("host", "v")
BUILTIN_FILE: Final = Path(__file__).with_name("builtin.py")

Function = Callable[..., Any]


class Tests:
    """The test functions of one job, by the file that defines them.

    Args:
        job: what was asked.
        config: pytest's, for its assertion rewriting.
        read: watches the import of what the tests share with others.
    """

    __test__ = False

    def __init__(self, job: SmokeJob, config: pytest.Config, read: ReadInputs) -> None:
        self._job = job
        self._config = config
        self._read = read

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that defines a wanted test, built-in ones first."""
        own = [BUILTIN_FILE] if self._job.builtin else []
        return tuple(dict.fromkeys([*own, *(test.file for test in self._job.tests)]))

    @functools.cached_property
    def recipe(self) -> recipes.Recipe:
        """The imagefile, imported with its assertions rewritten."""
        return recipes.read(import_module(self._job.imagefile, self._hook), self._job.imagefile)

    @property
    def _hook(self) -> Any:
        """What pytest itself imports test modules with."""
        return self._config.pluginmanager.rewrite_hook

    def shared_fixtures(self, wanted: Iterable[str]) -> Mapping[str, Any]:
        """Return the fixtures of a conftest.py beside the imagefile, where one of these names is among them."""
        folder = self._job.imagefile.parent
        found = shared_fixtures(folder, self._hook, wanted, self._read.sharing)
        module = sys.modules.get("conftest")
        if module is not None and getattr(module, "__file__", None) == str(folder / FILE):
            self.load_plugins(module)
        return found

    def load_plugins(self, module: ModuleType) -> None:
        """Load what a module names in `pytest_plugins`.

        Raises:
            ImagefileError: there is none of that name, or it cannot be imported.
        """
        if not hasattr(module, "pytest_plugins"):
            return
        try:
            with self._read.sharing():
                self._config.pluginmanager.consider_module(module)
        except BaseException as error:  # it is the user's module
            cause = as_exception(error.__cause__ or error)
            verb, why, _ = describe(cause)
            raise ImagefileError(
                f"a plugin of pytest_plugins = {module.pytest_plugins!r} {verb} when it is imported",
                why=why,
                where=user_line(cause),
            ) from error

    def of(self, file: Path) -> tuple[ModuleType, Sequence[Function]]:
        """Return a file's module and the wanted functions in it."""
        if file == BUILTIN_FILE:
            module = importlib.import_module("bakery.smoke.builtin")
            return module, [test for name, test in module.TESTS.items() if name in self._job.builtin]
        functions = [self._function(test) for test in self._job.tests if test.file == file]
        return _module(file, self.recipe.module), functions

    def _function(self, test: TestRef) -> Function:
        tests = self.recipe.image(test.image).tests
        function = tests[test.index] if test.index < len(tests) else None
        if function is None or name_of(function) != test.name or location_of(function).file != test.file:
            raise ImagefileError(
                f"the test {test.name} is no longer where it was: the imagefile changed during the build",
                hint="run bake again",
            )
        return function


def _module(file: Path, imagefile: ModuleType) -> ModuleType:
    """Find the imported module of a file; the imagefile's own for functions made by a library."""
    for module in [imagefile, *sys.modules.values()]:
        if getattr(module, "__file__", None) == str(file):
            return module
    return imagefile


class PathCollector(pytest.Directory):
    """A folder in which pytest looks at nothing but the way to the tests.

    By itself it reads all folders from the first that the project and bakery have in common: folders that a user may
    enter and not read, and packages around the project, which it imports.
    """

    tests: Tests

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """Collect the next folder on the way to each file with tests, and the files that are here."""
        below = [file.relative_to(self.path) for file in self.tests.files if file.is_relative_to(self.path)]
        for name, last in dict.fromkeys((way.parts[0], len(way.parts) == 1) for way in below):
            if last:
                yield from self.ihook.pytest_collect_file(file_path=self.path / name, parent=self)
            elif (folder := self.ihook.pytest_collect_directory(path=self.path / name, parent=self)) is not None:
                yield folder


class MarkedTests(pytest.Module):
    """A module of which pytest collects the asked functions and nothing else, whatever their names are."""

    tests: Tests
    wanted: frozenset[str] = frozenset()

    def _getobj(self) -> ModuleType:
        """Return a view of the user's module: its globals as they are, for fixtures and marks."""
        try:
            module, _ = self.tests.of(self.path)
            self.tests.load_plugins(module)
        except ImagefileError as error:
            raise self.CollectError(str(error)) from error
        view = ModuleType(module.__name__, module.__doc__)
        vars(view).update(vars(module))
        return view

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """Collect each asked function under its name."""
        view: ModuleType = self.obj
        # pytest offers no other list of fixtures.
        fixtures = self.session._fixturemanager  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        fixtures.parsefactories(self)
        names: list[str] = []
        try:
            if self.path != BUILTIN_FILE:
                self._add_shared_fixtures(fixtures)
            for function in self.tests.of(self.path)[1]:
                adapted = adapt(
                    function,
                    lambda wanted: wanted == "request" or bool(fixtures.getfixturedefs(wanted, self)),
                    has_variables=self.path == BUILTIN_FILE or self.tests.recipe.variables is not None,
                )
                setattr(view, name_of(function), adapted)
                names.append(name_of(function))
        except ImagefileError as error:
            raise self.CollectError(str(error)) from error
        self.wanted = frozenset(names)
        return super().collect()

    def _add_shared_fixtures(self, fixtures: Any) -> None:
        """Let pytest know the fixtures of a conftest.py that tests here ask for, and that this module has not."""
        view: ModuleType = self.obj
        known = {name for name, thing in vars(view).items() if is_fixture(thing)}
        wanted = wanted_names(self.tests.of(self.path)[1], view) - known
        unknown = [name for name in wanted if name not in SUBJECTS and not fixtures.getfixturedefs(name, self)]
        shared = self.tests.shared_fixtures(unknown)
        holder = ModuleType("conftest")
        vars(holder).update({name: thing for name, thing in shared.items() if name not in known})
        self.obj = holder  # pytest looks there for fixtures that are this module's
        fixtures.parsefactories(self)
        self.obj = view

    def istestfunction(self, obj: object, name: str) -> bool:
        """Say whether pytest shall make items of it."""
        del obj
        return name in self.wanted

    def istestclass(self, obj: object, name: str) -> bool:
        """Never: an image's tests are functions."""
        del obj, name
        return False


def adapt(function: Function, is_fixture: Callable[[str], bool], *, has_variables: bool = True) -> Function:
    """Let pytest call a test by its rules and ours.

    An argument that has the name of a fixture or of a `parametrize` argument gets that. Of the others, the first is the
    host and the second the variables, whatever they are called.

    Args:
        function: the test.
        is_fixture: says whether there is a fixture of a name.
        has_variables: False where the imagefile has no class of variables.

    Raises:
        ImagefileError: the names `host` and `v` are used the wrong way round, or an argument is neither a fixture nor
            one of ours.
    """
    names = [
        p.name
        for p in inspect.signature(function).parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    given = _parametrized(function)
    own = [name for name in names if name not in given and (name in SUBJECTS or not is_fixture(name))]
    if own[:1] == ["v"] or own[1:2] == ["host"]:
        raise ImagefileError(
            f"test {name_of(function)}({', '.join(names)}) takes its arguments in the wrong order",
            why="a test takes the host first and the variables second",
            hint=f"def {function.__name__}(host, v): ...",
            where=location_of(function),
        )
    if len(own) > 1 and not has_variables:
        raise ImagefileError(
            f"test {name_of(function)} has the argument {own[1]}, and there is no fixture of that name",
            why="the imagefile has no variables that it could be",
            hint="fixtures come from pytest, the imagefile, and a conftest.py beside it; plugins are named in "
            "pytest_plugins of the imagefile",
            where=location_of(function),
        )
    renamed = dict(zip(own, SUBJECTS, strict=False))
    if isinstance(function, FunctionType) and all(name == subject for name, subject in renamed.items()):
        return function
    return _renamed(function, names, renamed)


def _renamed(function: Function, names: Sequence[str], renamed: Mapping[str, str]) -> Function:
    """Wrap a function so that pytest sees the names of our fixtures in place of the user's."""

    @functools.wraps(function)
    def adapted(**given: Any) -> Any:
        __tracebackhide__ = True
        return function(**{name: given[renamed.get(name, name)] for name in names})

    parameters = [inspect.Parameter(renamed.get(name, name), inspect.Parameter.KEYWORD_ONLY) for name in names]
    adapted.pytestmark = _marks(function)  # type: ignore[attr-defined]  # pytest's own protocol
    adapted.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # inspect's own protocol
    return adapted


def _marks(function: Function) -> list[Any]:
    """Its marks, or those of the function inside a partial or an object."""
    return [*(getattr(function, "pytestmark", None) or getattr(function_in(function), "pytestmark", []))]


def _parametrized(function: Function) -> set[str]:
    parameters: set[str] = set()
    for mark in _marks(function):
        if mark.name == "parametrize":
            names = mark.args[0] if mark.args else mark.kwargs["argnames"]
            parameters.update(part.strip() for part in (names.split(",") if isinstance(names, str) else names))
    return parameters
