"""The user's own pytest suites, run by pytest as in a plain run; `host` in them is the machine under test."""

from bakery.smoke.suites.runner import collect_suites, run_suites, started_ahead

__all__ = ["collect_suites", "run_suites", "started_ahead"]
