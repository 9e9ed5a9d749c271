"""Names of a module that are imported when they are first used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    module_name: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return what a module is to have as its ``__getattr__`` and its ``__dir__``.

    Args:
        module_name: The module's ``__name__``.
        homes: Its lazy names, and the module that each is in.
    """

    def getattr_(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {module_name!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    def dir_() -> list[str]:
        return sorted({*vars(sys.modules[module_name]), *homes})

    return getattr_, dir_
