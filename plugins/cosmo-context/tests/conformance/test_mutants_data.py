"""Context Neurons through which data can pass for a prompt's own words; each is caught."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from string import Template
from typing import Any, ClassVar

from cosmo_context import Context, FactNeuron, Neuron, data
from cosmo_context.testing import checks_data
from cosmo_context.testing.checks import CHECKS

MARKUP = re.compile(r"<[^>]*>|[^<]+")

Complain = Callable[[Callable[[], Neuron], str], Awaitable[str | None]]


class QuotesWithoutMarks(FactNeuron):
    breaks: ClassVar = ("context:data-marked", "passes for its own text: quote it with cosmo_context.data")

    def lines(self, items: Sequence[Any]) -> list[str]:
        return [f"  - {item}" for item in items]


class QuotesNothing(FactNeuron):
    breaks: ClassVar = ("context:data-marked", "gives '<facts>\\n  - SAID BY SOMEBODY ELSE\\n</facts>'")

    def lines(self, items: Sequence[Any]) -> list[str]:
        return [line.upper() for line in super().lines(items)]


class KeepsItsMarks(FactNeuron):
    breaks: ClassVar = ("context:data-marked", "do not keep what data() gave")

    told = ""

    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        fragment = super().fragment(ctx)
        if data("") != "":
            self.told = fragment
        return self.told or fragment


class KeepsWhatHadNoMarks(FactNeuron):
    breaks: ClassVar = ("context:data-marked", "passes for its own text")
    told = ""

    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        self.told = self.told or super().fragment(ctx)
        return self.told


class SaysLessWithMarks(FactNeuron):
    breaks: ClassVar = ("context:data-marked", "with marks")

    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        return super().fragment(ctx)[:40]


class FillsItsOwnTemplates(FactNeuron):
    breaks: ClassVar = ("context:data-variables", "in the data became its value")

    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        return Template(super().fragment(ctx)).safe_substitute(ctx.state.to_dict())


class LetsMarkupThrough(FactNeuron):
    breaks: ClassVar = ("context:data-tags", "in the data was not escaped")

    def lines(self, items: Sequence[Any]) -> list[str]:
        return [f"  - {MARKUP.sub(self.quote, str(item))}" for item in items]

    @staticmethod
    def quote(found: re.Match[str]) -> str:
        return found[0] if found[0].startswith("<") else data(found[0])


async def test_a_mutant_is_caught_and_the_reason_is_given(mutant: Any, complaint: Complain) -> None:
    requirement, because = mutant.breaks
    assert because in str(await complaint(mutant, requirement))


def test_there_is_a_mutant_for_every_check(mutants: list[Any]) -> None:
    assert {mutant.breaks[0] for mutant in mutants} == {
        id for id, check in CHECKS.items() if check.__module__ == checks_data.__name__
    }
