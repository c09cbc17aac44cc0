"""What a Makefile wants: the artifact where it was told, and the list of files it depended on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from bakery.build.context import BuildOptions, RunContext
from bakery.build.destinations import check_suffix
from bakery.build.makefile import near, prerequisites, rule
from bakery.build.manifest import manifest
from bakery.cache.inputs.external import LocalInput
from bakery.cache.inputs.modules import users_files
from bakery.cache.inputs.tracer import Tracer
from bakery.disk.bases import checksum
from bakery.disk.bases.cloud_image import CloudImage
from bakery.disk.image_files import DISKS, disk_path, disks_of
from bakery.disk.signatures import is_disk_image
from bakery.drivers.registry import Registry
from bakery.errors import BakeryError, PostError, UsageError
from bakery.imagefile.builds import Build, Plan
from bakery.model import Artifact
from bakery.util.context import WorkContext
from bakery.util.files import replacing, write_whole
from bakery.util.sparse_files import copy_sparse, digest


@contextmanager
def reading(folder: Path, cache: Path) -> Generator[Callable[[], frozenset[LocalInput]]]:
    """Note what the user's code reads while the imagefile is loaded and the plan is made.

    Args:
        folder: the imagefile's.
        cache: the shared cache.
    """
    tracer = Tracer(folder, ignore=(cache,))
    with tracer:
        yield lambda: frozenset(
            LocalInput(kind, Path(name))
            for kind, name in tracer.read
            if kind == "file" or kind == "tree" or kind == "listing"  # noqa: PLR1714  narrows the type
        )


def check_outputs(plan: Plan, output: Path | None, drivers: Registry | None = None, given: str = "") -> None:
    """Refuse `-o` for more than one image, for one that is no file, for a name that lies, and over a base.

    Args:
        plan: what will be made.
        output: what `-o` names; None where it was not given.
        drivers: where drivers come from; they know the format of what they make.
        given: `output` as the user wrote it.

    Raises:
        UsageError: with what to write instead.
    """
    if output is None:
        return
    ends = _ends(plan)
    if len(ends) != 1:
        raise UsageError(
            f"-o names one file, but {len(ends)} images would be built",
            why=", ".join(build.name for build in ends),
            hint="name one image, and one source with --only",
        )
    image_format = drivers.get(ends[0].driver).image_format(ends[0].boot) if drivers else None
    if image_format is not None:
        check_suffix(given or str(output), image_format, ends[0].image)
    for build in plan.builds:
        if any(os.path.realpath(path) == os.path.realpath(output) for path in _files_of_base(build.boot.base)):
            raise UsageError(
                f"-o {given or output}: {build.name} stands on that file", hint="name another file, or no file"
            )


def _ends(plan: Plan) -> list[Build]:
    """Return the builds that no other build stands on; what is only published besides is made here all the same."""
    here = [build for build in plan.builds if not build.publishes]
    used = {name for build in here for name in build.needed}
    return [build for build in here if build.name not in used]


def _files_of_base(base: Any) -> Iterator[Path]:
    """Yield the files of this host that a base is read from."""
    if isinstance(base, Artifact) and base.id.startswith("/"):
        yield base.path
    if isinstance(base, CloudImage):
        for address in (*base.urls, *((base.checksum,) if checksum.is_address(base.checksum) else ())):
            parts = urlsplit(address)
            if parts.scheme == "file":
                yield Path(unquote(parts.path))


def write_outputs(plan: Plan, artifacts: Mapping[str, Artifact], run: RunContext) -> None:
    """Write the artifact, the manifest and the dependency file that the options ask for.

    Raises:
        PostError: the image is not a file, or cannot be written there.
    """
    output, depfile = run.options.output, run.options.depfile
    last = artifacts.get(_ends(plan)[-1].name)
    try:
        if output is not None and last is not None:
            _place(last, output, run)
        if run.options.manifest is not None:
            run.options.manifest.parent.mkdir(parents=True, exist_ok=True)
            write_whole(run.options.manifest, manifest(plan, artifacts, run.state.folder), durable=True)
        if depfile is not None:
            depfile.parent.mkdir(parents=True, exist_ok=True)
            text = rule(_targets(last, run), _prerequisites(plan, run))
            if not depfile.exists() or depfile.read_bytes() != os.fsencode(text):
                write_whole(depfile, text, durable=True)
    except OSError as error:
        raise PostError("the output cannot be written", why=str(error), hint=_fate(last)) from error


def _fate(image: Artifact | None) -> str:
    return f"the image itself is kept: {image.id}" if image else ""


# ---- the image ------------------------------------------------------------------------------------------------------


def _place(artifact: Artifact, output: Path, run: RunContext) -> None:
    """Put a copy of the image where it is wanted, whole or not at all; nothing is written where it is there already.

    A copy and no link: whoever boots the file writes to it, and the kept image must stay what was tested.
    """
    if not artifact.id.startswith("/"):
        raise PostError(f"the image {artifact.id} is not a file, so -o cannot write it", hint="use a post step")
    target = Path(os.path.realpath(output))
    if target.exists() and not target.is_file():
        raise PostError(f"-o {output}: it is no file", hint=_fate(artifact))
    if any(item.path == target and item.kind == "file" for item in run.inputs):
        raise PostError(f"-o {output}: the image depends on that file", hint=_fate(artifact))
    try:
        for name, path in disks_of(artifact).items():  # first, so that Make's target is the last that is written
            beside = disk_path(target, name)
            if beside.exists() and not is_disk_image(beside):
                raise PostError(f"-o {output}: {beside.name} beside it is no disk image", hint=_fate(artifact))
            sha256 = next(disk["sha256"] for disk in artifact.data[DISKS] if disk["name"] == name)
            _copy(path, beside, sha256, run.work(artifact.build))
        _copy(artifact.path, target, artifact.sha256, run.work(artifact.build))
    except BakeryError as error:
        error.hint = error.hint or _fate(artifact)
        raise


def _copy(path: Path, target: Path, sha256: str, work: WorkContext) -> None:
    if _is_copy(path, target, sha256, work):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with path.open("rb") as source, replacing(target, durable=True) as to:
        copy_sparse(source, to, work, what=f"writing {target.name}", total=path.stat().st_size)


def _is_copy(path: Path, target: Path, sha256: str, work: WorkContext) -> bool:
    """Say whether the file is the image already, and no link to it."""
    if not sha256 or not target.is_file() or target.samefile(path):
        return False
    return target.stat().st_size == path.stat().st_size and digest(target, "sha256", work) == sha256


def made_besides(options: BuildOptions) -> list[Path]:
    """Return the files that a run was asked to write beside its own."""
    made = (options.output, options.depfile, options.manifest)
    return [Path(os.path.realpath(path)) for path in made if path is not None]


def touch(run: RunContext) -> None:
    """Date the output, as the last thing that a run does, so that Make sees what it must.

    It is newer than all inputs, also when nothing had changed, and than the folder that it was written into; but
    older than an input that was edited while the image was being made, which may have been read before.

    Args:
        run: the run.
    """
    if run.options.output is None:
        return
    inputs = run.inputs | run.options.inputs
    edited = [at for at in map(_edited, inputs) if at > run.options.began * 1e9]
    when = min([time.time_ns(), *(at - 1 for at in edited)])
    with suppress(OSError):
        os.utime(os.path.realpath(run.options.output), ns=(when, when))


def _edited(item: LocalInput) -> int:
    """When an input was last written to, in nanoseconds since the epoch; 0 for folders and for what is gone."""
    try:
        return item.path.stat().st_mtime_ns if item.path.is_file() else 0
    except OSError:
        return 0


# ---- the dependency file --------------------------------------------------------------------------------------------


def _targets(last: Artifact | None, run: RunContext) -> Iterator[str]:
    """Yield what the Makefile may call the image: as `-o` was written, and as it is seen from where `bake` started."""
    options = run.options
    if options.output is None:
        target = Path(last.id) if last is not None and last.id.startswith("/") else options.depfile
        if target is not None:
            yield near(target, Path.cwd())
        return
    yield options.output_name or near(options.output, Path.cwd())
    if options.output_name and not Path(options.output_name).is_absolute():
        yield os.path.relpath(options.output, Path.cwd())


def _prerequisites(plan: Plan, run: RunContext) -> Iterable[str]:
    inputs = {
        *run.inputs,
        *run.options.inputs,
        *(LocalInput("file", path) for path in users_files(run.imagefile.parent)),
        *(LocalInput("file", path) for path in run.jobs.settings.files),
        *(LocalInput("file", path) for build in plan.builds for path in _files_of_base(build.boot.base)),
    }
    ours = [run.state.folder, run.state.cache]
    made = (run.options.output, run.options.depfile, run.options.manifest)
    ours += [path for path in made if path is not None]
    return (near(path, Path.cwd()) for path in prerequisites(inputs, ours))
