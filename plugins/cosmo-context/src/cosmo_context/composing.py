"""Composing a prompt, step by step: order, format, refine, fit, join, report."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Literal

import attrs

from cosmo_context.budget import Budget
from cosmo_context.context import Context
from cosmo_context.data import marking
from cosmo_context.fitting import Draft, Fitting
from cosmo_context.formatting import Entry, Formatted, OnError, format_all
from cosmo_context.neurons.history import Conversation
from cosmo_context.rendered import Fragment, Rendered, Status
from cosmo_context.safety import Refiner
from cosmo_context.tokens import CountTokens
from cosmo_context.variables import DynamicVariableRegistry, Moved

Layout = Literal["priority", "cache"]

logger = logging.getLogger("cosmo_context")


@attrs.frozen(kw_only=True)
class Settings:
    """How to compose; see `PromptBuilder`."""

    variables: DynamicVariableRegistry | None
    separator: str
    layout: Layout
    budget: Budget | None
    count_tokens: CountTokens
    resolve_in_data: bool
    escape_tags: bool
    timeout_s: float | None
    on_error: OnError

    def __attrs_post_init__(self) -> None:
        if self.layout not in {"priority", "cache"}:
            raise ValueError(f'layout is "priority" or "cache", not {self.layout!r}')
        if self.on_error not in {"raise", "skip", "placeholder"}:
            raise ValueError(f'on_error is "raise", "skip" or "placeholder", not {self.on_error!r}')
        if self.timeout_s is not None and not self.timeout_s > 0:
            raise ValueError(f"timeout_s is a number of seconds above 0, or None, not {self.timeout_s!r}")


class Composition:
    """One prompt in the making.

    Args:
        ctx: What there is to tell.
        entries: Who tells it.
        settings: How.
    """

    def __init__(self, ctx: Context, entries: Sequence[Entry], settings: Settings) -> None:
        self._ctx = ctx
        self._settings = settings
        by_stability = settings.layout == "cache"
        self._entries = sorted(
            entries,
            key=lambda entry: (entry.neuron.stability if by_stability else 0, entry.neuron.priority),
        )
        # Where it does not matter what is data, variables resolve in the joined prompt.
        late = settings.resolve_in_data and not settings.escape_tags
        self._late_variables = settings.variables if late else None
        self._refiner = None
        if settings.escape_tags or (settings.variables is not None and not late):
            self._refiner = Refiner(
                ctx,
                settings.variables,
                resolve_in_data=settings.resolve_in_data,
                escape_tags=settings.escape_tags,
            )
        self._drafts: list[Draft] = []

    async def compose(self) -> None:
        """Make the drafts of all fragments, short enough for the budget.

        Raises:
            ContextNeuronError: A Neuron failed or took too long.
            BudgetExceededError: What must not be dropped does not fit.
        """
        settings, refiner = self._settings, self._refiner
        with marking() if refiner else nullcontext():
            formatted = await format_all(
                self._ctx, self._entries, timeout_s=settings.timeout_s, on_error=settings.on_error
            )
            texts = [found.text for found in formatted]
            if refiner:
                texts = refiner.refine_all(texts)
            self._drafts = [
                Draft(found, raw=found.text, text=text, status=_status(found, text))
                for found, text in zip(formatted, texts, strict=True)
            ]
            if settings.budget is not None:
                fitting = Fitting(
                    ctx=self._ctx,
                    budget=settings.budget,
                    count=settings.count_tokens,
                    join=lambda: self.text,
                    refine=refiner.refine if refiner else str,
                    timeout_s=settings.timeout_s,
                    on_error=settings.on_error,
                )
                await fitting.fit(self._drafts)

    def log_changes(self) -> None:
        """Log what was shortened or dropped."""
        for draft in self._drafts:
            if draft.change:
                logger.warning("context Neuron %r was %s", draft.neuron.name, draft.change)

    @property
    def text(self) -> str:
        """The prompt."""
        return self._final()[0]

    def rendered(self) -> Rendered:
        """Return the prompt with its provenance."""
        settings = self._settings
        text, moved = self._final()
        tokens = settings.count_tokens(text)
        changed = any(draft.change for draft in self._drafts)
        return Rendered(
            text=text,
            fragments=tuple(self._fragments(text, moved)),
            tokens=tokens,
            limit=settings.budget.limit if settings.budget else None,
            over_trigger=settings.budget is not None
            and (changed or tokens > self._ctx.config.token_budget_trigger * settings.budget.limit),
        )

    def _final(self) -> tuple[str, Moved]:
        joined = self._settings.separator.join([draft.text for draft in self._drafts if draft.text])
        if self._late_variables is None:
            return joined, int
        return self._late_variables.resolve_with_places(joined, self._ctx.state)

    def _fragments(self, text: str, moved: Moved) -> Iterator[Fragment]:
        place = 0
        for draft in self._drafts:
            end = place + len(draft.text)
            yield self._fragment(draft, text, moved(place), moved(end))
            if draft.text:
                place = end + len(self._settings.separator)

    def _fragment(self, draft: Draft, prompt: str, start: int, end: int) -> Fragment:
        neuron, raw, error = draft.neuron, draft.raw, draft.formatted.error
        start = min(start, len(prompt))
        text = prompt[start:end]
        return Fragment(
            neuron=neuron.name,
            priority=neuron.priority,
            stability=neuron.stability,
            text=text,
            start=start,
            end=start + len(text),
            tokens=self._settings.count_tokens(text) if text else 0,
            elapsed_s=draft.formatted.elapsed_s,
            status=draft.status,
            reason="; ".join(str(why) for why in (error, draft.change) if why) or None,
            messages=raw.messages if isinstance(raw, Conversation) else None,
        )


def _status(formatted: Formatted, text: str) -> Status:
    if formatted.error is not None:
        return "failed"
    return "kept" if text else "empty"
