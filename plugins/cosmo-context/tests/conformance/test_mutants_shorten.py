"""Context Neurons that do not become shorter; each is caught."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from cosmo_context import Context, FactNeuron, Neuron
from cosmo_context.neuron import Fits
from cosmo_context.testing import checks_shorten
from cosmo_context.testing.checks import CHECKS

Complain = Callable[[Callable[[], Neuron], str], Awaitable[str | None]]


class StaysAsItIs(FactNeuron):
    breaks: ClassVar = ("context:shorten-fits", "0 characters are allowed, and it gives the")

    async def shorten(self, ctx: Context, fits: Fits, **kwargs: Any) -> str:
        return self.fragment(ctx)


class KeepsItsTags(FactNeuron):
    breaks: ClassVar = ("context:shorten-fits", "and it gives the 16 of '<facts>\\n</facts>'")

    async def shorten(self, ctx: Context, fits: Fits, **kwargs: Any) -> str:
        return await super().shorten(ctx, fits) or "<facts>\n</facts>"


class DropsOneFactOnly(FactNeuron):
    breaks: ClassVar = ("context:shorten-fits", "of '<facts>\\n  - It rains\\n</facts>'")

    async def shorten(self, ctx: Context, fits: Fits, **kwargs: Any) -> str:
        return self.listing(self.items(ctx)[:-1])


class ThinksForEver(FactNeuron):
    breaks: ClassVar = ("context:shorten-fits", "shorten() did not end within 0.2 s")

    async def shorten(self, ctx: Context, fits: Fits, **kwargs: Any) -> str:
        await asyncio.Event().wait()
        return ""


class GivesUp(FactNeuron):
    breaks: ClassVar = ("context:shorten-fits", "shorten() gave a NoneType, not a string")

    async def shorten(self, ctx: Context, fits: Fits, **kwargs: Any) -> Any:
        return None


class SaysThatItIsShorter(FactNeuron):
    breaks: ClassVar = ("context:shorten-shorter", "(shortened by half)")

    async def shorten(self, ctx: Context, fits: Fits, **kwargs: Any) -> str:
        text = f"{await super().shorten(ctx, fits)}\n(shortened by half)"
        return text if fits(text) else ""


async def test_a_mutant_is_caught_and_the_reason_is_given(mutant: Any, complaint: Complain) -> None:
    requirement, because = mutant.breaks
    assert because in str(await complaint(mutant, requirement))


def test_there_is_a_mutant_for_every_check(mutants: list[Any]) -> None:
    assert {mutant.breaks[0] for mutant in mutants} == {
        id for id, check in CHECKS.items() if check.__module__ == checks_shorten.__name__
    }
