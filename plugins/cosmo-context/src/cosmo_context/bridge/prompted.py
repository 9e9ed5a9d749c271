"""`with_prompt`, which makes a Neuron that composes a prompt for every TASK and passes it to a model."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal, overload

import attrs

from cosmo_context.bridge.feeding import INPUT_KEYS, Feed, Recalled, feed_recalled, feed_task
from cosmo_context.bridge.memory import TraceMemory, as_text
from cosmo_context.builder import PromptBuilder
from cosmo_context.context import Context
from cosmo_context.errors import ContextNeuronError, PromptBuilderError, StateShapeError
from cosmo_context.messages import SYSTEM_ROLES, content_text
from cosmo_context.neurons import never_cut
from cosmo_context.rendered import Rendered
from cosmo_core import CurrentTask, NeuronError, NeuronFn, RecallFn, current_task
from cosmo_core.contracts.neuron import AnyNeuronFn, Invoke, invoker, is_streaming

Compose = Callable[[Context], PromptBuilder]
"""Returns the builder of a prompt for a Context."""

Form = Literal["prompt", "messages"]

PROMPT_FAILED = "PROMPT_FAILED"
"""The ERROR code of a TASK whose prompt cannot be composed."""

logger = logging.getLogger("cosmo_context")


@attrs.frozen(kw_only=True, eq=False)
class _Composer:
    """Composes the prompt of a TASK and calls the LLM Neuron; its attributes are those of `with_prompt`."""

    neuron: NeuronFn
    call: Invoke
    compose: Compose
    base: Context
    feed: Feed
    memory: TraceMemory
    form: Form
    recalls: Sequence[Recalled]

    async def answer(self, input: dict[str, Any], context: list[Any], recall: RecallFn | None = None) -> Any:
        """Return the LLM Neuron's answer to the prompt of a TASK."""
        task = current_task()
        ctx, prompted = await self._compose(task, input, context, recall)
        output = await self.call(prompted, context)
        self._remember(task, ctx, output)
        return output

    async def stream(
        self, input: dict[str, Any], context: list[Any], recall: RecallFn | None = None
    ) -> AsyncGenerator[Any]:
        """Yield the answer of a streaming LLM Neuron to the prompt of a TASK."""
        task = current_task()
        ctx, prompted = await self._compose(task, input, context, recall)
        pieces: list[str] = []
        output: Any = None
        async with aclosing(self.neuron(prompted, context)) as items:
            async for item in items:
                if isinstance(item, str):
                    pieces.append(item)
                else:
                    output = item
                yield item
        self._remember(task, ctx, "".join(pieces) if output is None else output)

    async def aclose(self) -> None:
        """Close the LLM Neuron."""
        aclose = getattr(self.neuron, "aclose", None)
        if aclose is not None:
            await aclose()

    async def _compose(
        self, task: CurrentTask | None, input: dict[str, Any], context: list[Any], recall: RecallFn | None
    ) -> tuple[Context, dict[str, Any]]:
        """Return the Context of a TASK, and the input for the LLM Neuron."""
        ctx = await self._fill_context(task, input, context, recall)
        try:
            rendered = await self.compose(ctx).render()
        except PromptBuilderError as error:
            raise _neuron_error(error, input) from error
        # What the Neuron says that it does not take is for the prompt only, such as facts.
        taken = getattr(self.neuron, "input_keys", input)
        rest = {key: value for key, value in input.items() if key in taken and key not in INPUT_KEYS}
        if self.form == "prompt":
            return ctx, {**rest, "prompt": rendered.text}
        return ctx, {**rest, "messages": _messages(rendered, ctx, input.get("messages"))}

    async def _fill_context(
        self, task: CurrentTask | None, input: dict[str, Any], context: list[Any], recall: RecallFn | None
    ) -> Context:
        ctx = Context(task.id if task else "task", parent=self.base)
        pending = self.feed(ctx, input, context)
        if inspect.isawaitable(pending):
            await pending
        if task:
            self.memory.feed(ctx, task.trace_id, task.neuron)
        if recall is not None:
            await feed_recalled(ctx, self.recalls, recall)
        return ctx

    def _remember(self, task: CurrentTask | None, ctx: Context, output: Any) -> None:
        question = ctx.state.get("task_input")
        if task and question and output is not None:
            asked, answered = content_text(question), as_text(output)
            self.memory.note(task.trace_id, task.neuron, asked=asked, answered=answered)


