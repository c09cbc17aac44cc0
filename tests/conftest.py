"""Settings for all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A slow or busy host is no failure: examples have no time limit of their own, the test as a whole has one.
settings.register_profile("bakery", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("bakery")
