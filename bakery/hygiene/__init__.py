"""The hygiene gate: looks into a finished image, without booting or mounting it, for what must not leave the house."""

from bakery.hygiene.finding import KINDS, Finding, Options
from bakery.hygiene.gate import inspect, missing_tools

__all__ = ["KINDS", "Finding", "Options", "inspect", "missing_tools"]
