"""What `@bakery.image` is given for the seal, the inspection and the built-in tests: looked at before any build."""

from __future__ import annotations

from bakery.errors import ImagefileError, UsageError
from bakery.imagefile.recipe import ImageSpec, Recipe
from bakery.imagefile.user_code import repr_of


def check_image_options(recipe: Recipe) -> None:
    """Refuse what the phases that read these options would not understand, half an hour later.

    Raises:
        ImagefileError: with what the option takes.
    """
    for image in recipe.images:
        _check_seal(image)
        _check_hygiene(image)
        _check_builtin_tests(image)


def _check_seal(image: ImageSpec) -> None:
    seal = image.options.get("seal")
    if seal is None:
        return
    from bakery.machine.seal import Seal

    if not isinstance(seal, Seal):
        raise _wrong(image, "seal", "a Seal: seal=bakery.Seal(logs=False) leaves the logs")


def _check_hygiene(image: ImageSpec) -> None:
    hygiene = image.options.get("hygiene", True)
    if isinstance(hygiene, bool):
        return
    from bakery.disk.inspect.findings import Hygiene

    if not isinstance(hygiene, Hygiene):
        raise _wrong(image, "hygiene", 'True, False or bakery.Hygiene(allow=("/etc/app/token",))')


def _check_builtin_tests(image: ImageSpec) -> None:
    wanted = image.options.get("builtin_tests", True)
    if isinstance(wanted, bool):
        return
    from bakery.smoke.job import builtin

    try:
        builtin(wanted)
    except UsageError as error:
        raise ImagefileError(error.what, hint=error.hint, where=image.where) from error


def _wrong(image: ImageSpec, option: str, takes: str) -> ImagefileError:
    return ImagefileError(
        f"{option}={repr_of(image.options[option])} of image {image.name} is not what {option}= takes",
        hint=f"it takes {takes}",
        where=image.where,
    )
