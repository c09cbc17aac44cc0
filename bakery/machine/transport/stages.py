"""The stages of reaching a machine, in their order."""

from typing import Final, Literal

AGENT: Final = "agent"
"""`Endpoint.key` in place of a file: the user's SSH agent is asked."""

HANGS_UP: Final = "its SSH server hangs up before any key is exchanged"
"""What stands in a reason where a server has shown its version, and no more."""

Stage = Literal[
    "process", "address", "port", "banner", "algorithms", "host key", "authentication", "session", "guest agent"
]
"""The staged wait for a machine."""


class NotReached(Exception):  # noqa: N818  part of a wait, not an error yet
    """An attempt to connect got as far as `stage`, and no further.

    Args:
        stage: what did not work.
        reason: why, in the other side's words.
        hint: what to do about it, where the way knows better than what is said of SSH.
    """

    def __init__(self, stage: Stage, reason: str, hint: str = "") -> None:
        super().__init__(f"{stage}: {reason}")
        self.stage: Stage = stage
        self.reason = reason
        self.hint = hint
