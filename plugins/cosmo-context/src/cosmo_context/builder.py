"""The PromptBuilder, which composes a prompt from the fragments of context Neurons."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any, Literal, Self

import attrs

from cosmo_context.budget import Budget, CountTokens, Draft, Fitting, approximate_tokens
from cosmo_context.context import Context
from cosmo_context.data import marking
from cosmo_context.errors import PromptBuilderError, RegistryError
from cosmo_context.formatting import Entry, Formatted, OnError, format_all
from cosmo_context.neuron import Neuron
from cosmo_context.neurons import Conversation, Question
from cosmo_context.refining import Refiner
from cosmo_context.registry import Registry, neuron_registry
from cosmo_context.rendered import Fragment, Rendered, Status
from cosmo_context.variables import DynamicVariableRegistry, Moved
from cosmo_core.arguments import check_seconds

Layout = Literal["priority", "cache"]

logger = logging.getLogger("cosmo_context")


class PromptBuilder:
    """Composes a prompt from the fragments of context Neurons, in ascending order of priority.

    Neurons with equal priority keep the order in which they were added. A builder can build several times;
    each build reads the current state of the Context.

    Args:
        ctx: The Context that the Neurons read.
        variables: Resolves ``${path}``; without it, variables are not resolved.
        separator: The text between two fragments.
        registry: The registry in which `add` looks up names.
        layout: ``"priority"``, or ``"cache"``, which puts the most stable fragments first and moves the
            window of the history in steps, so that most prompts start with the same text as the one before.
        budget: The token limit; without it, the prompt has no limit.
        count_tokens: Counts the tokens of a text.
        resolve_in_data: Resolve variables in quoted data, too. Anyone who can write a part of the state can
            then read all of it.
        escape_tags: Escape tags of the prompt that data imitates, and lines in data that look like turns.
            Without it, text that a user or a tool wrote can pass for another part of the prompt.
        timeout_s: Time limit in seconds for each Neuron that waits; None for no limit.
        on_error: What happens if a Neuron fails or takes too long: ``"raise"`` ends the build, ``"skip"``
            omits its fragment, ``"placeholder"`` replaces it by a note that it is not available.

    Raises:
        ValueError: ``layout`` or ``on_error`` has another value, or ``timeout_s`` is not positive.
    """

    def __init__(
        self,
        ctx: Context,
        *,
        variables: DynamicVariableRegistry | None = None,
        separator: str = "\n\n",
        registry: Registry = neuron_registry,
        layout: Layout = "priority",
        budget: Budget | None = None,
        count_tokens: CountTokens = approximate_tokens,
        resolve_in_data: bool = False,
        escape_tags: bool = True,
        timeout_s: float | None = 30.0,
        on_error: OnError = "raise",
    ) -> None:
        self._ctx = ctx
        self._registry = registry
        self._settings = Settings(
            variables=variables,
            separator=separator,
            layout=layout,
            budget=budget,
            count_tokens=count_tokens,
            resolve_in_data=resolve_in_data,
            escape_tags=escape_tags,
            timeout_s=timeout_s,
            on_error=on_error,
        )
        self._entries: list[Entry] = []

    @property
    def ctx(self) -> Context:
        """The Context that the Neurons read."""
        return self._ctx

    def add(self, neuron_name: str, /, **kwargs: Any) -> Self:
        """Add a registered Neuron by name; ``kwargs`` are passed to its ``format``.

        Raises:
            PromptBuilderError: The name is unknown; the message lists the known names.
            PluginError: The Neuron is installed but cannot be used.
        """
        try:
            neuron = self._registry.get(neuron_name)
        except RegistryError as error:
            raise PromptBuilderError(f"Neuron {error}") from error
        return self.add_neuron(neuron, **kwargs)

    def add_neuron(self, neuron: Neuron, /, **kwargs: Any) -> Self:
        """Add a Neuron, registered or not; ``kwargs`` are passed to its ``format``.

        Raises:
            TypeError: The argument is not a context Neuron.
        """
        if not isinstance(neuron, Neuron):
            raise TypeError(f"expected a cosmo_context.Neuron, not {neuron!r}")
        options = {**neuron.cache_options, **kwargs} if self._settings.layout == "cache" else kwargs
        self._entries.append(Entry(neuron, options))
        return self

    async def build(self) -> str:
        """Compose the prompt and return its text; ``""`` if all fragments are empty.

        Fragments that are shortened or dropped for the budget are logged. `render` returns this information.

        Raises:
            ContextNeuronError: A Neuron failed, took too long, or found a value of the wrong type.
            BudgetExceededError: The required fragments exceed the budget.
        """
        composition = await self._compose()
        composition.log_changes()
        return composition.text

    async def render(self) -> Rendered:
        """Compose the prompt, and return it with information about each fragment.

        Raises:
            ContextNeuronError: A Neuron failed, took too long, or found a value of the wrong type.
            BudgetExceededError: The required fragments exceed the budget.
        """
        return (await self._compose()).rendered()

    async def _compose(self) -> Composition:
        composition = Composition(self._ctx, self._entries, self._settings)
        await composition.compose()
        return composition

    def clear(self) -> Self:
        """Remove all added Neurons."""
        self._entries.clear()
        return self

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"PromptBuilder(neurons={[entry.neuron.name for entry in self._entries]})"


@attrs.frozen(kw_only=True)
class Settings:
    """The settings of a composition; see `PromptBuilder`."""

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
            raise ValueError(f'layout must be "priority" or "cache", not {self.layout!r}')
        if self.on_error not in {"raise", "skip", "placeholder"}:
            raise ValueError(f'on_error must be "raise", "skip" or "placeholder", not {self.on_error!r}')
        if self.timeout_s is not None:
            check_seconds("timeout_s", self.timeout_s, positive=True)


class Composition:
    """The composition of one prompt: order, format, refine, fit, join.

    Args:
        ctx: The Context that the Neurons read.
        entries: The Neurons and their options.
        settings: The settings.
    """

    def __init__(self, ctx: Context, entries: Sequence[Entry], settings: Settings) -> None:
        self._ctx = ctx
        self._settings = settings
        by_stability = settings.layout == "cache"
        self._entries = sorted(
            entries,
            key=lambda entry: (entry.neuron.stability if by_stability else 0, entry.neuron.priority),
        )
        # If data need not be told from text, variables are resolved in the joined prompt.
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
        """Make the drafts of all fragments, and fit them into the budget.

        Raises:
            ContextNeuronError: A Neuron failed or took too long.
            BudgetExceededError: The required fragments exceed the budget.
        """
        settings, refiner = self._settings, self._refiner
        with marking() if refiner else nullcontext():
            formatted = await format_all(
                self._ctx, self._entries, timeout_s=settings.timeout_s, on_error=settings.on_error
            )
            texts = [each.text for each in formatted]
            if refiner:
                texts = refiner.refine_all(texts)
            self._drafts = [
                Draft(each, raw=each.text, text=text, status=_status(each, text))
                for each, text in zip(formatted, texts, strict=True)
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
        """Log the fragments that were shortened or dropped."""
        for draft in self._drafts:
            if draft.change:
                logger.warning("context Neuron %r was %s", draft.neuron.name, draft.change)

    @property
    def text(self) -> str:
        """The prompt."""
        return self._join()[0]

    def rendered(self) -> Rendered:
        """Return the prompt with information about each fragment."""
        settings = self._settings
        text, moved = self._join()
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

    def _join(self) -> tuple[str, Moved]:
        joined = self._settings.separator.join([draft.text for draft in self._drafts if draft.text])
        if self._late_variables is None:
            return joined, int
        return self._late_variables.resolve_with_positions(joined, self._ctx.state)

    def _fragments(self, text: str, moved: Moved) -> Iterator[Fragment]:
        position = 0
        for draft in self._drafts:
            end = position + len(draft.text)
            yield self._fragment(draft, text, moved(position), moved(end))
            if draft.text:
                position = end + len(self._settings.separator)

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
            reason="; ".join(str(reason) for reason in (error, draft.change) if reason) or None,
            messages=raw.messages if isinstance(raw, Conversation) else None,
            parts=raw.parts if isinstance(raw, Question) else None,
        )


def _status(formatted: Formatted, text: str) -> Status:
    if formatted.error is not None:
        return "failed"
    return "kept" if text else "empty"
