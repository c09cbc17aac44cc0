"""Tells bakery what becomes of each task, in Ansible's own terms. Its verdict stands on nothing else."""

from __future__ import annotations

import sys
import time
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
    name: bakery_events
    type: notification
    short_description: tells bakery what becomes of each task
    description:
      - Sends a message for each result to the process that started Ansible.
"""
LONGEST = 16_000
"""Characters of a text that are sent: its end."""


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible carries no types
    """Sends a message for each task's result on a host, and the final numbers."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "bakery_events"

    def __init__(self) -> None:
        super().__init__()
        self._send = sys.modules["bakery_channel"].send
        self._began: dict[str, float] = {}
        self._failed_items: dict[tuple[str, str], list[dict[str, Any]]] = {}

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Tell that a play begins."""
        self._play = play.get_name().strip()

    def v2_playbook_on_no_hosts_matched(self) -> None:
        """Tell that a play has nobody to run on."""
        self._send({"type": "no-hosts", "play": self._play})

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Tell that a task begins."""
        del is_conditional
        self._began[task._uuid] = time.monotonic()  # noqa: SLF001  Ansible has no public name for it

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """Tell that a handler begins."""
        self._began[task._uuid] = time.monotonic()  # noqa: SLF001  the same

    def v2_runner_on_ok(self, result: Any) -> None:
        """Tell that it went well."""
        self._tell(result, "changed" if self._data(result).get("changed") else "ok")

    def v2_runner_item_on_failed(self, result: Any) -> None:
        """Note an item of its loop that failed; since 2.21 the loop's own result does not say which."""
        self._failed_items.setdefault(self._key(result), []).append(self._data(result))

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Tell that it failed."""
        self._tell(result, "ignored" if ignore_errors else "failed")

    def v2_runner_on_skipped(self, result: Any) -> None:
        """Its condition was false."""
        self._tell(result, "skipped")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Tell that the host cannot be reached."""
        self._tell(result, "unreachable")

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """All is over."""
        hosts = sorted(stats.processed)
        self._send({"type": "stats", "hosts": {host: stats.summarize(host) for host in hosts}})

    def _tell(self, result: Any, outcome: str) -> None:
        task = result._task  # noqa: SLF001  has no public name before 2.19
        began = self._began.get(task._uuid, time.monotonic())  # noqa: SLF001  the same
        items = self._failed_items.pop(self._key(result), [])
        self._send(
            {
                "type": "result",
                "outcome": outcome,
                "name": task.get_name().strip(),
                "path": str(task.get_path() or ""),
                "action": str(task.action),
                "host": result._host.get_name(),  # noqa: SLF001  the same
                "implicit": bool(getattr(task, "implicit", False)) or is_gathering(task),
                "seconds": time.monotonic() - began,
                "said": said(self._data(result), items) if outcome in ("failed", "unreachable", "ignored") else {},
            }
        )

    @staticmethod
    def _key(result: Any) -> tuple[str, str]:
        return result._task._uuid, result._host.get_name()  # noqa: SLF001  the same

    @staticmethod
    def _data(result: Any) -> dict[str, Any]:
        data: dict[str, Any] = result._result  # noqa: SLF001  the same
        return data


def is_gathering(task: Any) -> bool:
    """Say whether a task is the one that Ansible adds to gather facts; it has that name, and no mark of its own."""
    return str(task.action).endswith("gather_facts") and task.name == "Gathering Facts"


def said(data: dict[str, Any], failed: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what a module said of its failure; of a loop, what it said of the items that failed."""
    if data.get("_ansible_no_log") or "censored" in data:
        return {"msg": "the result is hidden, since no_log is set"}
    if failed:
        return {"items": [{"item": _text(_label(item)), **_of_one(item)} for item in failed[:10]]}
    return _of_one(data)


def _label(item: dict[str, Any]) -> Any:
    return item.get("_ansible_item_label", item.get(item.get("ansible_loop_var", "item"), ""))


def _of_one(data: dict[str, Any]) -> dict[str, Any]:
    if "censored" in data:
        return {"msg": "the result is hidden, since no_log is set"}
    names = ("msg", "rc", "stdout", "stderr", "module_stdout", "module_stderr")
    return {name: _text(data[name]) for name in names if data.get(name) not in (None, "", [])}


def _text(value: Any) -> str:
    text = str(value)
    return text if len(text) <= LONGEST else f"...{text[-LONGEST:]}"
