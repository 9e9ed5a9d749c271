"""What a plugin author tests with; needs the extra ``cosmo-core[testing]``.

The names are resolved on first use, so that importing this package costs nothing and needs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cosmo_core.testing.chat_server import ChatServer
    from cosmo_core.testing.faults import Fault

__all__ = ["ChatServer", "Fault"]

_HOMES = {
    "ChatServer": "cosmo_core.testing.chat_server",
    "Fault": "cosmo_core.testing.faults",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
