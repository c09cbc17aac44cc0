"""How the machines of a build are entered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bakery.build.job import Job
from bakery.errors import ImagefileError
from bakery.machine.transport.stages import AGENT
from bakery.model import Login


def login_for(job: Job, role: str, driver: str) -> Login:
    """Return how a machine is entered: one that is built as its source says, one that tests as the image says.

    Args:
        job: whose machine it is.
        role: what it is for: `build`, `smoke`, `clone`, `node`.
        driver: who launches it.

    Raises:
        ImagefileError: the image says how, and this driver's machines cannot be entered like that.
    """
    login = job.options.login
    if login is None or role not in ("smoke", "clone", "node"):
        return Login()
    if driver != "qemu":
        raise ImagefileError(
            "@bakery.image(login=...) is for images that are tested under QEMU",
            why=f"{job.name} is tested by the driver {driver}",
            hint="there the source says who logs in: user=...",
        )
    if login.key in ("", AGENT):
        return login
    return replace(login, key=str(job.folder / Path(login.key).expanduser()))
