"""Files from Jinja2 templates."""

from __future__ import annotations

import linecache
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bakery.errors import Location, TaskError
from bakery.machine.access import access
from bakery.machine.output import caller
from bakery.redaction.secret import Secret
from bakery.util.observer import note_input

if TYPE_CHECKING:
    from jinja2 import Environment

    from bakery.machine.machine import Machine


def template(
    m: Machine,
    src: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    mode: int = 0o644,
    owner: str | None = None,
    **names: Any,
) -> None:
    """Render a Jinja2 template of this host and write it on the machine, all or nothing.

    A name that nobody gave is an error, in conditions as well. What it includes or extends is looked for beside it, and
    in the imagefile's folder.

    Args:
        m: the machine.
        src: the template, relative to the imagefile's folder.
        dest: the file on the machine; its folder must exist.
        mode: permission bits.
        owner: `USER` or `USER:GROUP`; who runs commands when None.
        names: what the template may use; a `Secret` is written, never shown.

    Raises:
        TaskError: it cannot be rendered; has the template's file and line.
        FileNotFoundError: there is no such template.
    """
    folder = access(m).folder
    path = Path(os.path.abspath(folder / src))  # noqa: PTH100  Path.resolve would follow links
    note_input("file", str(path))
    used: list[Secret] = []
    text = _rendered(path, folder, names, used)
    m.write(dest, Secret(text, used[0].name) if used else text, mode=mode, owner=owner)


def _rendered(path: Path, folder: Path, names: Mapping[str, Any], used: list[Secret]) -> str:
    from jinja2 import TemplateNotFound, TemplateSyntaxError

    environment = _environment([path.parent, folder], used)
    source = path.read_text(encoding="utf-8")
    try:
        code = environment.compile(source, path.name, str(path))
        return environment.template_class.from_code(environment, code, environment.make_globals(None)).render(names)
    except TemplateSyntaxError as error:
        raise _failed(path, error.message or "", Location(Path(error.filename or path), error.lineno)) from error
    except TemplateNotFound as error:
        missing = f"there is no {error.name!r}, neither beside it nor in the imagefile's folder"
        raise _failed(path, missing, _line(error, path)) from error
    except Exception as error:  # whatever a filter or an object of the user's raises
        raise _failed(path, f"{type(error).__name__}: {error}", _line(error, path)) from error


def _environment(folders: Sequence[Path], used: list[Secret]) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    class NotedLoader(FileSystemLoader):
        """Tells the cache of each place that is looked at."""

        def get_source(self, environment: Environment, template: str) -> Any:
            for place in folders:
                note_input("file", str(place / template))
                if (place / template).is_file():
                    break
            return super().get_source(environment, template)

    def plain(value: Any) -> Any:
        if not isinstance(value, Secret):
            return value
        used.append(value)
        return value.reveal()

    return Environment(  # noqa: S701  configuration files, not web pages
        loader=NotedLoader(folders),
        undefined=StrictUndefined,
        trim_blocks=True,  # as in Ansible's, so that a team's templates give the same files
        keep_trailing_newline=True,
        finalize=plain,
    )


def _failed(path: Path, reason: str, where: Location) -> TaskError:
    line = linecache.getline(str(where.file), where.line).strip()
    return TaskError(
        f"the template {path.name} cannot be rendered",
        why=f"{reason}\n{where.file.name}:{where.line}: {line}" if line else reason,
        where=where,
        hint=f"rendered by {caller()}; names are given as keywords: template(m, src, dest, name=value)",
    )


def _line(error: BaseException, path: Path) -> Location:
    """Find the innermost line of a template in a traceback: Jinja writes them there."""
    where = Location(path, 1)
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if "__jinja_template__" in trace.tb_frame.f_globals or code.co_name.startswith(("top-level", "block ")):
            where = Location(Path(code.co_filename), trace.tb_lineno)
        trace = trace.tb_next
    return where
