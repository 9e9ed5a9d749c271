"""Context Neurons that misread a Context, keep of it, or change it; each is caught."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Any, ClassVar

from cosmo_context import Context, ContextNeuronError, FactNeuron, Neuron, StateShapeError
from cosmo_context.testing import checks_state
from cosmo_context.testing.checks import CHECKS

Complain = Callable[[Callable[[], Neuron], str], Awaitable[str | None]]


class TellsTheNewsOnly(FactNeuron):
    breaks: ClassVar = ("context:same-twice", "one Context gave '<facts>")

    def __init__(self) -> None:
        super().__init__()
        self.told: Sequence[Any] = ()

    def items(self, ctx: Context, **kwargs: Any) -> Sequence[Any]:
        told, self.told = self.told, super().items(ctx)
        return [fact for fact in self.told if fact not in told]


class NumbersItsFragments(FactNeuron):
    breaks: ClassVar = ("context:same-twice", "then ['")
    numbers: ClassVar = count()

    def __init__(self) -> None:
        super().__init__()
        self.number = next(self.numbers)

    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        return f"{super().fragment(ctx)} {self.number}"


class SortsInPlace(FactNeuron):
    breaks: ClassVar = ("context:state-untouched", "and is now {'facts': ['It pours', 'It rains']}")

    def items(self, ctx: Context, **kwargs: Any) -> Sequence[Any]:
        items = super().items(ctx)
        if isinstance(items, list):
            items.sort()
        return items


class CountsInTheState(FactNeuron):
    breaks: ClassVar = ("context:state-untouched", "'facts_told': 2")

    def items(self, ctx: Context, **kwargs: Any) -> Sequence[Any]:
        items = super().items(ctx)
        ctx.state.set("facts_told", len(items))
        return items


class ForgetsWhatItDrops(FactNeuron):
    breaks: ClassVar = ("context:state-untouched", "and is now {'facts': ['It rains']}")

    async def shorten(self, ctx: Context, fits: Callable[[str], bool], **kwargs: Any) -> str:
        ctx.state["facts"].pop()
        return ""


class ReadsItsOwnOnly(FactNeuron):
    breaks: ClassVar = ("context:fork", "its fork ''")

    def items(self, ctx: Context, **kwargs: Any) -> Sequence[Any]:
        items: Sequence[Any] = ctx.state.local_dict().get("facts", ())
        return items


class ReadsInSecret(FactNeuron):
    breaks: ClassVar = ("context:reads", "it reads facts_limit, which reads does not declare")

    def items(self, ctx: Context, **kwargs: Any) -> Sequence[Any]:
        return super().items(ctx)[: ctx.state.get("facts_limit")]


class ReadsAnotherKey(FactNeuron):
    breaks: ClassVar = ("context:reads", "it reads fact, which")
    key = "fact"


class ReadsNothing(FactNeuron):
    breaks: ClassVar = ("context:reads", "reads declares facts, which no example makes it read")

    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        return ""


class TellsLetterByLetter(FactNeuron):
    breaks: ClassVar = ("context:wrong-shape", "'facts' of 'some text' gives '<facts>\\n  - s\\n")

    def items(self, ctx: Context, **kwargs: Any) -> Sequence[Any]:
        return list(ctx.state.get("facts") or ())


class AssumesAList(FactNeuron):
    breaks: ClassVar = ("context:wrong-shape", "'facts' of 7 ends in TypeError and not ContextNeuronError")

    def items(self, ctx: Context, **kwargs: Any) -> Sequence[Any]:
        found = ctx.state.get("facts")
        return super().items(ctx) if isinstance(found, str) else [*(found or ())]


class DoesNotSayWhere(FactNeuron):
    breaks: ClassVar = ("context:wrong-shape", "the error does not name the key 'facts'")

    def items(self, ctx: Context, **kwargs: Any) -> Sequence[Any]:
        try:
            return super().items(ctx)
        except StateShapeError as error:
            raise ContextNeuronError(self.name, "cannot read that") from error


class BlamesAnother(FactNeuron):
    breaks: ClassVar = ("context:wrong-shape", "the error names 'todo', not 'fact'")

    def items(self, ctx: Context, **kwargs: Any) -> Sequence[Any]:
        try:
            return super().items(ctx)
        except StateShapeError as error:
            raise StateShapeError("todo", error.key, error.expected, ctx) from error


class KnowsAsciiOnly(FactNeuron):
    breaks: ClassVar = ("context:any-state", "ends in UnicodeEncodeError")

    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        return super().fragment(ctx).encode("ascii").decode()


class AddsWhatIsMissing(FactNeuron):
    breaks: ClassVar = ("context:any-state", "and is now {'facts': []}")

    def items(self, ctx: Context, **kwargs: Any) -> Sequence[Any]:
        if ctx.state.get("facts") is None:
            ctx.state.set("facts", [])
        return super().items(ctx)


class BlamesAnotherForItsItems(FactNeuron):
    breaks: ClassVar = ("context:any-state", "ends in an error of another name: context Neuron 'todo'")

    def lines(self, items: Sequence[Any]) -> list[str]:
        for index, item in enumerate(items):
            if not isinstance(item, str):
                raise StateShapeError("todo", "facts", "a text", item, index)
        return super().lines(items)


class GivesNothingForNothing(FactNeuron):
    breaks: ClassVar = ("context:any-state", "{}, format() gave a NoneType, not a string")

    def fragment(self, ctx: Context, **kwargs: Any) -> Any:
        return super().fragment(ctx) or None


async def test_a_mutant_is_caught_and_the_reason_is_given(mutant: Any, complaint: Complain) -> None:
    requirement, because = mutant.breaks
    assert because in str(await complaint(mutant, requirement))


def test_there_is_a_mutant_for_every_check(mutants: list[Any]) -> None:
    assert {mutant.breaks[0] for mutant in mutants} == {
        id for id, check in CHECKS.items() if check.__module__ == checks_state.__name__
    }
