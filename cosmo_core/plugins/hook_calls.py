"""Calling the hooks: collecting contributions, asking for a decision, and running the life cycle."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

from cosmo_core.errors import HookError
from cosmo_core.plugins.shapes import ErrorInfo

if TYPE_CHECKING:
    from cosmo_core.plugins.hooks import Implementation

_log = logging.getLogger("cosmo_core.plugins")

T = TypeVar("T")


# --- composition hooks ------------------------------------------------------------------------------


@attrs.frozen
class Contribution(Generic[T]):
    """One value that a plugin contributed.

    Attributes:
        plugin: The name of the plugin.
        distribution: The distribution of the plugin; None if the program registered it itself.
        version: The version of that distribution.
        order: The position of the plugin; contributions come in the order ``(order, plugin)``.
        value: The contributed value.
    """

    plugin: str
    distribution: str | None
    version: str | None
    order: int
    value: T


def collect(
    implementations: Sequence[Implementation], arguments: Mapping[str, Any], *, plain: bool = False
) -> list[Contribution[Any]]:
    """Call a composition hook of every plugin, in order.

    Args:
        implementations: The functions to call.
        arguments: The arguments of the hook.
        plain: Whether to refuse coroutine functions as contributions.

    Raises:
        HookError: A plugin contributed a value of the wrong kind.
        Exception: The exception of a plugin, with a note that names the plugin.
    """
    found = []
    for implementation in implementations:
        plugin = implementation.plugin
        with plugin.noting_errors():
            for value in _values(implementation, implementation(**arguments)):
                _check(implementation, value, plain=plain)
                found.append(
                    Contribution(plugin.name, plugin.distribution, plugin.version, plugin.order, value)
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
    raise _wrong_value(implementation, "must return a callable, several of them, or None", result)


def _check(implementation: Implementation, value: object, *, plain: bool) -> None:
    if not callable(value):
        raise _wrong_value(implementation, "must return callables", value)
    if plain and (inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(type(value).__call__)):
        raise _wrong_value(implementation, "must return plain functions, not coroutine functions", value)


def _wrong_value(implementation: Implementation, rule: str, value: object) -> HookError:
    return HookError(f"{implementation.plugin}: {implementation.hook} {rule}; got {value!r}")


# --- decision hooks ---------------------------------------------------------------------------------


def first_decision(
    implementations: Sequence[Implementation], arguments: Mapping[str, Any]
) -> ErrorInfo | None:
    """Return the first result that is not None; a plugin that fails is logged and skipped."""
    for implementation in implementations:
        try:
            with implementation.plugin.noting_errors():
                decision = _decide(implementation, arguments)
        except Exception:  # noqa: BLE001 - a fault of a plugin must not hide the error that it is asked about
            _log.warning("%s is skipped", implementation.plugin, exc_info=True)
        else:
            if decision is not None:
                return decision
    return None


def _decide(implementation: Implementation, arguments: Mapping[str, Any]) -> ErrorInfo | None:
    decision = implementation(**arguments)
    if decision is None or isinstance(decision, ErrorInfo):
        return decision
    raise HookError(f"{implementation.hook} must return an ErrorInfo or None; got {type(decision).__name__}")


# --- life-cycle hooks -------------------------------------------------------------------------------


async def run_started(
    started: Sequence[Implementation], stopping: Sequence[Implementation], arguments: Mapping[str, Any]
) -> None:
    """Run every started hook in order; if one fails, stop the plugins that have started.

    Args:
        started: The started hooks, in order.
        stopping: The stopping hooks, in the same order.
        arguments: The arguments of the hooks.

    Raises:
        BaseException: The exception of the hook that failed. Failures of stopping hooks are logged.
    """
    pending = [implementation.plugin for implementation in started]
    try:
        for implementation in started:
            await _run(implementation, arguments)
            pending.remove(implementation.plugin)
    except BaseException:
        opened = [implementation for implementation in stopping if implementation.plugin not in pending]
        try:
            await run_stopping(opened, arguments)
        except ExceptionGroup:
            _log.exception("plugins failed to stop after an aborted start")
        raise


async def run_stopping(stopping: Sequence[Implementation], arguments: Mapping[str, Any]) -> None:
    """Run every stopping hook in reverse order, even if others fail.

    Raises:
        ExceptionGroup: The exceptions of the hooks.
        CancelledError: The caller was cancelled meanwhile; the remaining hooks have run.
    """
    errors: list[Exception] = []
    interruption: BaseException | None = None
    for implementation in reversed(stopping):
        try:
            await _run(implementation, arguments)
        except Exception as error:  # noqa: BLE001 - gathered: the other plugins have to close too
            errors.append(error)
        except BaseException as error:  # noqa: BLE001 - raised below, for the same reason
            interruption = error if interruption is None else interruption
    group = ExceptionGroup("plugins failed to stop", errors) if errors else None
    if interruption is not None:
        raise interruption from group
    if group is not None:
        raise group


async def _run(implementation: Implementation, arguments: Mapping[str, Any]) -> None:
    with implementation.plugin.noting_errors():
        result = implementation(**arguments)
        if inspect.isawaitable(result):
            await result
