"""Runs a Neuron again after a temporary failure."""

from __future__ import annotations

import asyncio
import copy
import os
from typing import Any, Final

from cosmo_core import NeuronError, NeuronFn
from cosmo_core.contracts.neuron import invoker, is_streaming
from cosmo_core.contracts.options import jittered
from cosmo_core.plugins import NeuronWrapper, hookimpl

COSMO_API = 1

ATTEMPTS: Final = "COSMO_RETRY_ATTEMPTS"
"""The environment variable with the maximum number of attempts per TASK; 3 by default."""

TEMPORARY: Final = (ConnectionError, TimeoutError)


@hookimpl
def cosmo_neuron_wrappers() -> NeuronWrapper | None:
    """Retry for every Axon that is attached.

    Raises:
        ValueError: The number of attempts is not valid.
    """
    text = os.environ.get(ATTEMPTS, "3")
    if not text.strip().isdecimal() or int(text) < 1:
        raise ValueError(f"{ATTEMPTS} is {text!r}; write the number of attempts, such as 3")
    return retrying(int(text)) if int(text) > 1 else None


def retrying(attempts: int) -> NeuronWrapper:
    """Return the wrapper that runs a Neuron up to ``attempts`` times.

    A Neuron that streams is not wrapped: its text is already sent.
    """

    def wrap(neuron: NeuronFn) -> NeuronFn:
        if is_streaming(neuron):
            return neuron
        invoke = invoker(neuron)

        async def retry(input: dict[str, Any], context: list[Any]) -> Any:
            for attempt in range(1, attempts):
                try:
                    # A copy: a Neuron may change its input before it fails.
                    return await invoke(copy.deepcopy(input), context)
                except Exception as error:
                    if not is_temporary(error):
                        raise
                await asyncio.sleep(jittered(attempt))
            return await invoke(input, context)

        return retry

    return wrap


def is_temporary(error: Exception) -> bool:
    """Return whether the same TASK may succeed later."""
    return error.recoverable if isinstance(error, NeuronError) else isinstance(error, TEMPORARY)
