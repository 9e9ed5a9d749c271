"""`with_prompt`: a Neuron whose prompt is composed of context Neurons, for every TASK anew."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any, Literal

from cosmo_context.bridge.feeding import ASKED, Feed, feed_task
from cosmo_context.bridge.memory import TraceMemory, as_text
from cosmo_context.builder import PromptBuilder
from cosmo_context.context import Context
from cosmo_context.errors import ContextNeuronError, PromptBuilderError, StateShapeError
from cosmo_core import CurrentTask, NeuronError, NeuronFn, current_task
from cosmo_core.neuron import invoker, is_streaming

Compose = Callable[[Context], PromptBuilder]
"""Says of what a prompt is composed."""

Form = Literal["prompt", "messages"]

PROMPT_FAILED = "PROMPT_FAILED"
"""The ERROR code of a TASK whose prompt could not be composed."""

logger = logging.getLogger("cosmo_context")


def with_prompt(
    neuron: NeuronFn,
    compose: Compose,
    *,
    context: Context | None = None,
    feed: Feed = feed_task,
    memory: TraceMemory | None = None,
    form: Form = "prompt",
) -> NeuronFn:
    """Make a Neuron that composes a prompt for every TASK and passes it to an LLM Neuron.

    The TASK's input and trace fill a Context of its own, whose ``task_id`` is the TASK's; ``compose`` says of
    what the prompt is made. The LLM Neuron gets the input with the prompt in the place of what was asked, and
    its answer is the answer. A Neuron that streams still streams.

    A prompt that cannot be composed ends the TASK with ERROR ``PROMPT_FAILED``, or ``INPUT_INVALID`` when
    a key of the input has the wrong shape.

    Args:
        neuron: Takes ``{"prompt": …}`` or ``{"messages": […]}``, as ``Neuron(source=…)`` does.
        compose: Returns the builder for a Context; called at once, too, to find mistakes early.
        context: What all prompts know; each TASK reads its state live, and writes a state of its own.
        feed: Fills a TASK's Context.
        memory: What is known of traces; one of its own when omitted. Share one to let Neurons see it.
        form: Whether the LLM Neuron gets one prompt or chat messages.

    Raises:
        PromptBuilderError: A context Neuron that ``compose`` names is unknown.
        ValueError: ``form`` is neither.
    """
    if form not in {"prompt", "messages"}:
        raise ValueError(f'form is "prompt" or "messages", not {form!r}')
    base = context or Context("prompt")
    compose(Context("check", parent=base))
    kind = _StreamingPrompted if is_streaming(neuron) else _Prompted
    return kind(neuron, compose, base, feed, TraceMemory() if memory is None else memory, form)


class _Composer:
    def __init__(
        self,
        neuron: NeuronFn,
        compose: Compose,
        context: Context,
        feed: Feed,
        memory: TraceMemory,
        form: Form,
    ) -> None:
        self._neuron = neuron
        self._compose = compose
        self._base = context
        self._feed = feed
        self._memory = memory
        self._form = form

    async def _composed(
        self, task: CurrentTask | None, input: dict[str, Any], context: list[Any]
    ) -> tuple[Context, dict[str, Any]]:
        """Return the Context of a TASK, and what the LLM Neuron gets."""
        ctx = Context(task.id if task else "task", parent=self._base)
        fed = self._feed(ctx, input, context)
        if inspect.isawaitable(fed):
            await fed
        if task:
            self._memory.feed(ctx, task.trace_id, task.neuron)
        try:
            rendered = await self._compose(ctx).render()
        except PromptBuilderError as error:
            raise _told(error, input) from error
        rest = {key: value for key, value in input.items() if key not in ASKED}
        if self._form == "prompt":
            return ctx, {**rest, "prompt": rendered.text}
        return ctx, {**rest, "messages": rendered.to_messages(cache_control=None)}

    def _note(self, task: CurrentTask | None, ctx: Context, output: Any) -> None:
        asked = ctx.state.get("task_input")
        if task and asked and output is not None:
            self._memory.note(task.trace_id, task.neuron, asked=as_text(asked), answered=as_text(output))

    async def aclose(self) -> None:
        """Let the LLM Neuron release what it holds."""
        aclose = getattr(self._neuron, "aclose", None)
        if aclose is not None:
            await aclose()


class _Prompted(_Composer):
    async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
        task = current_task()
        ctx, composed = await self._composed(task, input, context)
        output = await invoker(self._neuron)(composed, context)
        self._note(task, ctx, output)
        return output


class _StreamingPrompted(_Composer):
    async def __call__(self, input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
        task = current_task()
        ctx, composed = await self._composed(task, input, context)
        pieces: list[str] = []
        output: Any = None
        async with aclosing(self._neuron(composed, context)) as items:
            async for item in items:
                if isinstance(item, str):
                    pieces.append(item)
                else:
                    output = item
                yield item
        self._note(task, ctx, "".join(pieces) if output is None else output)


def _told(error: PromptBuilderError, input: Mapping[str, Any]) -> NeuronError:
    """Return what may travel of an error: this package's own words, never those of a Neuron's exception."""
    if isinstance(error, StateShapeError):
        code = "INPUT_INVALID" if error.key in input else PROMPT_FAILED
        return NeuronError(str(error), code=code)
    if isinstance(error, ContextNeuronError) and error.__cause__ is not None:
        logger.warning("a prompt could not be composed", exc_info=error)
        name = type(error.__cause__).__name__
        return NeuronError(f"context Neuron {error.neuron!r} failed: {name}", code=PROMPT_FAILED)
    return NeuronError(str(error), code=PROMPT_FAILED)
