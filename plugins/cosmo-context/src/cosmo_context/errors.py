"""Every error this package raises."""

from __future__ import annotations

from cosmo_core import CosmoError


class ContextError(CosmoError):
    """A Context cannot be made, merged or restored from what was given."""


class RegistryError(CosmoError, LookupError):
    """A name is not registered, or is already."""


class VariableResolveError(CosmoError, LookupError):
    """A ``${path}`` leads nowhere."""


class PromptBuilderError(CosmoError):
    """A prompt cannot be composed."""


class BudgetExceededError(PromptBuilderError):
    """What must not be dropped does not fit into the budget.

    Attributes:
        tokens: How many tokens it needs.
        limit: How many there are.
    """

    def __init__(self, tokens: int, limit: int, required: list[str]) -> None:
        super().__init__(
            f"the prompt needs {tokens} tokens and may have {limit}, although all that may be dropped was:"
            f" {', '.join(required)} must stay; raise Budget.max_tokens, or lower their importance"
        )
        self.tokens = tokens
        self.limit = limit


class ContextNeuronError(PromptBuilderError):
    """A context Neuron did not give a fragment. What it raised itself is the cause.

    Attributes:
        neuron: The name of the Neuron.
        reason: What went wrong.
    """

    def __init__(self, neuron: str, reason: str) -> None:
        super().__init__(f"context Neuron {neuron!r} {reason}")
        self.neuron = neuron
        self.reason = reason


class StateShapeError(ContextNeuronError):
    """A Context's state holds something else than its reader expects. The value itself is not told.

    Attributes:
        key: The key of the state.
        expected: What belongs there.
    """

    def __init__(self, neuron: str, key: str, expected: str, value: object, index: int | None = None) -> None:
        where = f"state key {key!r}" if index is None else f"item {index} of state key {key!r}"
        super().__init__(neuron, f"expected {expected} as {where}, not {type(value).__name__}")
        self.key = key
        self.expected = expected
