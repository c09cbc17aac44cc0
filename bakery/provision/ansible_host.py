"""Ansible on this host: where it is, with what settings it runs, and that nothing of it stays."""

from __future__ import annotations

import configparser
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bakery.errors import PreflightError
from bakery.events import Output
from bakery.machine.output import CommandOutput, caller
from bakery.model import Result
from bakery.provision.ansible_events import NOT_INPUTS
from bakery.util.extras import install_hint
from bakery.util.process import run_process
from bakery.util.results import TimedOut
from bakery.util.waiting import Cancel

if TYPE_CHECKING:
    from bakery.machine.access import MachineAccess

LAUNCHER: Final = Path(__file__).parent / "inside_ansible" / "launcher.py"
CLOSE: Final = 5.0
"""Seconds that a connection has to end when it is told to."""


@dataclass(frozen=True, kw_only=True)
class AnsibleProgram:
    """Ansible on this host.

    Args:
        python: the Python that it is installed for.
        folders: those of that Python, which hold no input of a step.
    """

    python: str
    folders: tuple[str, ...]

    def run(
        self,
        inside: MachineAccess,
        name: str,
        words: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        descriptor: int,
        timeout: float | None,
    ) -> Result:
        """Run `ansible-NAME` to its end and return its result; what it writes is shown as it comes.

        Args:
            inside: whose build it belongs to.
            name: `playbook` or `galaxy`.
            words: its arguments.
            env: settings, added to this process's environment without its own `ANSIBLE_*` and `MITOGEN_*`.
            cwd: where it runs.
            descriptor: where it tells what it does.
            timeout: seconds.
        """

        def say(stream: str, text: str) -> None:
            inside.work.emit(Output(build=inside.work.build, step=inside.step, text=text, stream=stream))

        own = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MITOGEN_"))}
        told = {
            "BAKERY_EVENTS_FD": str(descriptor),
            "BAKERY_NOT_INPUTS": json.dumps((*NOT_INPUTS, f"{env['BAKERY_FOLDER']}/", *self.folders)),
        }
        voice = CommandOutput(say, frozenset())
        try:
            return run_process(
                [self.python, "-B", str(LAUNCHER), name, *words],
                cancel=inside.work.cancel,
                command=f"ansible-{name}",
                env={**own, **env, **told},
                cwd=cwd,
                timeout=timeout,
                on_output=voice.take,
                pass_fds=[descriptor],
            )
        except TimedOut as error:
            return error.result
        finally:
            voice.end()


def _hint() -> str:
    return f"{install_hint('ansible')}, or give program= the path of an ansible-playbook"


def find_program(given: str) -> AnsibleProgram:
    """Find Ansible: the one that is named, that of this Python, or the one on PATH.

    Raises:
        PreflightError: there is none.
    """
    if not given and importlib.util.find_spec("ansible") is not None:
        return _program(sys.executable)
    path = shutil.which(given or "ansible-playbook")
    if path is None:
        raise PreflightError("there is no ansible-playbook on this host", where=caller(), hint=_hint())
    with Path(path).open("rb") as file:
        first = file.readline(512).decode(errors="replace").strip()
    python = first.removeprefix("#!").split()[-1:] if first.startswith("#!") else []
    if not python or "python" not in python[0]:
        raise PreflightError(
            f"{path} is not Ansible's own: its first line names no Python", where=caller(), hint=_hint()
        )
    return _program(shutil.which(python[0]) or python[0])


def _program(python: str) -> AnsibleProgram:
    """Return the program with the folders of its environment and of the Python below it."""
    homes = {Path(python).parents[1], Path(python).resolve().parents[1]} - {Path("/usr"), Path("/")}
    return AnsibleProgram(python=python, folders=(*(f"{home}/" for home in sorted(homes)), f"{LAUNCHER.parent}/"))


def settings(
    config: Path | None, folder: Path, roles: Sequence[Path] = (), collections: Sequence[Path] = ()
) -> dict[str, str]:
    """Return Ansible's settings as environment variables, which come before those of a configuration file.

    Args:
        config: the project's ansible.cfg.
        folder: ours, for what lives as long as the play.
        roles: where roles are looked for first.
        collections: the same for collections.
    """
    none = folder / "ansible.cfg"  # an empty one: without it, the user's and the host's are read
    none.touch()
    return {
        **common_settings(config, config or none, roles, collections),
        "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "cp"),
        "ANSIBLE_REMOTE_TMP": f"{remote_folder(folder)}-$USER",  # each user that a task becomes has one of its own
        "ANSIBLE_ASYNC_DIR": f"~/.{folder.name}-async",
        "BAKERY_FOLDER": str(folder),
        "BAKERY_MODULE_UTILS": f"{remote_folder(folder)}-modules",
    }


