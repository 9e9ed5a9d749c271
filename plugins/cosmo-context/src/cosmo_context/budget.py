"""How long a prompt may be, and what goes first when it is longer."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import attrs

from cosmo_context.neuron import Neuron


def _not_negative(budget: Budget, field: attrs.Attribute[int], value: int) -> None:
    if value < 0:
        raise ValueError(f"Budget.{field.name} is not negative, but {value!r} is")


@attrs.frozen
class Budget:
    """How long a prompt may be.

    Attributes:
        max_tokens: How many tokens the model takes, its reply included.
        reserve: How many of them are for the reply.
        importance: The importance of Neurons by name, instead of their own.

    Raises:
        ValueError: Nothing is left for the prompt.
    """

    max_tokens: int = attrs.field(validator=_not_negative)
    reserve: int = attrs.field(default=0, kw_only=True, validator=_not_negative)
    importance: Mapping[str, float] = attrs.field(default=MappingProxyType({}), kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.limit < 1:
            raise ValueError(
                f"Budget.reserve ({self.reserve}) leaves nothing of {self.max_tokens} tokens for the prompt"
            )

    @property
    def limit(self) -> int:
        """How many tokens the prompt may have."""
        return self.max_tokens - self.reserve

    def importance_of(self, neuron: Neuron) -> float:
        """Return how important a Neuron is here."""
        return self.importance.get(neuron.name, neuron.importance)
