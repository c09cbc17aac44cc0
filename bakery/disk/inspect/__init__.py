"""The hygiene gate: looks into a finished image, without booting or mounting it, for what no image may hold."""

from bakery.disk.inspect.findings import KINDS, Finding, Hygiene
from bakery.disk.inspect.inspect import inspect, inspect_disks, missing_tools

__all__ = ["KINDS", "Finding", "Hygiene", "inspect", "inspect_disks", "missing_tools"]
