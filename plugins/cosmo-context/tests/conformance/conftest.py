from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import pytest

from cosmo_context import Context, Neuron
from cosmo_context.testing import ContextNeuronUnderTest, Example
from cosmo_context.testing.checks import KIT
from cosmo_testing.clock import VirtualTimeLoop

Complain = Callable[[Callable[[], Neuron], str], str | None]


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
def complaint() -> Complain:
    """Run one check on a replacement of the facts Neuron; return its error message, or None.

    It runs in virtual time: a wait for a mutant that never ends is over at once, and no other is too long
    on a busy machine. The one check that waits for threads runs in real time.
    """

    def complaint(neuron: Callable[[], Neuron], requirement: str) -> str | None:
        loop = None if requirement == "context:any-loop" else VirtualTimeLoop
        with asyncio.Runner(loop_factory=loop) as runner:
            error = runner.run(KIT.violation(FactsUnderTest(neuron), requirement))
        if error is None:
            return None
        assert error.requirement == requirement
        return str(error)

    return complaint
