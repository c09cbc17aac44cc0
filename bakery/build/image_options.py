"""What `@bakery.image` is given for the seal, the inspection and the tests: typed, and looked at before any build."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from bakery.errors import ImagefileError, UsageError
from bakery.imagefile.recipe import ImageSpec, Recipe
from bakery.imagefile.suites import Suites
from bakery.imagefile.user_code import repr_of
from bakery.model import Login

if TYPE_CHECKING:
    from bakery.disk.inspect.findings import Hygiene
    from bakery.machine.seal import Seal


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """How an image is sealed, looked into and tested.

    What is left out loads no code: `bake list` reads these too.

    Args:
        seal: what is removed before capture; None for everything.
        hygiene: how the finished image is looked into; False for not at all.
        builtin_tests: True for all, False for none, or the wanted names.
        strict_host: whether testinfra's known wrong answers are put right.
        versions: whether older images stay: True numbers them, a text is what stands before the number.
        login: how machines that test the image are entered; None where root is let in on port 22.
        suites: how its pytest suites run.
        nodes: images whose machines run beside the one that is tested; see `bakery.imagefile.node_images`.
    """

    seal: Seal | None = None
    hygiene: Hygiene | bool = True
    builtin_tests: bool | Sequence[str] = True
    strict_host: bool = True
    login: Login | None = None
    suites: Suites | None = None
    nodes: Any = ()
    versions: bool | str = False

    @classmethod
    def of(cls, image: ImageSpec) -> Self:
        """Type an image's options.

        Raises:
            ImagefileError: the phase that reads one of them would not understand it; with what the option takes.
        """
        options = cls(**image.options)
        _check_seal(image, options.seal)
        _check_hygiene(image, options.hygiene)
        _check_builtin_tests(image, options.builtin_tests)
        return options


def check_image_options(recipe: Recipe) -> None:
    """Refuse what the phases that read these options would not understand, half an hour later.

    Raises:
        ImagefileError: with what the option takes.
    """
    for image in recipe.images:
        ImageOptions.of(image)


def _check_seal(image: ImageSpec, seal: Any) -> None:
    if seal is None:
        return
    from bakery.machine.seal import Seal

    if not isinstance(seal, Seal):
        raise _wrong(image, "seal", seal, "a Seal: seal=bakery.Seal(logs=False) leaves the logs")


def _check_hygiene(image: ImageSpec, hygiene: Any) -> None:
    if isinstance(hygiene, bool):
        return
    from bakery.disk.inspect.findings import Hygiene

    if not isinstance(hygiene, Hygiene):
        raise _wrong(image, "hygiene", hygiene, 'True, False or bakery.Hygiene(allow=("/etc/app/token",))')


def _check_builtin_tests(image: ImageSpec, wanted: Any) -> None:
    if isinstance(wanted, bool):
        return
    from bakery.smoke.job import builtin

    try:
        builtin(wanted)
    except UsageError as error:
        raise ImagefileError(error.what, hint=error.hint, where=image.where) from error


def _wrong(image: ImageSpec, option: str, value: Any, takes: str) -> ImagefileError:
    return ImagefileError(
        f"{option}={repr_of(value)} of image {image.name} is not what {option}= takes",
        hint=f"it takes {takes}",
        where=image.where,
    )
