"""Collecting what composition hooks contribute, with who contributed it."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

from cosmo_core.errors import HookError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cosmo_core.plugins.hooks import Implementation

T = TypeVar("T")


@attrs.frozen
class Contribution(Generic[T]):
    """One thing that a plugin contributed.

    Attributes:
        plugin: The name of the plugin.
        distribution: The distribution that brings it; None when the program registered it itself.
        version: The version of that distribution.
        order: The plugin's place; contributions come in the order ``(order, plugin)``.
        value: The thing.
    """

    plugin: str
    distribution: str | None
    version: str | None
    order: int
    value: T


def collect(
    implementations: Sequence[Implementation], arguments: Mapping[str, Any], *, plain: bool = False
) -> list[Contribution[Any]]:
    """Ask every plugin, in order.

    Args:
        implementations: The functions to ask.
        arguments: The arguments of the hook.
        plain: Whether a coroutine function is no valid contribution.

    Raises:
        HookError: A plugin contributed something that does not fit.
        Exception: Whatever a plugin raises, with a note that names it.
    """
    found = []
    for implementation in implementations:
        owner = implementation.owner
        with owner.noted():
            for value in _values(implementation, implementation(**arguments)):
                _check(implementation, value, plain=plain)
                found.append(
                    Contribution(owner.plugin, owner.distribution, owner.version, owner.order, value)
                )
    return found


def _values(implementation: Implementation, result: Any) -> Iterable[Any]:
    if result is None:
        return ()
    if callable(result):
        return (result,)
    if isinstance(result, Iterable):
        return result
    if inspect.iscoroutine(result):
        result.close()
    raise _misfit(implementation, "must return a callable, several of them, or None", result)


def _check(implementation: Implementation, value: object, *, plain: bool) -> None:
    if not callable(value):
        raise _misfit(implementation, "must return callables", value)
    if plain and (inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(type(value).__call__)):
        raise _misfit(implementation, "must return plain functions, not coroutine functions", value)


def _misfit(implementation: Implementation, rule: str, value: object) -> HookError:
    return HookError(f"{implementation.owner}: {implementation.hook} {rule}; got {value!r}")
