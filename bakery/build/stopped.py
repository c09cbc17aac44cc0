"""How a build ends that somebody stopped on purpose."""

from __future__ import annotations

from bakery.errors import Interrupted


class Stopped(Interrupted):
    """The build was ended at a place where its author wanted to look.

    Args:
        what: where.
        keep: whether the machine stays.
    """

    def __init__(self, what: str, *, keep: bool) -> None:
        hint = "the same command without --stop-at or --step builds to the end"
        super().__init__(what, hint=hint)
        self.keep = keep
