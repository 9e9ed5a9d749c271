"""The context Neuron under test, as its author describes it to the kit."""

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
    """A Context and its expected fragment.

    Attributes:
        ctx: The Context, with a fixed clock if the fragment depends on the time.
        fragment: The expected fragment, to the byte.
        options: Further arguments of ``format``.
    """

    ctx: Context
    fragment: str
    options: Mapping[str, Any] = MappingProxyType({})


class ContextNeuronUnderTest(Subject, ABC):
    """A context Neuron, Contexts, and its claims. Authors derive their test class from it.

    Attributes:
        reads: The keys of the state that it reads. Each has the values of a wrong shape that the Neuron must
            refuse; an empty sequence if it accepts any value.
        never_empty: Whether it has a fragment in every Context.
        not_applicable: Requirements without meaning for this Neuron, each with a reason.
        level: The claimed level of the kit; see `Subject`.
    """

    kind: ClassVar[str] = "context Neuron"
    reads: ClassVar[Mapping[str, Sequence[Any]]]
    never_empty: ClassVar[bool] = False

    @abstractmethod
    def neuron(self) -> Neuron:
        """Make the Neuron, as its entry point does."""

    @abstractmethod
    def examples(self) -> Sequence[Example]:
        """Make new examples: at least one, each with a fragment that is not empty."""

    def nothing_to_say(self) -> Context:
        """Make a Context without data for the Neuron: by default, an empty one."""
        return Context("task")

    def quoting(self, text: str) -> Context | None:
        """Make a Context in which the Neuron quotes a text unchanged; None if it quotes no data."""
        return None

    def contradictions(self) -> Iterator[str]:
        """Yield what is missing from the claims, or inconsistent in them."""
        if not hasattr(self, "reads"):
            yield "reads is not set"
        if not self.examples():
            yield "examples() gives none"
        for place, example in enumerate(self.examples()):
            if not example.fragment:
                yield f'the fragment of examples()[{place}] is "": use nothing_to_say() for that'
        yield from super().contradictions()


def _quotes(subject: ContextNeuronUnderTest) -> str | None:
    return "quoting() gives no Context" if subject.quoting("") is None else None


QUOTES: Final[Condition] = _quotes
