"""Composes the prompt of a TASK, has it answered, and notes the answer."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal

import attrs

from cosmo_context.bridge.feeding import ASKED, Feed
from cosmo_context.bridge.memory import TraceMemory, as_text
from cosmo_context.bridge.recalling import Recalled, feed_recalled
from cosmo_context.builder import PromptBuilder
from cosmo_context.context import Context
from cosmo_context.errors import ContextNeuronError, PromptBuilderError, StateShapeError
from cosmo_core import CurrentTask, NeuronError, NeuronFn, RecallFn, current_task
from cosmo_core.contracts.neuron import invoker

Compose = Callable[[Context], PromptBuilder]
"""Says of what a prompt is composed."""

Form = Literal["prompt", "messages"]

PROMPT_FAILED = "PROMPT_FAILED"
"""The ERROR code of a TASK whose prompt could not be composed."""

logger = logging.getLogger("cosmo_context")


@attrs.frozen(kw_only=True, eq=False)
class Composer:
    """Stands between TASKs and an LLM Neuron; its attributes are the arguments of `with_prompt`."""

    neuron: NeuronFn
    compose: Compose
    base: Context
    feed: Feed
    memory: TraceMemory
    form: Form
    recalls: Sequence[Recalled]

    async def answer(self, input: dict[str, Any], context: list[Any], recall: RecallFn | None = None) -> Any:
        """Return what the LLM Neuron says to the prompt of a TASK."""
        task = current_task()
        ctx, composed = await self._composed(task, input, context, recall)
        output = await invoker(self.neuron)(composed, context)
        self._note(task, ctx, output)
        return output

    async def stream(
        self, input: dict[str, Any], context: list[Any], recall: RecallFn | None = None
    ) -> AsyncGenerator[Any]:
        """Give what the LLM Neuron, which streams, says to the prompt of a TASK."""
        task = current_task()
        ctx, composed = await self._composed(task, input, context, recall)
        pieces: list[str] = []
        output: Any = None
        async with aclosing(self.neuron(composed, context)) as items:
            async for item in items:
                if isinstance(item, str):
                    pieces.append(item)
                else:
                    output = item
                yield item
        self._note(task, ctx, "".join(pieces) if output is None else output)

    async def aclose(self) -> None:
        """Let the LLM Neuron release what it holds."""
        aclose = getattr(self.neuron, "aclose", None)
        if aclose is not None:
            await aclose()

    async def _composed(
        self, task: CurrentTask | None, input: dict[str, Any], context: list[Any], recall: RecallFn | None
    ) -> tuple[Context, dict[str, Any]]:
        """Return the Context of a TASK, and what the LLM Neuron gets."""
        ctx = await self._fed(task, input, context, recall)
        try:
            rendered = await self.compose(ctx).render()
        except PromptBuilderError as error:
            raise _told(error, input) from error
        rest = {key: value for key, value in input.items() if key not in ASKED}
        if self.form == "prompt":
            return ctx, {**rest, "prompt": rendered.text}
        return ctx, {**rest, "messages": rendered.to_messages(cache_control=None)}

    async def _fed(
        self, task: CurrentTask | None, input: dict[str, Any], context: list[Any], recall: RecallFn | None
    ) -> Context:
        ctx = Context(task.id if task else "task", parent=self.base)
        fed = self.feed(ctx, input, context)
        if inspect.isawaitable(fed):
            await fed
        if task:
            self.memory.feed(ctx, task.trace_id, task.neuron)
        if recall is not None:
            await feed_recalled(ctx, self.recalls, recall)
        return ctx

    def _note(self, task: CurrentTask | None, ctx: Context, output: Any) -> None:
        asked = ctx.state.get("task_input")
        if task and asked and output is not None:
            self.memory.note(task.trace_id, task.neuron, asked=as_text(asked), answered=as_text(output))


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
