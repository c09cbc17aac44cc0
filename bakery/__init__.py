"""Machine images as code, in plain Python: built, booted and smoke tested before anyone relies on them.

An imagefile imports from here. Everything is loaded when it is first used, so that `import bakery` costs next to
nothing and no provider's SDK is imported before a machine is made there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bakery.util.lazy import lazy_names

if TYPE_CHECKING:
    from bakery import publish
    from bakery.disk.inspect.findings import Hygiene
    from bakery.imagefile.decorators import image, post, secret, source, task, test, var, variables
    from bakery.imagefile.suites import Suites
    from bakery.machine.machine import Machine
    from bakery.machine.seal import Seal
    from bakery.model import Artifact, Login, Result
    from bakery.redaction.secret import Secret
    from bakery.smoke.host import Host

__version__ = "0.1.0"

_HOMES: Final = {
    "Artifact": "bakery.model",
    "Host": "bakery.smoke.host",
    "Hygiene": "bakery.disk.inspect",
    "Login": "bakery.model",
    "Machine": "bakery.machine.machine",
    "Result": "bakery.model",
    "Seal": "bakery.machine.seal",
    "Secret": "bakery.redaction.secret",
    "Suites": "bakery.imagefile.suites",
    "image": "bakery.imagefile.decorators",
    "post": "bakery.imagefile.decorators",
    "publish": "bakery.publish",
    "secret": "bakery.imagefile.decorators",
    "source": "bakery.imagefile.decorators",
    "task": "bakery.imagefile.decorators",
    "test": "bakery.imagefile.decorators",
    "var": "bakery.imagefile.decorators",
    "variables": "bakery.imagefile.decorators",
}

__all__ = [
    "Artifact",
    "Host",
    "Hygiene",
    "Login",
    "Machine",
    "Result",
    "Seal",
    "Secret",
    "Suites",
    "image",
    "post",
    "publish",
    "secret",
    "source",
    "task",
    "test",
    "var",
    "variables",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
