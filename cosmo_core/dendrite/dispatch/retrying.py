"""Retries: dispatches a TASK again as its `RetryStrategy` says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from cosmo_core.contracts.options import TaskOptions
from cosmo_core.contracts.retry import RetryStrategy
from cosmo_core.errors import PathwayClosedError
from cosmo_core.protocol.ids import new_trace_id
from cosmo_core.protocol.signal import Signal

Ask = Callable[["TaskOptions", float | None], Awaitable["Signal"]]


async def ask_with_retries(ask: Ask, options: TaskOptions, retry: RetryStrategy) -> Signal:
    """Return the first answer that the strategy accepts, or the outcome of the last attempt.

    Raises:
        TimeoutError: The last attempt exceeded its time limit.
        PathwayClosedError: The Pathway of the last attempt closed.
    """
    attempt = 1
    if not retry.new_trace and options.get("trace_id") is None:
        options = {**options, "trace_id": new_trace_id()}
    while True:
        try:
            answer = await ask(options, retry.timeout_s)
        except (TimeoutError, PathwayClosedError) as error:
            if attempt >= retry.max_attempts or not retry.retry_on(error):
                raise
        else:
            if attempt >= retry.max_attempts or not retry.retry_on(answer):
                return answer
        await asyncio.sleep(retry.delay_s(attempt))
        attempt += 1
        if retry.new_trace:
            options = {**options, "trace_id": new_trace_id()}
