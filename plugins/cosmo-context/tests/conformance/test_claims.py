"""What an author claims is tested, and what the checks need is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest

from cosmo_context import Context, FactNeuron, Neuron
from cosmo_context.testing import ConformanceError, ContextNeuronUnderTest, Example
from cosmo_context.testing.checks import KIT, check_data_marked


class FactsUnderTest(ContextNeuronUnderTest):
    reads: ClassVar[Mapping[str, Sequence[Any]]] = {"facts": ("some text",)}

    def neuron(self) -> Neuron:
        return FactNeuron()

    def examples(self) -> list[Example]:
        return [Example(Context("task", state={"facts": ["It rains"]}), "<facts>\n  - It rains\n</facts>")]


async def test_a_correct_neuron_violates_nothing() -> None:
    assert await KIT.violations(FactsUnderTest()) == []


async def test_claim_never_empty_is_checked() -> None:
    class NeverEmpty(FactsUnderTest):
        never_empty = True

    (error,) = await KIT.violations(NeverEmpty())
    assert str(error) == ("context:nothing-to-say: never_empty = True, but nothing_to_say() makes it empty")


async def test_single_check_raises_its_error() -> None:
    with pytest.raises(ConformanceError, match=r"context:data-marked: quoting\(.*\) gives no Context"):
        await check_data_marked(FactsUnderTest())


async def test_state_with_undetectable_changes_is_a_violation() -> None:
    class WithoutEquality(FactsUnderTest):
        def examples(self) -> list[Example]:
            facts = Context("task", state={"facts": ["It rains"], "clock": Clock()})
            return [Example(facts, "<facts>\n  - It rains\n</facts>")]

    class Clock:
        pass

    error = await KIT.violation(WithoutEquality(), "context:state-untouched")
    assert "the value of 'clock' does not equal a deep copy of it" in str(error)
