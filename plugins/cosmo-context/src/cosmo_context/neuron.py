"""The context Neuron: a unit that turns a Context into a fragment of a prompt."""

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
"""The importance of what a prompt cannot do without."""


class Stability(IntEnum):
    """How long a fragment stays as it is; the cache layout puts the most stable first."""

    STATIC = 0
    """The same in every session."""
    SESSION = 1
    """Rarely changes within a session."""
    GROWING = 2
    """Is only appended to."""
    TURN = 3
    """Changes from turn to turn."""
    VOLATILE = 4
    """Changes whenever it is asked."""


class Neuron(ABC):
    """Produces one fragment of a prompt. A subclass implements `format`.

    One instance serves many builders at once: what varies belongs into the Context.

    Args:
        name: Under which it is known, registered, and named in errors.
        priority: Its place in the prompt, lower is earlier.

    Attributes:
        stability: How long its fragment stays as it is.
        importance: What has less of it is dropped first when the prompt is too long; `REQUIRED` never is.
        cache_options: What ``format`` gets in the cache layout, beside what was given to `PromptBuilder.add`.

    Raises:
        TypeError: The name is no string, or the priority no number.
    """

    stability: Stability = Stability.TURN
    importance: float = 50
    cache_options: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    def __init__(self, name: str, *, priority: float = 50) -> None:
        if not isinstance(name, str):
            raise TypeError(f"the name of a context Neuron is a string, not {name!r}")
        if not _is_number(priority):
            raise TypeError(f"the priority of context Neuron {name!r} is a number, not {priority!r}")
        self._name = name
        self._priority = priority

    @property
    def name(self) -> str:
        """Under which it is known."""
        return self._name

    @property
    def priority(self) -> float:
        """Its place in the prompt, lower is earlier."""
        return self._priority

    @abstractmethod
    async def format(self, ctx: Context, **kwargs: Any) -> str:
        """Produce the fragment; ``""`` when there is nothing to say.

        Args:
            ctx: What there is to tell.
            **kwargs: What was given to `PromptBuilder.add`.
        """

    async def shorten(self, ctx: Context, fits: Fits, **kwargs: Any) -> str:
        """Produce a shorter fragment, for which ``fits`` is true, or ``""`` to be dropped.

        Args:
            ctx: What there is to tell.
            fits: Tells whether a fragment is short enough; asking costs as much as counting its tokens.
            **kwargs: What was given to `PromptBuilder.add`.
        """
        return ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self._name!r}, priority={self._priority!r})"


class StateNeuron(Neuron):
    """A context Neuron that never waits: a subclass implements the plain function `fragment`.

    Saves the builder a task; overriding ``format`` gives that up.
    """

    @abstractmethod
    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        """Produce the fragment; ``""`` when there is nothing to say."""

    async def format(self, ctx: Context, **kwargs: Any) -> str:
        """Produce the fragment; ``""`` when there is nothing to say."""
        return self.fragment(ctx, **kwargs)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not math.isnan(value)
