"""Whose code is it: the user's, which is followed, or a package's, which counts by name and version."""

from __future__ import annotations

import importlib.metadata
import json
import sys
import types
from pathlib import Path

import pytest

from bakery.cache.inputs import modules


@pytest.mark.parametrize(
    ("file", "users"),
    [
        (None, False),
        ("", False),
        ("<string>", False),
        ("<frozen importlib._bootstrap>", False),
        (json.__file__, False),
        (pytest.__file__, False),
        (modules.__file__, False),
        ("/home/me/images/imagefile.py", True),
        ("/home/me/.venv/lib/python3.11/site-packages/requests/api.py", False),
        ("/usr/lib/python3/dist-packages/apt/cache.py", False),
        (__file__, True),
    ],
)
def test_a_file_is_the_users_unless_it_came_with_python_a_package_or_bakery(file: str | None, users: bool) -> None:
    assert modules.is_users(file) == users


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A helper module of a user's, imported."""
    path = tmp_path / "bakery_test_helper.py"
    path.write_text("")
    module = types.ModuleType("bakery_test_helper")
    module.__file__ = str(path)
    monkeypatch.setitem(sys.modules, "bakery_test_helper", module)
    return module


def test_an_imported_module_is_the_users_or_a_packages(helper: types.ModuleType) -> None:
    assert modules.is_users_module(helper.__name__)
    assert not modules.is_users_module("json")
    assert not modules.is_users_module("no_such_module")
    assert not modules.is_users_module(None)
    assert not modules.is_packaged(helper.__name__)
    assert modules.is_packaged("pytest")
    assert modules.is_packaged("pytest.fixtures")
    assert not modules.is_packaged("json.decoder")
    assert not modules.is_packaged("builtins")


def test_a_module_that_nobody_imported_yet_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bakery_test_alone.py").write_text("raise SystemExit('it must not be run')")
    (tmp_path / "bakery_test_package").mkdir()
    (tmp_path / "bakery_test_package/inner.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert modules.lies_in_users_files("bakery_test_alone")
    assert modules.lies_in_users_files("bakery_test_package.inner")
    assert not modules.lies_in_users_files("antigravity")
    assert not modules.lies_in_users_files("moto.server")
    assert not modules.lies_in_users_files("no_such_module.at_all")
    assert "bakery_test_alone" not in sys.modules
    assert "antigravity" not in sys.modules


def test_a_module_that_is_imported_is_where_it_came_from(helper: types.ModuleType) -> None:
    assert modules.lies_in_users_files(f"{helper.__name__}.part")
    assert not modules.lies_in_users_files("json")
    assert not modules.lies_in_users_files("pytest")


def test_python_and_packages_count_by_version() -> None:
    python = f"python {sys.version_info.major}.{sys.version_info.minor}"
    assert modules.package("json.decoder") == modules.package("builtins") == python
    assert modules.package("pytest") == f"pytest {importlib.metadata.version('pytest')}"
    assert modules.package("bakery.machine") == f"imagebakery {importlib.metadata.version('imagebakery')}"


def test_a_package_of_another_name_than_its_module_is_found() -> None:
    assert modules.package("yaml.nodes") in {
        f"yaml {sys.modules['yaml'].__version__}" if "yaml" in sys.modules else "",
        f"PyYAML {importlib.metadata.version('PyYAML')}",
    }


@pytest.mark.parametrize(
    ("version", "shown"), [("1.2", "bakery_test_own 1.2"), ((1, 2), "bakery_test_own ?"), (None, "bakery_test_own ?")]
)
def test_a_module_that_no_package_brought_counts_by_what_it_says(
    monkeypatch: pytest.MonkeyPatch, version: object, shown: str
) -> None:
    module = types.ModuleType("bakery_test_own")
    if version is not None:
        module.__version__ = version  # type: ignore[attr-defined]  # as many modules have
    monkeypatch.setitem(sys.modules, "bakery_test_own", module)
    modules.package.cache_clear()
    assert modules.package("bakery_test_own.part") == shown
    modules.package.cache_clear()


def test_the_users_files_are_those_of_imported_modules(helper: types.ModuleType, tmp_path: Path) -> None:
    found = set(modules.users_files(tmp_path))
    assert Path(str(helper.__file__)) in found
    assert not {path for path in found if "site-packages" in path.parts}
    assert Path(json.__file__) not in found


@pytest.mark.parametrize("name", ["conftest", "tests.helper"])
def test_tests_of_another_folder_are_none_of_the_imagefiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    module = types.ModuleType(name)
    module.__file__ = str(tmp_path / "other" / f"{name}.py")
    monkeypatch.setitem(sys.modules, name, module)
    assert Path(module.__file__) not in set(modules.users_files(tmp_path / "project"))
    assert Path(module.__file__) in set(modules.users_files(tmp_path / "other"))


@pytest.mark.parametrize(
    ("file", "shown"),
    [("/project/imagefile.py", "imagefile.py"), ("/project/lib/a.py", "lib/a.py"), ("/other/a.py", "/other/a.py")],
)
def test_a_file_is_labelled_from_the_project(file: str, shown: str) -> None:
    assert modules.label(file, Path("/project")) == shown


def test_a_module_without_a_file_is_labelled_by_its_name() -> None:
    assert modules.module_file(types.ModuleType("made_up")) == "<made_up>"
    assert modules.module_file(json) == json.__file__
