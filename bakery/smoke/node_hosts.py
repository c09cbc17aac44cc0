"""`hosts["db"]`: the machines of several images that are tested together, by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeVar

import pytest

from bakery.util.suggestions import did_you_mean

T = TypeVar("T")


class NodeHosts(dict[str, T]):
    """Hosts by name; a test that asks for one which does not run this time is skipped.

    Args:
        hosts: those that run.
        absent: names that the image has in `nodes=`, and of which no machine runs.
    """

    def __init__(self, hosts: Mapping[str, T], absent: Collection[str]) -> None:
        super().__init__(hosts)
        self._absent = absent

    def __missing__(self, name: str) -> T:
        """Skip, where the machine is only not there; fail where there is none of that name."""
        if name in self._absent:
            pytest.skip(f"no machine of {name} runs beside this one")
        hint = did_you_mean(name, [*self, *self._absent], otherwise="there are")
        pytest.fail(f"no machine is called {name!r}: {hint}", pytrace=False)