def common_settings(
    config: Path | None, there: Path, roles: Sequence[Path] = (), collections: Sequence[Path] = ()
) -> dict[str, str]:
    """Return those settings that are the same wherever Ansible runs.

    Args:
        config: the project's ansible.cfg, on this host.
        there: the one that Ansible reads, where it runs.
        roles: where roles are looked for first, there.
        collections: the same for collections.
    """
    known = _read(config)
    env = {
        "ANSIBLE_CONFIG": str(there),
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_RETRY_FILES_ENABLED": "False",
        "ANSIBLE_INVENTORY_UNPARSED_FAILED": "True",
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "True",
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "False",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_NOCOWS": "1",
        "LC_ALL": "C.UTF-8",  # Ansible does not begin in an encoding other than UTF-8
        "PYTHONDONTWRITEBYTECODE": "1",  # nothing is left in the project
    }
    if not any(known.has_option(section, "pipelining") for section in known.sections()):
        env["ANSIBLE_PIPELINING"] = "True"
    if not known.has_option("defaults", "interpreter_python"):
        env["ANSIBLE_PYTHON_INTERPRETER"] = "auto_silent"
    if roles:
        env["ANSIBLE_ROLES_PATH"] = _joined(roles, known, there, "roles_path", ROLES)
    if collections:
        env["ANSIBLE_COLLECTIONS_PATH"] = _joined(collections, known, there, "collections_path", COLLECTIONS)
    return env


def configured(config: Path | None, name: str) -> bool:
    """Say whether the section `defaults` of a project's ansible.cfg has this setting."""
    return _read(config).has_option("defaults", name)


def remote_folder(folder: Path) -> str:
    """Return how names of folders for modules on the machine begin; Ansible's own are in each user's home, and stay."""
    return f"/tmp/.{folder.name}"  # noqa: S108  on the machine, under a name of our own


def removal(folder: Path, results: str = "") -> list[str]:
    """Return the words that remove from the machine what a play had there.

    Args:
        folder: ours, on this host.
        results: a folder in home folders that goes as well, besides our own with results of tasks with `async`.
    """
    own = f".{folder.name}-async"
    return ["sh", "-c", REMOVE, "remove", remote_folder(folder), own, results or own]


REMOVE: Final = """
rm -rf -- "$1"-*
while IFS=: read -r _ _ _ _ _ home _; do
    for name in "$2" "$3"; do
        if [ -d "$home/$name" ]; then rm -rf -- "$home/$name"; fi
    done
done </etc/passwd
"""
"""Results of tasks with `async` are in the home folder of whom they ran as, whoever that was. No name is ever empty."""
ROLES: Final = "~/.ansible/roles:/usr/share/ansible/roles:/etc/ansible/roles"
COLLECTIONS: Final = "~/.ansible/collections:/usr/share/ansible/collections"


def _read(config: Path | None) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False, inline_comment_prefixes=(";",))
    if config is not None:
        parser.read(config, encoding="utf-8")
    return parser


def _joined(ours: Sequence[Path], known: configparser.RawConfigParser, there: Path, name: str, default: str) -> str:
    """Put our folders before those of the configuration, whose relative ones begin at its own."""
    theirs = [path.strip() for path in known.get("defaults", name, fallback=default).split(os.pathsep)]
    theirs = [path if path.startswith("~") else str(there.parent / path) for path in theirs]
    return os.pathsep.join([*(str(path) for path in ours), *theirs])


def end_masters(folder: Path) -> None:
    """End the connections that OpenSSH keeps open for the next play."""
    for socket in _sockets(folder / "cp"):
        words = ["ssh", "-F", "none", "-o", f"ControlPath={socket}", "-O", "exit", "bakery"]
        run_process(words, cancel=Cancel(), timeout=CLOSE)


def _sockets(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in folder.iterdir() if path.is_socket())
