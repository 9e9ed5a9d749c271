"""The source under test, as its author describes it to the kit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, Final

from cosmo_core.contracts.neuron import NeuronFn
from cosmo_llm import Failure
from cosmo_testing.conformance.kit import Condition, Subject, claimed
from cosmo_testing.sources.faults import CHAT_FAILURES, FAULTS
from cosmo_testing.sources.provider import Scenario


class SourceUnderTest(Subject, ABC):
    """A source, its provider, and its claims. Authors derive their test class from it.

    Attributes:
        secrets: Secret options of every Neuron. Every string in their values is a secret; one of less than 8
            characters is only searched for as a whole word. Empty if the source has none.
        invalid_inputs: Inputs that the source must reject.
        options: Further options of every Neuron, such as ``{"stream": True}``.
        streams: Whether the Neurons are async generators.
        llm: Whether the output is that of a language model, ``{"response": …, "meta": …}``.
        failures: The expected error for each fault: all of `FAULTS`, and the source's own.
        not_applicable: Requirements, and faults as ``fault:<name>``, without meaning for it, each with a
            reason.
        level: The claimed level of the kit; see `Subject`.
    """

    kind: ClassVar[str] = "source"
    secrets: ClassVar[Mapping[str, Any]]
    invalid_inputs: ClassVar[Sequence[dict[str, Any]]]
    options: ClassVar[Mapping[str, Any]] = {}
    streams: ClassVar[bool] = False
    llm: ClassVar[bool] = False
    failures: ClassVar[Mapping[str, Failure]] = CHAT_FAILURES

    @abstractmethod
    def neuron(self, **options: Any) -> NeuronFn:
        """Make a Neuron, as the source's entry point does."""

    @abstractmethod
    def provider(self, scenario: Scenario) -> AbstractAsyncContextManager[Mapping[str, Any]]:
        """Run a provider that behaves as ``scenario`` says; yield the options that connect a Neuron to it."""

    @abstractmethod
    def input(self, n: int) -> dict[str, Any]:
        """Return the ``n``-th valid input; each has a different answer."""

    def answer(self, output: Any) -> Any:
        """Return the part of an output that depends only on the input: no time, no serial number."""
        return output["response"] if self.llm else output

    def secret_texts(self) -> list[str]:
        """Return every secret string."""
        return list(_strings(self.secrets))

    def faults(self) -> Iterable[str]:
        """Return the names in `FAULTS`, and those of this source."""
        return dict.fromkeys([*FAULTS, *self.failures])

    def contradictions(self) -> Iterator[str]:
        """Yield what is missing from the claims, or inconsistent in them."""
        for name in ("secrets", "invalid_inputs"):
            if not hasattr(self, name):
                yield f"{name} is not set"
        for name in sorted(FAULTS.keys() - self.failures.keys()):
            if f"fault:{name}" not in self.not_applicable:
                yield f"failures has no {name!r}, and not_applicable has no reason under 'fault:{name}'"
        yield from super().contradictions()


def _can_be_rate_limited(subject: SourceUnderTest) -> str | None:
    return subject.not_applicable.get("fault:rate-limited")


STREAMS: Final = claimed("streams")
LLM: Final = claimed("llm")
SECRETS: Final = claimed("secrets")
RATE_LIMITED: Final[Condition] = _can_be_rate_limited


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if value:
            yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _strings(each)
