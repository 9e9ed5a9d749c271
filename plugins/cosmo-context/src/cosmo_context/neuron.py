"""The base classes of context Neurons, which turn a Context into a fragment of a prompt."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Any, ClassVar, Final

from cosmo_context.context import Context

Fits = Callable[[str], bool]
"""Tells whether a fragment is short enough."""

REQUIRED: Final = math.inf
"""The importance of a fragment that must not be dropped."""


class Stability(IntEnum):
    """How often a fragment changes; the cache layout puts the most stable fragments first."""

    STATIC = 0
    """The same in every session."""
    SESSION = 1
    """Rarely changes within a session."""
    GROWING = 2
    """Is only appended to."""
    TURN = 3
    """Changes from turn to turn."""
    VOLATILE = 4
    """Changes with every prompt."""


class Neuron(ABC):
    """A context Neuron. A subclass implements `format`, which returns one fragment of a prompt.

    One instance serves many builders at once, so it must not store data of a Context.

    Args:
        name: The name, for the registry and for errors.
        priority: The position in the prompt; lower is earlier.

    Attributes:
        stability: How often the fragment changes.
        importance: If a prompt is too long, the least important fragments are dropped first, and a `REQUIRED`
            one never.
        cache_options: Options that ``format`` gets in the cache layout, besides those of `PromptBuilder.add`.

    Raises:
        TypeError: The name is not a string, or the priority is not a number.
    """

    stability: Stability = Stability.TURN
    importance: float = 50
    cache_options: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    def __init__(self, name: str, *, priority: float = 50) -> None:
        if not isinstance(name, str):
            raise TypeError(f"the name of a context Neuron must be a string, not {name!r}")
        if not is_number(priority):
            raise TypeError(f"the priority of context Neuron {name!r} must be a number, not {priority!r}")
        self._name = name
        self._priority = priority

    @property
    def name(self) -> str:
        """The name, for the registry and for errors."""
        return self._name

    @property
    def priority(self) -> float:
        """The position in the prompt; lower is earlier."""
        return self._priority

    @abstractmethod
    async def format(self, ctx: Context, **kwargs: Any) -> str:
        """Return the fragment; ``""`` if there is nothing to say.

        Args:
            ctx: The Context to read.
            **kwargs: The options of `PromptBuilder.add`.
        """

    async def shorten(self, ctx: Context, fits: Fits, **kwargs: Any) -> str:
        """Return a shorter fragment for which ``fits`` is true, or ``""`` to drop it.

        Args:
            ctx: The Context to read.
            fits: Tells whether a fragment is short enough. A call costs as much as counting its tokens.
            **kwargs: The options of `PromptBuilder.add`.
        """
        return ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self._name!r}, priority={self._priority!r})"


class StateNeuron(Neuron):
    """A context Neuron that never waits. A subclass implements the plain function `fragment`.

    The builder calls it without an asyncio task, unless the subclass overrides ``format``.
    """

    @abstractmethod
    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        """Return the fragment; ``""`` if there is nothing to say."""

    async def format(self, ctx: Context, **kwargs: Any) -> str:
        """Return the fragment; ``""`` if there is nothing to say."""
        return self.fragment(ctx, **kwargs)


def is_number(value: object) -> bool:
    """Report whether a value is a number that can be compared: not a bool, and not NaN."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)
