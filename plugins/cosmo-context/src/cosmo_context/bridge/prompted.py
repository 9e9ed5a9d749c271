"""`with_prompt`: a Neuron whose prompt is composed of context Neurons, for every TASK anew."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from typing import Any, overload

from cosmo_context.bridge.composer import Compose, Composer, Form
from cosmo_context.bridge.feeding import Feed, feed_task
from cosmo_context.bridge.memory import TraceMemory
from cosmo_context.bridge.recalling import Recalled
from cosmo_context.context import Context
from cosmo_core import NeuronFn, RecallFn
from cosmo_core.contracts.neuron import AnyNeuronFn, is_streaming


@overload
def with_prompt(
    neuron: NeuronFn,
    compose: Compose,
    *,
    context: Context | None = None,
    feed: Feed = feed_task,
    memory: TraceMemory | None = None,
    form: Form = "prompt",
) -> NeuronFn: ...


@overload
def with_prompt(
    neuron: NeuronFn,
    compose: Compose,
    *,
    context: Context | None = None,
    feed: Feed = feed_task,
    memory: TraceMemory | None = None,
    form: Form = "prompt",
    recalls: Iterable[Recalled],
) -> AnyNeuronFn: ...


def with_prompt(
    neuron: NeuronFn,
    compose: Compose,
    *,
    context: Context | None = None,
    feed: Feed = feed_task,
    memory: TraceMemory | None = None,
    form: Form = "prompt",
    recalls: Iterable[Recalled] = (),
) -> AnyNeuronFn:
    """Make a Neuron that composes a prompt for every TASK and passes it to an LLM Neuron.

    The TASK's input and trace fill a Context of its own, whose ``task_id`` is the TASK's; ``compose`` says of
    what the prompt is made. The LLM Neuron gets the input with the prompt in the place of what was asked, and
    its answer is the answer. A Neuron that streams still streams.

    With ``recalls``, the Neuron declares the keyword ``recall``, so that its Axon has to bind Engrams.

    A prompt that cannot be composed ends the TASK with ERROR ``PROMPT_FAILED``, or ``INPUT_INVALID`` when
    a key of the input has the wrong shape. An Engram that does not answer ends it with the Engram's own code.

    Args:
        neuron: Takes ``{"prompt": …}`` or ``{"messages": […]}``, as ``Neuron(source=…)`` does.
        compose: Returns the builder for a Context; called at once, too, to find mistakes early.
        context: What all prompts know; each TASK reads its state live, and writes a state of its own.
        feed: Fills a TASK's Context.
        memory: What is known of traces; one of its own when omitted. Share one to let Neurons see it.
        form: Whether the LLM Neuron gets one prompt or chat messages.
        recalls: What is recalled for every prompt, all at the same time, once its Context is filled.

    Raises:
        PromptBuilderError: A context Neuron that ``compose`` names is unknown.
        ValueError: ``form`` is neither.
    """
    if form not in {"prompt", "messages"}:
        raise ValueError(f'form is "prompt" or "messages", not {form!r}')
    base = context or Context("prompt")
    compose(Context("check", parent=base))
    composer = Composer(
        neuron=neuron,
        compose=compose,
        base=base,
        feed=feed,
        memory=TraceMemory() if memory is None else memory,
        form=form,
        recalls=tuple(recalls),
    )
    if composer.recalls:
        return _StreamingRecalling(composer) if is_streaming(neuron) else _Recalling(composer)
    return _StreamingPrompted(composer) if is_streaming(neuron) else _Prompted(composer)


# How a Neuron can be called tells its host what it needs, and whether it streams: hence four classes.


class _Hosted:
    def __init__(self, composer: Composer) -> None:
        self._composer = composer

    async def aclose(self) -> None:
        """Let the LLM Neuron release what it holds."""
        await self._composer.aclose()


class _Prompted(_Hosted):
    async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
        return await self._composer.answer(input, context)


class _Recalling(_Hosted):
    async def __call__(self, input: dict[str, Any], context: list[Any], *, recall: RecallFn) -> Any:
        return await self._composer.answer(input, context, recall)


class _StreamingPrompted(_Hosted):
    async def __call__(self, input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
        async with aclosing(self._composer.stream(input, context)) as items:
            async for item in items:
                yield item


class _StreamingRecalling(_Hosted):
    async def __call__(
        self, input: dict[str, Any], context: list[Any], *, recall: RecallFn
    ) -> AsyncIterator[Any]:
        async with aclosing(self._composer.stream(input, context, recall)) as items:
            async for item in items:
                yield item
