"""Context Neurons whose fragments are not what was promised; each is caught."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

from cosmo_context import Context, FactNeuron, Neuron
from cosmo_context.data import data
from cosmo_context.testing import checks_fragment
from cosmo_context.testing.checks import CHECKS

Complain = Callable[[Callable[[], Neuron], str], Awaitable[str | None]]


class GivesNothing(FactNeuron):
    breaks: ClassVar = ("context:text", "format() gave a NoneType, not a string")

    def fragment(self, ctx: Context, **kwargs: Any) -> Any:
        return super().fragment(ctx) or None


class GivesBytesInTheCacheLayout(FactNeuron):
    breaks: ClassVar = ("context:text", "format() gave a bytes, not a string")
    cache_options: ClassVar[Mapping[str, Any]] = MappingProxyType({"encode": True})

    def fragment(self, ctx: Context, *, encode: bool = False, **kwargs: Any) -> Any:
        return super().fragment(ctx).encode() if encode else super().fragment(ctx)


class LeavesASpaceAtTheEnd(FactNeuron):
    breaks: ClassVar = ("context:examples", "and '<facts>\\n  - It rains \\n")

    def lines(self, items: Sequence[Any]) -> list[str]:
        return [f"{line} " for line in super().lines(items)]


class HasTagsWithoutItems(FactNeuron):
    breaks: ClassVar = ("context:nothing-to-say", "makes it say '<facts>\\n</facts>'")

    def listing(self, items: Sequence[Any]) -> str:
        return super().listing(items) or "<facts>\n</facts>"


class EndsItsLastLine(FactNeuron):
    breaks: ClassVar = ("context:trailing-newline", "belongs to the builder's separator")

    def listing(self, items: Sequence[Any]) -> str:
        return f"{super().listing(items)}\n"


class KnowsAllItsOptions(FactNeuron):
    breaks: ClassVar = ("context:unknown-option", "unexpected keyword argument 'no_such_option'")

    async def format(self, ctx: Context, limit: int = 99) -> str:  # type: ignore[override]
        return self.listing(self.items(ctx)[:limit])


class ShortensWithoutOptions(FactNeuron):
    breaks: ClassVar = ("context:unknown-option", "unexpected keyword argument 'no_such_option'")

    async def shorten(self, ctx: Context, fits: Callable[[str], bool]) -> str:  # type: ignore[override]
        return ""


class PrintsItsOptions(FactNeuron):
    breaks: ClassVar = ("context:unknown-option", "{'no_such_option': 1} makes '<facts>")

    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        return super().fragment(ctx) + "".join(map(data, kwargs))


async def test_a_mutant_is_caught_and_the_reason_is_given(mutant: Any, complaint: Complain) -> None:
    requirement, because = mutant.breaks
    assert because in str(await complaint(mutant, requirement))


def test_there_is_a_mutant_for_every_check(mutants: list[Any]) -> None:
    assert {mutant.breaks[0] for mutant in mutants} == {
        id for id, check in CHECKS.items() if check.__module__ == checks_fragment.__name__
    }
