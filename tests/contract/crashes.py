"""After which lines of a journal a test crashes: one in three in each run, every one in `make test-all`."""

from __future__ import annotations

import pytest

STEPS = pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.all)], ids=["some", "every"])
