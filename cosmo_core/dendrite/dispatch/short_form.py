"""The short form of work: sends TASKs and returns outputs, where the dispatcher returns Signals."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final, Unpack, cast

import msgspec

from cosmo_core.arguments import check_count, check_options, check_wait
from cosmo_core.contracts.asking import CONCURRENCY, Stream, Target
from cosmo_core.contracts.axon import Axon
from cosmo_core.contracts.neuron_types import check_output_type, convert_output
from cosmo_core.contracts.options import AskOptions, MapOptions, StreamOptions, TaskOptions
from cosmo_core.dendrite.dispatch.dispatcher import Dispatcher
from cosmo_core.protocol.signal import plain_value

TIMEOUT_S: Final = 30.0
"""The default time limit of an answer, in seconds."""


class ShortForm:
    """Sends TASKs with a dispatcher; the types of its methods, such as `AskFn`, are their manual."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    async def ask(
        self, neuron: Target, input: object, *, output_type: Any = None, **options: Unpack[AskOptions]
    ) -> Any:
        """Return the output of a Neuron."""
        check_options("ask", options, AskOptions.__annotations__)
        retry = options.pop("retry", None)
        timeout_s = options.pop("timeout_s", TIMEOUT_S)
        task = _task(neuron, input, output_type, options)
        if retry is None:
            answer = await self._dispatcher.ask(task, timeout_s)
        else:
            answer = await self._dispatcher.ask_with_retries(task, retry)
        return _converted(answer.output, neuron, output_type)

    def stream(
        self, neuron: Target, input: object, *, output_type: Any = None, **options: Unpack[StreamOptions]
    ) -> Stream:
        """Return the texts of an answer; the TASK is sent when they are read."""
        check_options("stream", options, StreamOptions.__annotations__)
        check_wait(timeout_s := options.pop("timeout_s", TIMEOUT_S))
        task: TaskOptions = {**_task(neuron, input, output_type, options), "backpressure": True}
        return Stream(
            lambda: self._dispatcher.dispatch(task, timeout_s),
            timeout_s,
            lambda output: _converted(output, neuron, output_type),
        )

    async def map(
        self,
        neuron: Target,
        inputs: Iterable[object],
        *,
        output_type: Any = None,
        concurrency: int = CONCURRENCY,
        return_exceptions: bool = False,
        **options: Unpack[AskOptions],
    ) -> list[Any]:
        """Return the outputs for many inputs, in their order."""
        check_options("map", options, MapOptions.__annotations__)
        free = asyncio.Semaphore(check_count("concurrency", concurrency))
        outputs: list[Any] = []

        async def run(index: int, input: object) -> None:
            try:
                outputs[index] = await self.ask(neuron, input, output_type=output_type, **options)
            except Exception as error:
                if not return_exceptions:
                    raise
                outputs[index] = error
            finally:
                free.release()

        try:
            async with asyncio.TaskGroup() as group:
                for index, input in enumerate(inputs):
                    await free.acquire()
                    outputs.append(None)
                    group.create_task(run(index, input))
        except BaseExceptionGroup as failed:
            # The first one cancelled the others.
            first = failed.exceptions[0]
            raise first from first.__cause__
        return outputs

    async def race(
        self,
        neurons: Iterable[str | Axon],
        input: object,
        *,
        output_type: Any = None,
        **options: Unpack[AskOptions],
    ) -> Any:
        """Return the first output of several Neurons, and stop the others."""
        check_options("race", options, AskOptions.__annotations__)
        if isinstance(neurons, (str, Axon)) or not (neurons := list(neurons)):
            raise TypeError(f"race takes several Neurons, not {neurons!r}")
        works = [
            asyncio.create_task(self.ask(neuron, input, output_type=output_type, **options))
            for neuron in neurons
        ]
        pending = set(works)
        try:
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for work in done:
                    if work.exception() is None:
                        return work.result()
        finally:
            for work in pending:
                work.cancel()
            await asyncio.wait(works)
            # A loser may have failed, too.
            failures = [error for work in works if not work.cancelled() and (error := work.exception())]
        raise BaseExceptionGroup(f"none of {len(works)} Neurons answered with an output", failures)


def _task(
    neuron: Target, input: object, output_type: Any, options: StreamOptions | AskOptions
) -> TaskOptions:
    if output_type is not None:
        # The Neuron would work in vain.
        check_output_type(output_type)
    task: dict[str, Any] = {"input": input if isinstance(input, dict) else _plain(input), **options}
    if isinstance(neuron, Axon):
        task["neuron"] = neuron.neuron_id
    elif isinstance(neuron, str):
        task["neuron"] = neuron
    elif neuron is not None:
        raise TypeError(f"a Neuron is asked by its id or its Axon, not {neuron!r}; @neuron makes an Axon")
    return cast("TaskOptions", task)


def _plain(input: object) -> dict[str, Any]:
    plain = msgspec.to_builtins(input, enc_hook=plain_value)
    if not isinstance(plain, dict):
        raise TypeError(
            f"the input of a Neuron is an object: a dictionary, a dataclass or such, not {input!r}"
        )
    return plain


def _converted(output: Any, neuron: Target, output_type: Any) -> Any:
    if isinstance(neuron, Axon):
        output_type, neuron = output_type or neuron.output_type, neuron.neuron_id
    return output if output_type is None else convert_output(output, output_type, neuron or "")
