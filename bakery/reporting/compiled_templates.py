"""Templates compiled to Python, kept as Python keeps its own bytecode: compiling ours takes a third of a short run."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from pathlib import Path

from jinja2 import compiler
from jinja2.bccache import Bucket, BytecodeCache

from bakery.util.files import write_whole

TEMPLATES = Path(__file__).parent / "templates"


class CompiledTemplates(BytecodeCache):
    """Keeps compiled templates in `__pycache__` beside them, or where `sys.pycache_prefix` says.

    Who may not write there compiles them each time, as with modules. A file of another template, Python or Jinja is
    not used, but replaced.
    """

    def load_bytecode(self, bucket: Bucket) -> None:
        """Fill the bucket, if there is what belongs in it."""
        with contextlib.suppress(OSError), _file(bucket).open("rb") as file:
            bucket.load_bytecode(file)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Write what is in the bucket, if this may be done."""
        if sys.dont_write_bytecode:
            return
        file = _file(bucket)
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, bucket.bytecode_to_string())

    def get_source_checksum(self, source: str) -> str:
        """Return what changes with the template, and with Jinja's compiler."""
        stat = Path(compiler.__file__).stat()
        return f"{super().get_source_checksum(source)} {stat.st_size} {stat.st_mtime_ns}"


def _file(bucket: Bucket) -> Path:
    return Path(importlib.util.cache_from_source(str(TEMPLATES / f"{bucket.key}.py"))).with_suffix(".jinja")
