"""A check that an object has what a contract asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeGuard, TypeVar

T = TypeVar("T")


def satisfies(value: object, contract: Callable[..., T]) -> TypeGuard[T]:
    """Report whether an object has every public attribute of a contract, a class such as `Engram`.

    What a wrapper passes on by ``__getattr__`` counts. `isinstance` ignores it since Python 3.12.
    """
    return all(hasattr(value, name) for name in vars(contract) if not name.startswith("_"))
