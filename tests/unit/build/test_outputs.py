"""What a Makefile gets: a copy of the image, its date, and the list of files that it depended on."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bakery.build.context import RunContext
from bakery.build.outputs import check_outputs, made_besides, reading, touch, write_outputs
from bakery.cache.inputs.external import LocalInput
from bakery.disk.bases.cloud_image import CloudImage
from bakery.drivers.registry import Registry
from bakery.errors import PostError, UsageError
from bakery.imagefile.builds import Plan
from bakery.model import Artifact

from .memory import MemoryDriver, Project, project

__all__ = ["project"]

IMAGES = """
@bakery.image(sources=[here])
def base(): ...

@bakery.source
def on_base() -> Memory:
    return Memory(base=base)

@bakery.image(sources=[on_base])
def web(): ...
"""
DATA = b"an image" * 1000


@pytest.fixture
def two(project: Project) -> Project:
    """A project with an image that stands on another, and the folder that the user is in."""
    project.write(IMAGES)
    return project


@pytest.fixture
def image(tmp_path: Path) -> Artifact:
    path = tmp_path / "kept.qcow2"
    path.write_bytes(DATA)
    digest = hashlib.sha256(DATA).hexdigest()
    return Artifact(
        driver="memory", id=str(path), name="web", build="web@on_base", format="qcow2", size=len(DATA), sha256=digest
    )


def write(run: RunContext, image: Artifact | None) -> None:
    write_outputs(run.jobs.plan, {} if image is None else {"web@on_base": image}, run)


def standing_on(plan: Plan, base: object) -> Plan:
    """The same builds, of which the first one stands on something else."""
    first, *others = plan.builds
    return replace(plan, builds=(replace(first, boot=replace(first.boot, base=base)), *others))


# ---- before the start ------------------------------------------------------------------------------------------------


def test_a_base_on_the_way_to_the_image_is_not_counted(two: Project, tmp_path: Path) -> None:
    plan = two.run().jobs.plan
    check_outputs(plan, None)
    check_outputs(plan, tmp_path / "web.qcow2")


def test_two_images_are_not_written_to_one_file(two: Project, tmp_path: Path) -> None:
    two.write(IMAGES + "\n@bakery.image(sources=[here])\ndef db(): ...\n")
    with pytest.raises(UsageError, match="-o names one file, but 2 images would be built") as raised:
        check_outputs(two.run().jobs.plan, tmp_path / "web.qcow2")
    assert raised.value.why == "web@on_base, db@here"


def test_the_format_that_the_driver_makes_decides_on_the_name(
    two: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drivers = Registry()
    drivers.add(two.driver)
    plan = two.run().jobs.plan
    check_outputs(plan, tmp_path / "web.raw", drivers, "web.raw")  # this driver does not say
    monkeypatch.setattr(MemoryDriver, "image_format", lambda *_: "qcow2")
    check_outputs(plan, tmp_path / "web.qcow2", drivers, "web.qcow2")
    with pytest.raises(UsageError, match=r"-o web.raw: the image is qcow2, and the name says raw"):
        check_outputs(plan, tmp_path / "web.raw", drivers, "web.raw")


def test_an_image_is_not_written_over_the_file_that_it_stands_on(two: Project, tmp_path: Path) -> None:
    base = tmp_path / "a base.qcow2"
    base.touch()
    (tmp_path / "link").symlink_to(base)
    plan = two.run().jobs.plan
    sums = tmp_path / "SHA256SUMS"
    bases = [
        Artifact(driver="qemu", id=str(base), name="base", format="qcow2"),
        CloudImage(f"file://{tmp_path}/a%20base.qcow2", "sha256:" + "0" * 64),
        CloudImage("https://example.org/a.qcow2", f"file://{sums}"),
    ]
    for one, path in zip(bases, (tmp_path / "link", base, sums), strict=True):
        with pytest.raises(UsageError, match=r"-o it: base@here stands on that file"):
            check_outputs(standing_on(plan, one), path, given="it")
        check_outputs(standing_on(plan, one), tmp_path / "another.qcow2")


# ---- the image -------------------------------------------------------------------------------------------------------


def test_the_output_is_a_copy_that_nobody_can_harm_the_kept_image_through(
    two: Project, image: Artifact, tmp_path: Path
) -> None:
    output = tmp_path / "out/web.qcow2"
    write(two.run(output=output), image)
    assert output.read_bytes() == DATA
    assert not output.samefile(image.path)


def test_a_copy_that_is_there_already_is_not_written_again(two: Project, image: Artifact, tmp_path: Path) -> None:
    output = tmp_path / "web.qcow2"
    output.write_bytes(DATA)
    before = output.stat().st_ino
    write(two.run(output=output), image)
    assert output.stat().st_ino == before
    output.write_bytes(DATA[:-1] + b"!")  # of the same size
    write(two.run(output=output), image)
    assert output.read_bytes() == DATA


def test_a_link_to_the_kept_image_is_replaced_by_a_copy(two: Project, image: Artifact, tmp_path: Path) -> None:
    output = tmp_path / "web.qcow2"
    os.link(image.path, output)  # as an earlier version left it
    write(two.run(output=output), image)
    assert output.read_bytes() == DATA
    assert not output.samefile(image.path)


def test_an_image_at_a_provider_cannot_be_copied(two: Project, tmp_path: Path) -> None:
    far = Artifact(driver="memory", id="ami-1", name="web", build="web@on_base")
    with pytest.raises(PostError, match="ami-1 is not a file"):
        write(two.run(output=tmp_path / "web"), far)


def test_what_became_something_else_meanwhile_is_not_written_over(
    two: Project, image: Artifact, tmp_path: Path
) -> None:
    output = tmp_path / "web.qcow2"
    run = two.run(output=output)
    output.mkdir()
    with pytest.raises(PostError, match="it is no file") as raised:
        write(run, image)
    assert raised.value.hint == f"the image itself is kept: {image.id}"


def test_what_a_task_read_is_not_written_over(two: Project, image: Artifact, tmp_path: Path) -> None:
    output = tmp_path / "web.conf"
    output.write_text("the user's")
    run = two.run(output=output)
    run.inputs.add(LocalInput("file", output))
    with pytest.raises(PostError, match="the image depends on that file"):
        write(run, image)
    assert output.read_text() == "the user's"


def test_a_full_disk_leaves_the_older_output_and_says_where_the_image_is(
    two: Project, image: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    output = tmp_path / "web.qcow2"
    output.write_bytes(b"older")
    monkeypatch.setattr("bakery.build.outputs.copy_sparse", full)
    with pytest.raises(PostError, match="the output cannot be written") as raised:
        write(two.run(output=output), image)
    assert "No space left" in raised.value.why
    assert raised.value.hint == f"the image itself is kept: {image.id}"
    assert output.read_bytes() == b"older"


# ---- the dependency file ---------------------------------------------------------------------------------------------


def dependencies(
    two: Project, image: Artifact | None, folder: Path, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> str:
    monkeypatch.chdir(folder)
    run = two.run(depfile=folder / "web.d", **options)
    run.inputs.add(LocalInput("file", folder / "imagefile.py"))
    write(run, image)
    return (folder / "web.d").read_text()


def test_the_list_calls_the_output_as_the_makefile_does(
    two: Project, image: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = two.folder
    text = dependencies(two, image, folder, monkeypatch, output=folder / "web.qcow2", output_name="./web.qcow2")
    assert text.startswith("./web.qcow2 web.qcow2: ")
    assert "\nimagefile.py:\n" in text
    assert "web.qcow2:\n" not in text  # an output is no input of its own


def test_without_an_output_it_is_the_image_itself_that_depends_on_them(
    two: Project, image: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dependencies(two, image, two.folder, monkeypatch).startswith(f"{image.id}: ")


def test_where_the_image_is_no_file_the_list_stands_for_it(two: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    far = Artifact(driver="memory", id="ami-1", name="web", build="web@on_base")
    assert dependencies(two, far, two.folder, monkeypatch).startswith("web.d: ")


def test_what_was_read_while_planning_counts_and_our_own_files_do_not(
    two: Project, image: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = two.folder
    (folder / ".bakery").mkdir()
    for name in ("packages.txt", ".bakery/note"):
        (folder / name).touch()
    inputs = frozenset({LocalInput("file", folder / "packages.txt"), LocalInput("file", folder / ".bakery/note")})
    text = dependencies(two, image, folder, monkeypatch, inputs=inputs)
    assert "\npackages.txt:\n" in text
    assert ".bakery" not in text.replace(image.id, "")


def test_a_list_that_is_as_it_was_keeps_its_date(
    two: Project, image: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    dependencies(two, image, two.folder, monkeypatch)
    os.utime(two.folder / "web.d", (1, 1))
    dependencies(two, image, two.folder, monkeypatch)
    assert (two.folder / "web.d").stat().st_mtime == 1


# ---- dates -----------------------------------------------------------------------------------------------------------


def test_the_output_is_newer_than_what_it_was_made_of(two: Project, tmp_path: Path) -> None:
    output = tmp_path / "web.qcow2"
    output.touch()
    os.utime(output, (1, 1))
    old = tmp_path / "a.conf"
    old.touch()
    os.utime(old, (100, 100))
    run = two.run(output=output, began=200.0)
    run.inputs.update({LocalInput("file", old), LocalInput("listing", tmp_path), LocalInput("file", tmp_path / "gone")})
    touch(run)
    assert output.stat().st_mtime > 200


def test_but_older_than_an_input_that_was_edited_meanwhile(two: Project, tmp_path: Path) -> None:
    output, edited = tmp_path / "web.qcow2", tmp_path / "a.conf"
    for path in (output, edited):
        path.touch()
    os.utime(edited, (300, 300))
    run = two.run(output=output, began=200.0)
    run.inputs.add(LocalInput("file", edited))
    touch(run)
    assert output.stat().st_mtime_ns == 300 * 10**9 - 1


def test_a_run_without_an_output_dates_nothing(two: Project, tmp_path: Path) -> None:
    touch(two.run())
    assert made_besides(two.run().options) == []
    (tmp_path / "link").symlink_to("web.d")
    options = two.run(output=tmp_path / "web", depfile=tmp_path / "link").options
    assert made_besides(options) == [tmp_path / "web", tmp_path / "web.d"]


def test_an_output_that_was_deleted_meanwhile_ends_no_run(two: Project, tmp_path: Path) -> None:
    touch(two.run(output=tmp_path / "gone"))


def test_what_the_imagefile_reads_while_it_is_loaded_is_noted(tmp_path: Path) -> None:
    (tmp_path / "packages.txt").write_text("nginx")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/ours").write_text("x")
    with reading(tmp_path, tmp_path / "cache") as read:
        (tmp_path / "packages.txt").read_text()
        (tmp_path / "cache/ours").read_text()
        os.listdir(tmp_path)  # noqa: PTH208  as a user's code may
    names = {(item.kind, item.path.name) for item in read()}
    assert ("file", "packages.txt") in names
    assert ("listing", tmp_path.name) in names
    assert ("file", "ours") not in names
