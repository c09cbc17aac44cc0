"""What a task's behaviour depends on in the user's own modules, found by following its code.

From a function: its code, default arguments, enclosed variables, and every global that it or its helpers name. From a
module: only the attributes that are used, or all of them where the module is handed on. From a package: its version.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

from bakery.cache.inputs import modules
from bakery.cache.inputs.digest import Keyed, of_json
from bakery.cache.inputs.function_source import Reference, Sources, references
from bakery.cache.inputs.values import Unstable, Values, shown
from bakery.imagefile.user_code import repr_of, user_line
from bakery.model import Json

MARK = "__bakery__"
_DYNAMIC = {
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "compile"),
    ("builtins", "__import__"),
    ("builtins", "globals"),
    ("importlib", "import_module"),
    ("sys", "_getframe"),
    ("sys", "modules"),
    ("runpy", "run_path"),
    ("runpy", "run_module"),
}
_READS_DOCS = {"__doc__", "getdoc", "getsource", "getsourcelines"}
_CLASS_NOISE = {
    "__dict__",
    "__weakref__",
    "__doc__",
    "__module__",
    "__qualname__",
    "__firstlineno__",
    "__static_attributes__",
    "__dataclass_fields__",
    "__dataclass_params__",
    "__abstractmethods__",
    "_abc_impl",
    "__parameters__",
    "__annotate_func__",
    "__annotations_cache__",
    MARK,
}


@dataclass(frozen=True)
class Code:
    """A task's code and all that it reaches.

    Args:
        items: what was found, `constant WORKERS in imagefile.py`, each with its digest.
        shown: short texts of those whose value may be shown.
        problems: what could not be followed; then a result must not be reused.
        foreign: items that are objects of packages: these may change inside while they are used (a template cache).
    """

    items: dict[str, str]
    shown: dict[str, str]
    problems: tuple[str, ...] = ()
    foreign: frozenset[str] = frozenset()

    @property
    def digest(self) -> str:
        """One digest for all of it."""
        return of_json(dict(self.items))

    def changed_since(self, before: Code) -> list[str]:
        """Return what the step changed in the program itself: running it and skipping it are not the same then."""
        labels = {*self.items, *before.items} - self.foreign - before.foreign
        return sorted(label for label in labels if self.items.get(label) != before.items.get(label))


@dataclass(frozen=True)
class Follower:
    """Follows the code of one imagefile's functions; its source files are parsed once.

    Args:
        root: the imagefile's folder; names of files are relative to it.
        keyed: digests secrets.
    """

    root: Path
    keyed: Keyed
    _plain: Sources = field(default_factory=Sources)
    _with_docs: Sources = field(default_factory=lambda: Sources(docs=True))

    def follow(self, function: Callable[..., Any], variables: object = None) -> Code:
        """Follow a task's code.

        Args:
            function: the task.
            variables: the object that the task gets; its class may have methods of the user's.
        """
        try:
            walk = Walk(self.root, self.keyed, self._plain)
            walk.start(function, variables)
            if walk.reads_docs:
                walk = Walk(self.root, self.keyed, self._with_docs)
                walk.start(function, variables)
        except BaseException as error:
            if (where := user_line(error)) is None:
                raise
            return Code({}, {}, (f"{where} raises {type(error).__name__} when it is looked at",))
        return Code(walk.items, walk.shown, tuple(dict.fromkeys(walk.problems)), frozenset(walk.foreign))


@dataclass
class Walk:
    """One walk over what a function reaches; every function, class and constant is an item, met once."""

    root: Path
    keyed: Keyed
    sources: Sources
    items: dict[str, str] = field(default_factory=dict[str, str])
    shown: dict[str, str] = field(default_factory=dict[str, str])
    problems: list[str] = field(default_factory=list[str])
    foreign: set[str] = field(default_factory=set[str])
    reads_docs: bool = False
    _met: dict[int, tuple[str, object]] = field(default_factory=dict[int, tuple[str, object]])

    def __post_init__(self) -> None:
        """Make the digester of values, which asks back for functions, classes and modules inside them."""
        self._values = Values(self.keyed, self.root, self.reference)

    def start(self, function: Callable[..., Any], variables: object) -> None:
        """Follow the task, and the methods of the variables' class."""
        if isinstance(function, FunctionType):
            self._function("task code", function)
        else:
            self._value("task code", function)
        if variables is not None and modules.is_users_module(type(variables).__module__):
            fields = set(getattr(type(variables), "__dataclass_fields__", {}))
            self._class(f"class {type(variables).__qualname__}", type(variables), without=fields)

    # ---- items ----------------------------------------------------------------------------------------------

    def reference(self, thing: Any) -> Json:
        """Return what stands for a function, class or module inside something else."""
        if isinstance(thing, ModuleType):
            return self._module(thing)
        if isinstance(thing, FunctionType):
            return self._function_reference(thing)
        name, qualname = getattr(thing, "__module__", None) or "builtins", getattr(thing, "__qualname__", None)
        qualname = repr_of(thing) if qualname is None else qualname
        if isinstance(thing, type) and modules.is_users_module(name):
            file = modules.module_file(sys.modules[name])
            return self._once(thing, f"class {qualname} in {self._label(file)}", self._class)
        return ["package", modules.package(name), name, qualname]

    def _function_reference(self, function: FunctionType) -> Json:
        """Return the user's function; a package's; or one that a package's decorator made around something."""
        code, home = function.__code__, str(function.__globals__.get("__name__", ""))
        if self._users_code(code, home):
            return self._once(
                function, f"function {code.co_qualname} in {self._label(code.co_filename)}", self._function
            )
        if function.__closure__ is None and not hasattr(function, "__wrapped__"):
            return ["package", modules.package(home), home, code.co_qualname]
        return self._once(
            function, f"function {function.__qualname__} of {modules.package(home)}", self._made_by_package
        )

    def _made_by_package(self, label: str, function: FunctionType) -> None:
        inside = [cell.cell_contents for cell in function.__closure__ or () if not _empty(cell)]
        wrapped = getattr(function, "__wrapped__", None)
        self.items[label] = of_json([function.__code__.co_qualname, self._form(label, [inside, wrapped])])

    def _users_code(self, code: CodeType, module: str) -> bool:
        """Code made by `exec` has no file; it belongs to the module that it was made for."""
        return modules.is_users(code.co_filename) or (
            code.co_filename.startswith("<") and modules.is_users_module(module)
        )

    def _once(self, thing: Any, label: str, visit: Callable[[str, Any], None]) -> Json:
        if id(thing) not in self._met:
            label = self._free(label)
            self._met[id(thing)] = (label, thing)  # holds it, so that its id stays its own
            visit(label, thing)
        return ["see", self._met[id(thing)][0]]

    def _free(self, label: str) -> str:
        taken = {name for name, _ in self._met.values()}
        candidates = (label, *(f"{label} #{number}" for number in range(2, len(taken) + 3)))
        return next(name for name in candidates if name not in taken)

    def _function(self, label: str, function: FunctionType) -> None:
        self._met.setdefault(id(function), (label, function))
        extra = {name: value for name, value in vars(function).items() if name not in (MARK, "__wrapped__")}
        defaults = [function.__defaults__, function.__kwdefaults__, extra]
        self.items[label] = of_json([self.sources.form(function.__code__), self._form(label, defaults)])
        where = self._label(function.__code__.co_filename)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            if not _empty(cell):
                self._item(f"value {name} enclosed by {label}", name, cell.cell_contents)
        for reference in references(function.__code__):
            self._follow(reference, function, where)

    def _item(self, label: str, name: str, value: Any) -> None:
        """Take in a named value: what it refers to, or itself."""
        if isinstance(value, (FunctionType, type, ModuleType)):
            self.items[label] = of_json(self.reference(value))
        else:
            self._value(label, value, name)

    def _value(self, label: str, value: Any, name: str = "") -> None:
        self.items[label] = of_json(self._form(label, value))
        if text := shown(name, value):
            self.shown[label] = text
        if modules.is_packaged(type(value).__module__):
            self.foreign.add(label)

    def _form(self, label: str, value: Any) -> Json:
        try:
            return self._values.form(value)
        except Unstable as error:
            self.problems.append(f"{label}: {error}")
            return ["unstable"]

    def _class(self, label: str, cls: type, without: set[str] | None = None) -> None:
        skipped = _CLASS_NOISE | ({*without, "__annotations__", "__match_args__"} if without is not None else set())
        fields = getattr(cls, "__dataclass_fields__", {})
        members = {name: value for name, value in vars(cls).items() if name not in skipped and not _made(value, fields)}
        form: list[Json] = [[name, self._form(f"{label}: {name}", value)] for name, value in sorted(members.items())]
        order: list[Json] = [name for name in members if not callable(members[name])]  # of an enum's or row's members
        if without is None:
            form += [[name, self._form(f"{label}: {name}", _field(item))] for name, item in fields.items()]
        bases: list[Json] = [self.reference(base) for base in (*cls.__bases__, type(cls))]
        self.items[label] = of_json([form, order, bases])

    def _module(self, module: ModuleType) -> Json:
        """Return a module that is handed on as a whole: anything in it may be used."""
        if not modules.is_users(getattr(module, "__file__", None)):
            return ["package", modules.package(module.__name__)]
        where = self._label(modules.module_file(module))
        return self._once(module, f"module {where}", self._all_of)

    def _all_of(self, label: str, module: ModuleType) -> None:
        self.items[label] = of_json([*sorted(name for name in vars(module) if not name.startswith("__"))])
        where = self._label(modules.module_file(module))
        for name, value in sorted(vars(module).items()):
            if not name.startswith("__"):
                self._named(name, value, where)

    def _label(self, file: str) -> str:
        return modules.label(file, self.root)

    # ---- references -----------------------------------------------------------------------------------------

    def _follow(self, reference: Reference, function: FunctionType, where: str) -> None:
        self.reads_docs = self.reads_docs or bool(_READS_DOCS & {reference.name, *reference.attributes})
        if reference.imported:
            self._import(reference, function.__globals__.get("__package__") or "", where)
        elif reference.name in function.__globals__:
            self._take(reference.name, function.__globals__[reference.name], reference.attributes, where)
        elif hasattr(builtins, reference.name):
            self._dynamic("builtins", reference.name, where)
        else:
            self.items[f"name {reference.name} in {where}"] = "missing"

    def _take(self, name: str, value: Any, attributes: tuple[str, ...], where: str) -> None:
        """Of a module, take what is used of it."""
        while isinstance(value, ModuleType) and attributes:
            self._dynamic(value.__name__, attributes[0], where)
            if not modules.is_users(getattr(value, "__file__", None)):
                break
            if not hasattr(value, attributes[0]):
                self.items[f"name {name}.{attributes[0]} in {where}"] = "missing"
                return
            where = self._label(modules.module_file(value))
            name, value, attributes = attributes[0], getattr(value, attributes[0]), attributes[1:]
        self._named(name, value, where)

    def _named(self, name: str, value: Any, where: str) -> None:
        if isinstance(value, (FunctionType, type, ModuleType)):
            self.items[f"name {name} in {where}"] = of_json(self.reference(value))
            return
        label = f"constant {name} in {where}"
        if label not in self.items:
            self.items[label] = ""  # met; a value that refers to itself ends here
            self._value(label, value, name)

    def _dynamic(self, module: str, name: str, where: str) -> None:
        if (module, name) in _DYNAMIC:
            self.problems.append(f"{where} uses {name}, and what that reaches cannot be followed")

    def _import(self, reference: Reference, package: str, where: str) -> None:
        """Follow an import inside a function: the user's module is loaded now, as one at the top of the file is."""
        name = "." * reference.level + reference.name
        try:
            full = importlib.util.resolve_name(name, package)
            if not modules.lies_in_users_files(full):
                self.items[f"package {full}"] = of_json(modules.package(full))
                return
            module = importlib.import_module(full)
        except Exception as error:  # whatever a user's module raises, the task will meet it when it runs
            self.problems.append(f"{where} imports {name}, which fails: {error}")
            return
        if not reference.attributes:
            self.reference(module)
        for attribute in reference.attributes:
            self._take(full, module, (attribute,), where)


def _empty(cell: CellType) -> bool:
    try:
        return cell.cell_contents is cell
    except ValueError:
        return True


def _made(value: object, fields: object) -> bool:
    """Say whether `dataclass` wrote a method: the fields, which are followed, decide what it does."""
    code = getattr(getattr(value, "__wrapped__", value), "__code__", None)
    return bool(fields) and code is not None and code.co_filename == "<string>"


def _field(item: Any) -> list[Any]:
    kind = item.type if isinstance(item.type, str) else repr(item.type)
    flags = (item.init, item.repr, item.hash, item.compare, item.kw_only)
    return [kind, item.default, item.default_factory, *flags, dict(item.metadata)]
