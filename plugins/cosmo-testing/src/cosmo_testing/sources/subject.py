"""What the author of a source tells the kit about it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from cosmo_testing.conformance.subject import Subject
from cosmo_testing.sources.faults import CHAT_FAILURES, FAULTS
from cosmo_testing.sources.requirements import REQUIREMENTS

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from cosmo_core.contracts.neuron import NeuronFn
    from cosmo_llm import Failure
    from cosmo_testing.conformance.requirements import Requirements
    from cosmo_testing.sources.scenario import Scenario


class SourceUnderTest(Subject, ABC):
    """A source, a provider to put behind it, and what is claimed of it.

    Attributes:
        secrets: Options that every Neuron is made with and nobody may see. Every string in their values is
            a secret; one under 8 characters is only looked for as a whole. Empty when the source has none.
        invalid_inputs: Inputs that the source must refuse.
        options: Further options that every Neuron is made with, such as ``{"stream": True}``.
        streams: Whether the Neurons are async generators.
        llm: Whether the output is that of a language model, ``{"response": …, "meta": …}``.
        failures: How a call ends for each fault of its provider: all of `FAULTS`, and the source's own.
        not_applicable: Why a requirement, or a fault as ``fault:<name>``, has no meaning for this source.
        level: The kit's level that is claimed, as `Subject` explains it.
    """

    requirements: ClassVar[Requirements] = REQUIREMENTS
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
        """Run a provider that does what ``scenario`` says; give the options that connect a Neuron to it."""

    @abstractmethod
    def input(self, n: int) -> dict[str, Any]:
        """Return the ``n``-th of any number of valid inputs, each with an answer of its own."""

    def answer(self, output: Any) -> Any:
        """Return the part of an output that depends on nothing but the input: no time, no serial number."""
        return output["response"] if self.llm else output

    def secret_texts(self) -> list[str]:
        """Every string that nobody may see."""
        return list(_strings(self.secrets))

    def faults(self) -> Iterable[str]:
        """Return the faults of every provider, and those of this one."""
        return dict.fromkeys([*FAULTS, *self.failures])

    def exemption(self, requirement: str, fault: str | None = None) -> str | None:
        """Why a requirement is not checked, or not with this fault; ``None`` when it is."""
        reason = super().exemption(requirement, fault)
        if reason is not None:
            return reason
        kind = requirement.removeprefix("source:").partition("-")[0]
        if kind == "stream" and not self.streams:
            return "streams = False"
        if requirement == "source:llm-output" and not self.llm:
            return "llm = False"
        if kind == "secret" and not self.secrets:
            return "secrets = {}"
        if requirement == "source:retry-after":
            fault = "rate-limited"
        return self.not_applicable.get(f"fault:{fault}")

    def exemptible(self) -> Iterable[str]:
        """Return the requirements, and the faults as ``fault:<name>``."""
        return [*super().exemptible(), *(f"fault:{name}" for name in self.faults())]

    def contradictions(self) -> Iterator[str]:
        """What is missing from these claims, or does not fit together."""
        for name in ("secrets", "invalid_inputs"):
            if not hasattr(self, name):
                yield f"{name} is not set"
        for name in sorted(FAULTS.keys() - self.failures.keys()):
            if f"fault:{name}" not in self.not_applicable:
                yield f"failures has no {name!r}, and not_applicable no reason under 'fault:{name}'"
        yield from super().contradictions()


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