def _messages(rendered: Rendered, ctx: Context, given: object) -> list[dict[str, Any]]:
    """Return a prompt as chat messages, with the messages of the input that must not be cut.

    Raises:
        NeuronError: The budget has no room for them, or there is nothing to send.
    """
    kept: Sequence[Any] = ()
    if isinstance(given, list) and not any(fragment.messages for fragment in rendered.fragments):
        kept = never_cut(given)
        if kept and any(fragment.status == "dropped" for fragment in rendered.fragments):
            raise NeuronError(
                f"the budget of {rendered.limit} tokens has no room for the system message and the results of"
                " tools in the input: raise the budget, or shorten them",
                code=PROMPT_FAILED,
            )
    question = ctx.state.get("task_input")
    messages = rendered.to_messages(question=question, conversation=kept, cache_control=None)
    if all(message["role"] in SYSTEM_ROLES for message in messages):
        raise NeuronError(
            "the prompt has no message of the user: the input needs a prompt or messages", code=PROMPT_FAILED
        )
    return messages


def _neuron_error(error: PromptBuilderError, input: Mapping[str, Any]) -> NeuronError:
    """Return the error to send. It contains no message of a context Neuron's own exception."""
    if isinstance(error, StateShapeError):
        code = "INPUT_INVALID" if error.key in input else PROMPT_FAILED
        return NeuronError(str(error), code=code)
    if isinstance(error, ContextNeuronError) and error.__cause__ is not None:
        logger.warning("a prompt could not be composed", exc_info=error)
        name = type(error.__cause__).__name__
        return NeuronError(f"context Neuron {error.neuron!r} failed: {name}", code=PROMPT_FAILED)
    return NeuronError(str(error), code=PROMPT_FAILED)


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

    Each TASK gets a Context with its id, which is filled from its input and its trace. ``compose`` returns
    the builder of the prompt. The LLM Neuron gets the input with the composed prompt in place of the
    question, and its answer is the answer of the TASK. A streaming Neuron still streams.

    With ``recalls``, the Neuron declares the keyword ``recall``, so its Axon must bind Engrams.

    A prompt that cannot be composed ends the TASK with the ERROR code ``PROMPT_FAILED``, or ``INPUT_INVALID``
    if a key of the input has a value of the wrong type. An Engram that fails ends it with its own code.

    Args:
        neuron: Takes ``{"prompt": …}`` or ``{"messages": […]}``, as ``Neuron(source=…)`` does.
        compose: Returns the builder for a Context. It is also called once at once, to find mistakes early.
        context: The parent of the TASKs' Contexts. They read its state live, and write only their own.
        feed: Fills the Context of a TASK.
        memory: The memory of traces; a new one by default. Neurons that share one see each other's items.
        form: ``"prompt"`` to pass one prompt to the LLM Neuron, ``"messages"`` to pass chat messages: the
            system message, the conversation, and a message with the other fragments and the question last.
            System messages and the question of the input are always passed.
        recalls: The Engrams to recall from for every prompt, concurrently, after its Context is filled.

    Raises:
        PromptBuilderError: ``compose`` names an unknown context Neuron.
        ValueError: ``form`` has another value.
    """
    if form not in {"prompt", "messages"}:
        raise ValueError(f'form must be "prompt" or "messages", not {form!r}')
    base = context or Context("prompt")
    compose(Context("check", parent=base))
    composer = _Composer(
        neuron=neuron,
        call=invoker(neuron),
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


# A host reads from the signature of `__call__` whether a Neuron streams and recalls: hence four classes.


class _PromptedBase:
    def __init__(self, composer: _Composer) -> None:
        self._composer = composer

    async def aclose(self) -> None:
        """Close the LLM Neuron."""
        await self._composer.aclose()


class _Prompted(_PromptedBase):
    async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
        return await self._composer.answer(input, context)


class _Recalling(_PromptedBase):
    async def __call__(self, input: dict[str, Any], context: list[Any], *, recall: RecallFn) -> Any:
        return await self._composer.answer(input, context, recall)


class _StreamingPrompted(_PromptedBase):
    async def __call__(self, input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
        async with aclosing(self._composer.stream(input, context)) as items:
            async for item in items:
                yield item


class _StreamingRecalling(_PromptedBase):
    async def __call__(
        self, input: dict[str, Any], context: list[Any], *, recall: RecallFn
    ) -> AsyncIterator[Any]:
        async with aclosing(self._composer.stream(input, context, recall)) as items:
            async for item in items:
                yield item
