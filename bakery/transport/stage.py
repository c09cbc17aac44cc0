"""The stages of reaching a machine, in their order."""

from typing import Literal

Stage = Literal["process", "address", "port", "banner", "host key", "authentication", "session"]
