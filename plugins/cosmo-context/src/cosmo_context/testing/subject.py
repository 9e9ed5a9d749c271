"""What the author of a context Neuron tells the kit about it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Final

import attrs

from cosmo_context.context import Context
from cosmo_context.neuron import Neuron
from cosmo_testing.conformance.kit import Condition, Subject


@attrs.frozen
class Example:
    """A Context, and the fragment that it gives.

    Attributes:
        ctx: What there is to tell, with a fixed clock if the fragment depends on the time.
        fragment: What the Neuron makes of it, to the byte.
        options: What ``format`` gets beside the Context.
    """

    ctx: Context
    fragment: str
    options: Mapping[str, Any] = MappingProxyType({})


class ContextNeuronUnderTest(Subject, ABC):
    """A context Neuron, Contexts to ask it with, and what is claimed of it.

    Attributes:
        reads: The keys of the state that it reads, and under each the values of the wrong shape that it must
            refuse; none when it takes whatever is there.
        never_empty: Whether it has something to say in every Context.
        not_applicable: Why a requirement has no meaning for this Neuron.
        level: The kit's level that is claimed, as `Subject` explains it.
    """

    kind: ClassVar[str] = "context Neuron"
    reads: ClassVar[Mapping[str, Sequence[Any]]]
    never_empty: ClassVar[bool] = False

    @abstractmethod
    def neuron(self) -> Neuron:
        """Make the Neuron, as its entry point does."""

    @abstractmethod
    def examples(self) -> Sequence[Example]:
        """Make examples, each time anew: one at least, each with a fragment that is not empty."""

    def nothing_to_say(self) -> Context:
        """Make a Context in which the Neuron has nothing to say: by default, one that knows nothing."""
        return Context("task")

    def quoting(self, text: str) -> Context | None:
        """Make a Context in which the Neuron quotes a text as it is; None when it quotes no data."""
        return None

    def contradictions(self) -> Iterator[str]:
        """What is missing from these claims, or does not fit together."""
        if not hasattr(self, "reads"):
            yield "reads is not set"
        if not self.examples():
            yield "examples() gives none"
        for place, example in enumerate(self.examples()):
            if not example.fragment:
                yield f'the fragment of examples()[{place}] is "": that belongs into nothing_to_say()'
        yield from super().contradictions()


def _quotes(subject: ContextNeuronUnderTest) -> str | None:
    return "quoting() gives no Context" if subject.quoting("") is None else None


QUOTES: Final[Condition] = _quotes
