"""What a Makefile wants: the artifact where it was told, and the list of files it depended on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from bakery.build.context import RunContext
from bakery.errors import PostError, UsageError
from bakery.imagefile.builds import Plan
from bakery.model import Artifact


def check_outputs(plan: Plan, output: Path | None) -> None:
    """Refuse `-o` for more than one image.

    Raises:
        UsageError: the plan has several builds that nothing else stands on.
    """
    ends = _ends(plan)
    if output is not None and len(ends) != 1:
        raise UsageError(
            f"-o names one file, but {len(ends)} images would be built",
            why=", ".join(ends),
            hint="name one image, and one source with --only",
        )


def _ends(plan: Plan) -> list[str]:
    """The builds that no other build stands on; what is only published besides is made here all the same."""
    here = [build for build in plan.builds if not build.publishes]
    used = {name for build in here for name in build.after}
    return [build.name for build in here if build.name not in used]


def write_outputs(plan: Plan, artifacts: Mapping[str, Artifact], context: RunContext) -> None:
    """Write the artifact and the dependency file that the options ask for.

    Raises:
        PostError: the image is not a file, or cannot be written there.
    """
    output, depfile = context.options.output, context.options.depfile
    last = artifacts.get(_ends(plan)[-1])
    try:
        if output is not None and last is not None:
            _place(last, output)
        if depfile is not None:
            target = output or (Path(last.id) if last and last.id.startswith("/") else depfile)
            depfile.write_text(make_rule(target, context.inputs), encoding="utf-8")
    except OSError as error:
        raise PostError("the output cannot be written", why=str(error), hint="the image itself is kept") from error


def _place(artifact: Artifact, output: Path) -> None:
    """Put the image where it is wanted: a hard link where that works, else a sparse copy; whole or not at all."""
    if not artifact.id.startswith("/"):
        raise PostError(f"the image {artifact.id} is not a file, so -o cannot write it", hint="use a post step")
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(f".{output.name}.part")
    temporary.unlink(missing_ok=True)
    try:
        os.link(artifact.path, temporary)
    except OSError:
        shutil.copyfile(artifact.path, temporary)
    os.utime(temporary)  # Make compares times: the output is newer than its inputs, also when nothing had changed
    temporary.replace(output)


def make_rule(target: Path, inputs: Iterable[Path]) -> str:
    """Write one rule in Make's syntax, and an empty rule for each input so that a deleted one is no error."""
    names = sorted({_escape(str(path)) for path in inputs})
    rule = f"{_escape(str(target))}: " + " \\\n  ".join(names) + "\n"
    return rule + "".join(f"\n{name}:\n" for name in names)


def _escape(name: str) -> str:
    return name.replace("$", "$$").replace(" ", "\\ ").replace("#", "\\#")
