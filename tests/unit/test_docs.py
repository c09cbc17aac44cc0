"""The manual says what the code does: commands, options, names, exit codes, examples and links."""

from __future__ import annotations

import dataclasses
import html
import inspect
import re
import runpy
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest

import bakery
import bakery.drivers
from bakery import errors, events
from bakery.cli.app import COMMANDS, bake
from bakery.disk.bases import publishers
from bakery.imagefile import loader
from bakery.imagefile.builds import Plan
from bakery.imagefile.describe import describe
from bakery.imagefile.plan import plan
from bakery.imagefile.variables import Settings
from bakery.smoke import builtin

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SETTINGS = {
    "Alma": "cloud-images",
    "Alpine": "cloud-images",
    "CloudImage": "cloud-images",
    "Debian": "bases",
    "Ubuntu": "cloud-images",
    "Ec2": "aws",
    "Local": "local",
    "Nspawn": "nspawn",
    "OpenStack": "openstack",
    "Qemu": "qemu",
    "VirtualBox": "virtualbox",
}
COMPLETE = Path(__file__).parent / "data" / "complete_imagefile.py"
CLI = (ROOT / "docs" / "cli.md").read_text()
ALL = "\n".join(page.read_text() for page in PAGES)


def commands() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(bake)
    yield "bake", bake
    for name in COMMANDS:
        command = bake.get_command(context, name)
        assert command is not None
        yield f"bake {name}", command
        if isinstance(command, click.Group):
            yield from ((f"bake {name} {inner}", command.commands[inner]) for inner in command.commands)


def options() -> Iterator[str]:
    for _, command in commands():
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                yield from option.opts


def examples() -> Iterator[tuple[str, str]]:
    """Blocks of Python that are whole imagefiles."""
    for page in PAGES:
        for number, block in enumerate(re.findall(r"(?ms)^```python\n(.*?)^```", page.read_text())):
            if "import bakery\n" in block and "@bakery.source" in block:
                yield f"{page.name}-{number}", block


def planned(file: Path) -> Plan:
    return plan(loader.load(file), Settings(environ={}))


@pytest.mark.parametrize("name", [name for name, _ in commands() if name not in ("bake", "bake build")])
def test_the_manual_names_every_command(name: str) -> None:
    assert re.search(rf"`{name}\b", CLI)


@pytest.mark.parametrize("option", sorted(set(options())))
def test_the_manual_names_every_option(option: str) -> None:
    assert re.search(rf"(?<![\w-]){option}(?![\w-])", CLI)


def test_the_manual_names_no_option_that_does_not_exist() -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", CLI))
    assert named - set(options()) - {"--help"} == set()


def test_the_manual_lists_every_published_version() -> None:
    page = (ROOT / "docs" / "cloud-images.md").read_text()
    for publisher in publishers.table().values():
        (row,) = re.findall(rf'(?m)^\| `{publisher.title}\("\S+"\)` .*$', page)
        for number, known in publisher.versions.items():
            assert {f"`{number}`", f"`{known.alias}`"} & {*re.findall("`[^`]+`", row)}
        signed = any(known.keys for known in publisher.versions.values())
        assert ("key, built in" in row) is signed
        assert ("TLS alone" in row) is not signed


@pytest.mark.parametrize("name", bakery.__all__)
def test_every_public_name_is_in_the_manual(name: str) -> None:
    assert re.search(rf"\bbakery\.{name}\b|`{name}\b|\b{name}\(|import [\w, ]*\b{name}\b", ALL)


@pytest.mark.parametrize("name", bakery.drivers.__all__)
def test_every_source_and_base_is_in_the_manual(name: str) -> None:
    assert re.search(rf"\b{name}\(|`{name}`", ALL)


@pytest.mark.parametrize("name", sorted(set(bakery.drivers.__all__) & SETTINGS.keys()))
def test_every_setting_of_a_source_or_base_is_in_its_page(name: str) -> None:
    pages = "\n".join(page.read_text() for page in PAGES if page.stem.startswith(SETTINGS[name]))
    settings = {field.name for field in dataclasses.fields(getattr(bakery.drivers, name)) if field.init}
    assert {setting for setting in settings if not re.search(rf"`{setting}\b|\b{setting}[=,)]", pages)} == set()


def test_every_part_of_the_seal_is_in_the_manual() -> None:
    named = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "machine.md").read_text(), re.MULTILINE))
    assert {field.name for field in dataclasses.fields(bakery.Seal)} <= named


def test_every_event_and_field_is_in_the_manual() -> None:
    text = (ROOT / "docs" / "reports.md").read_text()
    for event in (kind for kind in events.Event.__subclasses__() if kind.__module__ == events.__name__):
        kind = re.sub(r"(?<!^)(?=[A-Z])", "-", event.__name__).lower()
        assert {kind, *(field.name for field in dataclasses.fields(event))} <= set(re.findall(r"`([\w-]+)`", text)), (
            kind
        )


def test_every_built_in_test_is_in_the_manual() -> None:
    named = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "smoke-tests.md").read_text(), re.MULTILINE))
    tests = {name for name, _ in inspect.getmembers(builtin, inspect.isfunction) if not name.startswith("_")}
    assert {name for name in tests if getattr(builtin, name).__module__ == builtin.__name__} <= named


