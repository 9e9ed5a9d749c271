"""The errors of this package."""

from __future__ import annotations

from cosmo_core import CosmoError


class ContextError(CosmoError):
    """A Context cannot be made, merged, copied or restored."""


class RegistryError(CosmoError, LookupError):
    """A name is not registered, or is registered already."""


class VariableResolveError(CosmoError, LookupError):
    """A ``${path}`` does not exist."""


class PromptBuilderError(CosmoError):
    """A prompt cannot be composed."""


class BudgetExceededError(PromptBuilderError):
    """The required fragments exceed the budget.

    Attributes:
        tokens: The tokens that the prompt needs.
        limit: The tokens that it may have.
    """

    def __init__(self, tokens: int, limit: int, required: list[str]) -> None:
        super().__init__(
            f"the prompt needs {tokens} tokens after dropping all optional fragments, and may have {limit};"
            f" required: {', '.join(required)}; raise Budget.max_tokens, or lower their importance"
        )
        self.tokens = tokens
        self.limit = limit


class ContextNeuronError(PromptBuilderError):
    """A context Neuron failed to return a fragment. If it raised an exception, that is the ``__cause__``.

    Attributes:
        neuron: The name of the Neuron.
        reason: What happened.
    """

    def __init__(self, neuron: str, reason: str) -> None:
        super().__init__(f"context Neuron {neuron!r} {reason}")
        self.neuron = neuron
        self.reason = reason


class StateShapeError(ContextNeuronError):
    """A value in the state has the wrong type. The message does not contain the value.

    Attributes:
        key: The key of the state.
        expected: The expected type, in words.
    """

    def __init__(self, neuron: str, key: str, expected: str, value: object, index: int | None = None) -> None:
        where = f"state key {key!r}" if index is None else f"item {index} of state key {key!r}"
        super().__init__(neuron, f"expected {expected} as {where}, not {type(value).__name__}")
        self.key = key
        self.expected = expected
