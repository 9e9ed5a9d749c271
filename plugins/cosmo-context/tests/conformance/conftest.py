from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar

import pytest

from cosmo_context import Context, Neuron
from cosmo_context.testing import ContextNeuronUnderTest, Example
from cosmo_context.testing.checks import KIT
from cosmo_testing.conformance import steps

Complain = Callable[[Callable[[], Neuron], str], Awaitable[str | None]]


class FactsUnderTest(ContextNeuronUnderTest):
    """The claims of the facts Neuron, for it and its mutants."""

    reads: ClassVar[Mapping[str, Sequence[Any]]] = {"facts": ("some text", 7, {"a": "mapping"})}

    def __init__(self, made: Callable[[], Neuron]) -> None:
        self.made = made

    def neuron(self) -> Neuron:
        return self.made()

    def examples(self) -> list[Example]:
        facts = Context("task", state={"facts": ["It rains", "It pours"]})
        return [Example(facts, "<facts>\n  - It rains\n  - It pours\n</facts>")]

    def quoting(self, text: str) -> Context:
        return Context("task", state={"facts": [text]})


@pytest.fixture
def complaint(monkeypatch: pytest.MonkeyPatch) -> Complain:
    """Run one check on a replacement of the facts Neuron; return its error message, or None."""
    # Some mutants never end.
    monkeypatch.setattr(steps, "PATIENCE_S", 0.2)

    async def complaint(neuron: Callable[[], Neuron], requirement: str) -> str | None:
        error = await KIT.violation(FactsUnderTest(neuron), requirement)
        if error is None:
            return None
        assert error.requirement == requirement
        return str(error)

    return complaint
