"""Tasks that vcsim never has: those that end in an error a moment later, and those that never end.

A call is taken, answered with a task of this stand-in, and not done. Answers are pyvmomi's own types.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tests.contract.vcsim import SoapRequest, VCenterStandIn

PREFIX: Final = "task-of-a-test-"
ENDLESS: Final = "endless"
"""In place of a fault: the task stays at 30 % until it is cancelled."""


@dataclass
class TaskStandIn:
    """All such tasks of a stand-in.

    Args:
        front: which takes the calls.
    """

    front: VCenterStandIn
    ends: dict[str, Any] = field(default_factory=dict[str, Any])

    def begin(self, end: Any) -> Any:
        """Return a task that ends in a fault of pyvmomi's, or is `ENDLESS`."""
        from pyVmomi import vim

        key = f"{PREFIX}{len(self.ends) + 1}"
        self.ends[key] = end
        task: Any = vim.Task
        return task(key, self.front.center.session.stub)

    def answer(self, call: SoapRequest) -> Any:
        """Return what a call about such a task gets; None where it is about another thing."""
        if call.method == "CancelTask" and call.moid in self.ends:
            from pyVmomi import vmodl

            fault: Any = vmodl.fault.RequestCanceled
            self.ends[call.moid] = fault(msg="The task was canceled by a user.")
            return ()
        if call.method == "RetrievePropertiesEx" and f">{PREFIX}" in call.body:
            return self._properties(PREFIX + call.body.partition(f">{PREFIX}")[2].partition("<")[0])
        return None

    def _properties(self, key: str) -> Any:
        from pyVmomi import vim, vmodl

        info: Any = vim.TaskInfo
        collector: Any = vmodl.query.PropertyCollector
        props: Any = vmodl.DynamicProperty
        task: Any = vim.Task
        if self.ends[key] == ENDLESS:
            values = {"info.state": info.State.running, "info.progress": 30}
        else:
            values = {"info.state": info.State.error, "info.error": self.ends[key]}
        found = collector.ObjectContent(
            obj=task(key, self.front.center.session.stub),
            propSet=[props(name=name, val=value) for name, value in values.items()],
        )
        return collector.RetrieveResult(objects=[found])