def test_the_manual_has_the_exit_codes_that_errors_have() -> None:
    codes = {
        thing.exit_code
        for _, thing in inspect.getmembers(errors, inspect.isclass)
        if issubclass(thing, errors.BakeryError)
    }
    for page, pattern in (("cli.md", r"^\| (\d+) \|"), ("reliability.md", r"\| (\d+) \|")):
        text = (ROOT / "docs" / page).read_text()
        table = text.partition("## Exit codes")[2].partition("\n## ")[0]
        assert {int(code) for code in re.findall(pattern, table, re.MULTILINE)} == {0, *codes}, page


@pytest.mark.parametrize(("name", "block"), [pytest.param(*example, id=example[0]) for example in examples()])
def test_an_example_that_is_a_whole_imagefile_loads_and_plans(name: str, block: str, tmp_path: Path) -> None:
    file = tmp_path / "imagefile.py"
    file.write_text(block)
    assert planned(file).builds, name


@pytest.mark.parametrize("source", [ROOT / "imagefile.py.example", COMPLETE], ids=["the example", "a complete file"])
def test_a_file_of_ours_loads_lists_and_plans(source: Path, tmp_path: Path) -> None:
    file = tmp_path / "imagefile.py"
    file.write_bytes(source.read_bytes())
    assert [image["name"] for image in describe(loader.load(file))["images"]] == ["web"]
    assert planned(file).builds


def test_the_complete_file_makes_an_image_for_each_release_and_source(tmp_path: Path) -> None:
    file = tmp_path / "imagefile.py"
    file.write_bytes(COMPLETE.read_bytes())
    builds = {build.name: build for build in planned(file).builds}
    assert sorted(builds) == [f"web[release={r}]@{s}" for r in ("bookworm", "bullseye") for s in ("aws", "laptop")]
    assert {build.image for build in builds.values()} == {"web-bookworm", "web-bullseye"}
    assert [len(builds[f"web[release=bookworm]@{source}"].post) for source in ("aws", "laptop")] == [1, 0]


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)", page.read_text()):
        there = page.parent / target if target else page
        assert there.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor in slugs, f"{target}#{anchor}"


@pytest.mark.parametrize("folder", ["docs", "docs/decisions"])
def test_the_table_of_contents_has_every_page(folder: str) -> None:
    index = ROOT / folder / "index.md"
    listed = re.search(r"```\{toctree\}\n(?::hidden:\n\n)?(.*?)```", index.read_text(encoding="utf-8"), re.DOTALL)
    assert listed
    pages = {page.stem for page in index.parent.glob("*.md")} | {
        f"{page.parent.name}/index" for page in index.parent.glob("*/index.md")
    }
    assert pages - {"index"} == set(listed[1].split())


def test_the_picture_of_the_rooms_is_the_one_that_the_imports_give() -> None:
    drawn = runpy.run_path(str(ROOT / "tools" / "architecture"))["picture"]()
    assert (ROOT / "docs" / "architecture.svg").read_text(encoding="utf-8") == drawn, "run tools/architecture"


def test_every_room_is_in_the_page_about_the_architecture() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for door in (ROOT / "bakery").glob("*/__init__.py"):
        assert f"| `{door.parent.name}` |" in page


# ---- the reference ---------------------------------------------------------------------------------------------------

REFERENCE = (ROOT / "docs/reference.md").read_text()
PUBLIC = ("bakery", "bakery.drivers", "bakery.publish", "bakery.provision", "bakery.testing")
OPTIONS = ("ec2", "openstack", "virtualbox", "vsphere")


def public_names() -> Iterator[str]:
    """Yield all that users import: the lists of the public modules, and the options of sources."""
    for module in map(import_module, PUBLIC):
        yield from (f"{module.__name__}.{name}" for name in module.__all__ if name != "publish")
    for driver in OPTIONS:
        options = import_module(f"bakery.drivers.{driver}.options")
        own = [name for name, thing in vars(options).items() if isinstance(thing, type)]
        names = [name for name in own if getattr(options, name).__module__.startswith(f"bakery.drivers.{driver}")]
        for name in names:
            is_short = hasattr(bakery.drivers, name) and getattr(bakery.drivers, name) is getattr(options, name)
            yield f"bakery.drivers.{name}" if is_short else f"bakery.drivers.{driver}.options.{name}"


def test_every_public_name_is_in_the_reference() -> None:
    documented = re.findall(r"^\.\. auto(?:class|function):: (\S+)$", REFERENCE, re.MULTILINE)
    assert {*public_names()} - {*documented} == set()
    others = {*documented} - {*public_names()}
    assert others == {"bakery.drivers.base.Driver"}
    assert len(documented) == len({*documented})
    assert ".. automodule:: bakery.errors" in REFERENCE


def test_the_picture_is_of_a_run_of_the_example() -> None:
    text = html.unescape(re.sub(r"<[^>]+>", "", (ROOT / "docs" / "run.svg").read_text(encoding="utf-8")))
    words = text.replace("\xa0", " ")
    example = runpy.run_path(str(ROOT / "imagefile.py.example"))
    build = f"{example['web'].__name__}@{example['laptop'].__name__}"
    for part in (
        "$ bake",
        f"{build}",
        "task 1/2 nginx",
        "task 2/2 harden",
        "web-bookworm is kept",
        "tests passed",
        "`bake ssh",
    ):
        assert part in words
    assert not {"warning", "emulated", "FAILED"} & set(words.split())  # as a reader should first see it
