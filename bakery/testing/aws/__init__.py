"""AWS for tests: moto's server, real QEMU guests behind its instances, and a proxy that makes things go wrong."""

from __future__ import annotations

from bakery.testing.aws.cloud import Aws, aws
from bakery.testing.aws.proxy import Fault, Proxy

__all__ = ["Aws", "Fault", "Proxy", "aws"]
