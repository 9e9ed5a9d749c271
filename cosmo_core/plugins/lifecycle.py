"""Running the life-cycle hooks: in order to start, in reverse to stop, and nothing left half open."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cosmo_core.plugins.hooks import Implementation

_log = logging.getLogger("cosmo_core.plugins")


async def start(
    started: Sequence[Implementation], stopping: Sequence[Implementation], arguments: Mapping[str, Any]
) -> None:
    """Run every started hook; when one fails, undo what the others opened.

    Args:
        started: The started hooks, in order.
        stopping: The stopping hooks, in the same order.
        arguments: The arguments of the hooks.

    Raises:
        BaseException: What the hook that failed raised. What failed while undoing is logged.
    """
    waiting = [implementation.owner for implementation in started]
    try:
        for implementation in started:
            await _run(implementation, arguments)
            waiting.remove(implementation.owner)
    except BaseException:
        opened = [implementation for implementation in stopping if implementation.owner not in waiting]
        try:
            await stop(opened, arguments)
        except ExceptionGroup:
            _log.exception("a start was aborted, and so was its undoing in part")
        raise


async def stop(stopping: Sequence[Implementation], arguments: Mapping[str, Any]) -> None:
    """Run every stopping hook, last one first, whatever the others do.

    Raises:
        ExceptionGroup: What the hooks raised.
        CancelledError: The caller was cancelled meanwhile; the remaining hooks have run.
    """
    errors: list[Exception] = []
    interruption: BaseException | None = None
    for implementation in reversed(stopping):
        try:
            await _run(implementation, arguments)
        except Exception as error:  # noqa: BLE001 - gathered: the others have something to close, too
            errors.append(error)
        except BaseException as error:  # noqa: BLE001 - raised below, for the same reason
            interruption = interruption or error
    group = ExceptionGroup("plugins failed to stop", errors) if errors else None
    if interruption is not None:
        raise interruption from group
    if group is not None:
        raise group


async def _run(implementation: Implementation, arguments: Mapping[str, Any]) -> None:
    with implementation.owner.noted():
        result = implementation(**arguments)
        if inspect.isawaitable(result):
            await result
