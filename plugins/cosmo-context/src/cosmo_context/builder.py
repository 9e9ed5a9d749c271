"""The PromptBuilder: composes a prompt of context Neurons."""

from __future__ import annotations

from typing import Any, Self

from cosmo_context.budget import Budget
from cosmo_context.composing import Composition, Layout, Settings
from cosmo_context.context import Context
from cosmo_context.errors import PromptBuilderError, RegistryError
from cosmo_context.formatting import Entry, OnError
from cosmo_context.neuron import Neuron
from cosmo_context.registry import Registry, neuron_registry
from cosmo_context.rendered import Rendered
from cosmo_context.tokens import CountTokens, approximate_tokens
from cosmo_context.variables import DynamicVariableRegistry


class PromptBuilder:
    """Composes a prompt of context Neurons: by priority, those of equal priority as they were added.

    Building takes nothing away: a builder can build again, from what the Context knows then.

    Args:
        ctx: What there is to tell.
        variables: Resolves ``${path}``; without it, they stay as they are.
        separator: Between two fragments.
        registry: Where `add` looks for Neurons.
        layout: ``"cache"`` puts the most stable fragments first and moves the history's window in steps, so
            that most prompts begin as the one before them.
        budget: How long the prompt may be; without it, as long as it gets.
        count_tokens: Counts the tokens of a text.
        resolve_in_data: Resolve variables in quoted data, too: whoever writes a part of the state can then
            read all of it.
        escape_tags: Escape what data has of the prompt's own tags, and lines in it that look like turns.
        timeout_s: How many seconds a Neuron may wait; None for as long as it wants.
        on_error: What becomes of a Neuron that fails or takes too long: ``"raise"`` ends the build,
            ``"skip"`` leaves its fragment out, ``"placeholder"`` says in its place that it is missing.

    Raises:
        ValueError: ``layout`` or ``on_error`` is none of these, or ``timeout_s`` is not positive.
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
        escape_tags: bool = False,
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
        """What there is to tell."""
        return self._ctx

    def add(self, neuron_name: str, /, **kwargs: Any) -> Self:
        """Add a Neuron by name; ``kwargs`` go to its ``format``.

        Raises:
            PromptBuilderError: The name is unknown; the message names the known ones.
            PluginError: The Neuron is installed but cannot be used.
        """
        try:
            neuron = self._registry.get(neuron_name)
        except RegistryError as error:
            raise PromptBuilderError(f"Neuron {error}") from error
        return self.add_neuron(neuron, **kwargs)

    def add_neuron(self, neuron: Neuron, /, **kwargs: Any) -> Self:
        """Add a Neuron that need not be registered; ``kwargs`` go to its ``format``.

        Raises:
            TypeError: It is no context Neuron.
        """
        if not isinstance(neuron, Neuron):
            raise TypeError(f"expected a cosmo_context.Neuron, not {neuron!r}")
        options = {**neuron.cache_options, **kwargs} if self._settings.layout == "cache" else kwargs
        self._entries.append(Entry(neuron, options))
        return self

    async def build(self) -> str:
        """Compose the prompt; ``""`` when no Neuron has anything to say.

        What is shortened or dropped for the budget is logged; `render` tells.

        Raises:
            ContextNeuronError: A Neuron failed, took too long, or found something unexpected in the state.
            BudgetExceededError: What must not be dropped does not fit.
        """
        composition = await self._composed()
        composition.log_changes()
        return composition.text

    async def render(self) -> Rendered:
        """Compose the prompt, and say what became of every fragment.

        Raises:
            ContextNeuronError: A Neuron failed, took too long, or found something unexpected in the state.
            BudgetExceededError: What must not be dropped does not fit.
        """
        return (await self._composed()).rendered()

    async def _composed(self) -> Composition:
        composition = Composition(self._ctx, self._entries, self._settings)
        await composition.compose()
        return composition

    def clear(self) -> Self:
        """Forget what was added."""
        self._entries.clear()
        return self

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"PromptBuilder(neurons={[entry.neuron.name for entry in self._entries]})"
