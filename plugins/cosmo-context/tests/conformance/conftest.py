"""What makes mutants of the facts Neuron, and asks the kit about them.

A mutant is a class that breaks one requirement; ``breaks`` names it, and what the check must say. Each module
``test_mutants_X`` has those that the checks in ``cosmo_context.testing.checks_X`` must catch.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar

import pytest

from cosmo_context import Context, Neuron
from cosmo_context.testing import ContextNeuronUnderTest, Example
from cosmo_context.testing.checks import violation
from cosmo_testing.conformance import steps

Complain = Callable[[Callable[[], Neuron], str], Awaitable[str | None]]


class FactsUnderTest(ContextNeuronUnderTest):
    """What the kit has to know about the facts Neuron and its mutants."""

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


def mutants_of(module: object) -> list[type[Neuron]]:
    """Give the mutants that a module defines."""
    return [each for each in vars(module).values() if isinstance(each, type) and "breaks" in vars(each)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that takes a ``mutant`` once for each in its module; give all of them as ``mutants``."""
    mutants = mutants_of(metafunc.module)
    if "mutant" in metafunc.fixturenames:
        metafunc.parametrize("mutant", mutants, ids=lambda mutant: mutant.__name__)
    if "mutants" in metafunc.fixturenames:
        metafunc.parametrize("mutants", [mutants], ids=["all"])


@pytest.fixture
def complaint(monkeypatch: pytest.MonkeyPatch) -> Complain:
    """Run one check on a Neuron that poses as that of facts; return what it says, None if it is content."""
    # Some are known to keep one waiting.
    monkeypatch.setattr(steps, "PATIENCE_S", 0.2)

    async def complaint(neuron: Callable[[], Neuron], requirement: str) -> str | None:
        error = await violation(FactsUnderTest(neuron), requirement)
        if error is None:
            return None
        assert error.requirement == requirement
        return str(error)

    return complaint
