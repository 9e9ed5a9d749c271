"""Context Neurons that cannot be named, placed or found; each is caught."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, ClassVar

from cosmo_context import Context, FactNeuron, Neuron
from cosmo_context.testing import checks_identity
from cosmo_context.testing.checks import CHECKS

Complain = Callable[[Callable[[], Neuron], str], Awaitable[str | None]]


class FormatsWithoutWaiting(FactNeuron):
    breaks: ClassVar = ("context:shape", "format is no coroutine function")

    def format(self, ctx: Context, **kwargs: Any) -> Any:
        return self.fragment(ctx)


class HasTheRightMethodsOnly:
    breaks: ClassVar = ("context:shape", "is no cosmo_context.Neuron")

    async def format(self, ctx: Context, **kwargs: Any) -> str:
        return ""


class HasNoName(FactNeuron):
    breaks: ClassVar = ("context:name", "the name is ''")

    def __init__(self) -> None:
        super().__init__("")


class CountsInItsName(FactNeuron):
    breaks: ClassVar = ("context:name", "once it was asked")
    asked = 0

    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        self.asked += 1
        return super().fragment(ctx)

    @property
    def name(self) -> str:
        return f"fact-{self.asked}"


class NumbersItsInstances(FactNeuron):
    breaks: ClassVar = ("context:name", "another has 'fact-1'")
    numbers: ClassVar = count()

    def __init__(self) -> None:
        super().__init__(f"fact-{next(self.numbers)}")


class HasItsPriorityInWords(FactNeuron):
    breaks: ClassVar = ("context:placement", "the priority is 'first'")
    priority: Any = "first"


class IsNotImportantInNumbers(FactNeuron):
    breaks: ClassVar = ("context:placement", "the importance is nan")
    importance: Any = math.nan


class IsStableInNumbers(FactNeuron):
    breaks: ClassVar = ("context:placement", "the stability is 3")
    stability: Any = 3


class HasAnAttributeForAName(FactNeuron):
    breaks: ClassVar = ("context:read-only", "the name can be set")
    name: Any = "fact"


class HasAnAttributeForAPriority(FactNeuron):
    breaks: ClassVar = ("context:read-only", "the priority can be set")
    priority: Any = 50


class IsNotInstalled(FactNeuron):
    breaks: ClassVar = ("context:entry-point", "'fiction' not found")

    def __init__(self) -> None:
        super().__init__("fiction")


class HasTheNameOfAnother(FactNeuron):
    breaks: ClassVar = ("context:entry-point", "'todo' finds TodoNeuron")

    def __init__(self) -> None:
        super().__init__("todo")


async def test_a_mutant_is_caught_and_the_reason_is_given(mutant: Any, complaint: Complain) -> None:
    requirement, because = mutant.breaks
    assert because in str(await complaint(mutant, requirement))


def test_there_is_a_mutant_for_every_check(mutants: list[Any]) -> None:
    assert {mutant.breaks[0] for mutant in mutants} == {
        id for id, check in CHECKS.items() if check.__module__ == checks_identity.__name__
    }
