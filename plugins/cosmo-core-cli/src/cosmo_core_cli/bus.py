"""Which bus a command is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from cosmo_core_cli.words import redacted


@attrs.frozen
class Bus:
    """Which bus is meant, and whose part of it. As a string it has no secret.

    Attributes:
        url: Its URL.
        namespace: The namespace.
        options: What else its Synapse takes, such as ``key_file``.
    """

    url: str = attrs.field(repr=redacted)
    namespace: str = "default"
    options: Mapping[str, Any] = attrs.field(factory=dict, repr=lambda options: str(list(options)))

    def __str__(self) -> str:
        return redacted(self.url)
