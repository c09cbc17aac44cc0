"""VBoxManage that answers from a table, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bakery.drivers.virtualbox.api.vboxmanage import ANSWER, VBoxManage

Reply = str | Exception | Callable[[tuple[str, ...]], str]


@dataclass(frozen=True, kw_only=True)
class TableBox(VBoxManage):
    """Answers each verb with what the table says for it: a text, an error to raise, or a list of these, in turn.

    Args:
        replies: by verb; one that is not there answers with an empty text.
        asked: every call, in order.
        there: whether the command is installed.
    """

    replies: dict[str, list[Reply]] = field(default_factory=dict[str, list[Reply]])
    asked: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    there: bool = True

    @property
    def installed(self) -> bool:
        """What the test says."""
        return self.there

    def ask(self, *words: str | Path, what: str, timeout: float = ANSWER) -> str:
        """Answer from the table; the last reply of a verb is given again and again."""
        del what, timeout
        call = tuple(map(str, words))
        self.asked.append(call)
        replies = self.replies.get(" ".join(call[:2])) or self.replies.get(call[0]) or [""]
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if isinstance(reply, Exception):
            raise reply
        return reply(call) if callable(reply) else reply

    def verbs(self) -> list[str]:
        """Return the verbs that were asked, in order."""
        return [call[0] for call in self.asked]


def info(
    name: str = "bakery-r1-1", state: str = "poweroff", config: str = "/m/1/virtualbox/x/x.vbox", **more: str
) -> str:
    """Return what `showvminfo --machinereadable` says of a machine."""
    values = {"name": name, "UUID": "u-1", "VMState": state, "CfgFile": config, **more}
    return "".join(f'{key}="{value}"\n' for key, value in values.items())
