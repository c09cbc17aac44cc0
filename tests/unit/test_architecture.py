"""The shape of the code: who may import whom, how long a file and a function may be, what users see."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import bakery
import bakery.drivers

ROOT = Path(bakery.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))


def imports(file: Path, *, at_import: bool = False) -> Iterator[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    nodes = tree.body if at_import else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def module_of(file: Path) -> str:
    words = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(words[:-1] if words[-1] == "__init__" else words)


MODULES = {module_of(file): file for file in FILES}


def dependencies(file: Path) -> Iterator[str]:
    """Our modules that a file imports anywhere, type-only imports included."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else node.module for name in names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_no_modules_import_each_other_in_a_circle() -> None:
    """The order of the rooms is import-linter's, in `make check`; this holds within them too."""
    graph = {name: set(dependencies(file)) & MODULES.keys() for name, file in MODULES.items() if name != "bakery"}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


DOOR = {"__init__.py", "__main__.py", "errors.py", "events.py", "model.py", "model_json.py", "publish.py"}
"""All files beside the rooms: what users import, and the vocabularies of every room."""


def test_the_door_has_few_names_and_each_room_says_what_belongs_in_it() -> None:
    assert {path.name for path in ROOT.glob("*.py")} == DOOR
    assert len([path for path in ROOT.iterdir() if path.is_dir() and path.name != "__pycache__"]) <= 14
    for door in ROOT.rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(door.read_text(encoding="utf-8"))), f"{door} has no sign"


def test_no_folder_with_code_lacks_a_door() -> None:
    """Without one import-linter does not see the folder."""
    assert {file.parent for file in FILES} == {door.parent for door in ROOT.rglob("__init__.py")}


PUBLIC_TWINS = {"Ec2", "OpenStack", "VSphere", "VirtualBox", "Volume", "Keep", "Folder", "Connection"}
"""Names that users know in two places: a source and a publisher, what two clouds have alike. Ansible looks for
its plugins by a class's name."""


def test_no_class_name_occurs_twice() -> None:
    homes: dict[str, list[str]] = {}
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(str(file.relative_to(ROOT)))
    assert {name: files for name, files in homes.items() if len(files) > 1 and name not in PUBLIC_TWINS} == {}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_file_and_no_function_is_too_long_to_be_read(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            doc = ast.get_docstring(node, clean=False)
            assert length - len((doc or "").splitlines()) <= 60, f"{node.name} has {length} lines"


def test_an_editor_shows_what_users_import_and_nothing_else() -> None:
    assert dir(bakery) == sorted(bakery.__all__)
    assert dir(bakery.drivers) == sorted(bakery.drivers.__all__)
    for name in bakery.__all__:
        assert getattr(bakery, name) is not None
    for name in bakery.drivers.__all__:
        assert getattr(bakery.drivers, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'tsak'"):
        bakery.tsak  # noqa: B018  reading it is the test


def test_no_provider_library_is_loaded_by_the_package() -> None:
    for file in FILES:
        for module in imports(file, at_import=True):
            if module.split(".")[0] in ("boto3", "botocore", "openstack"):
                pytest.fail(f"{file.relative_to(ROOT)} imports {module} when it is imported")


PROGRAMS = {
    "util/process.py": "the one home",
    "build/cluster/template.py": "forks of itself, which run no program",
    "drivers/ec2/machine/ssm.py": "a process that outlives us, of which a Popen object would warn",
    "provision/inside_ansible/connection/bakery_container.py": "a plugin of Ansible's, in whose process we are not",
    "testing/kill.py": "bake itself, whose death by a signal is what is looked at",
    "testing/virtualbox/guest_process.py": "a program of its own: it plays a machine's process, and lives as long",
    "testing/virtualbox/root.py": "the real program behind a stand-in, with its streams and exit code as they are",
    "testing/virtualbox/startvm_stand_in.py": "the stand-in: a program that becomes, or plays, another one",
}
"""The modules that may start a program themselves, and why."""

STARTERS = {
    "asyncio": ("create_subprocess_exec", "create_subprocess_shell"),
    "os": ("exec", "fork", "popen", "posix_spawn", "spawn", "startfile", "system"),
    "pty": ("fork", "spawn"),
    "subprocess": ("Popen", "call", "check_call", "check_output", "getoutput", "getstatusoutput", "run"),
}
"""By module, how the names begin with which Python starts a program."""


def starters(file: Path) -> Iterator[str]:
    """The calls with which a module starts programs."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module in STARTERS:
            yield from (alias.name for alias in node.names if alias.name.startswith(STARTERS[node.module]))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            module = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
            if node.func.attr.startswith(STARTERS.get(module, ())):
                yield f"{module}.{node.func.attr}"


def test_programs_are_started_in_one_place() -> None:
    """There they have a time limit, an end that reaches their children, and errors that name them."""
    assert {str(file.relative_to(ROOT)) for file in FILES if any(starters(file))} == PROGRAMS.keys()


@pytest.mark.parametrize(
    "line",
    ["subprocess.run(['x'])", "os.execvp('x', [])", "from subprocess import Popen", "os.posix_spawn('x', [], {})"],
)
def test_a_program_that_is_started_elsewhere_is_seen(tmp_path: Path, line: str) -> None:
    (tmp_path / "module.py").write_text(f"def start():\n    return 1\n\n{line}\n")
    assert len(list(starters(tmp_path / "module.py"))) == 1
