"""Context Neurons that break one requirement each."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from string import Template
from types import MappingProxyType
from typing import Any, ClassVar

from cosmo_context import Context, ContextNeuronError, FactNeuron, StateShapeError, data
from cosmo_context.neuron import Fits
from cosmo_context.testing.checks import KIT
from cosmo_testing.conformance.mutants import Mutants

MUTANTS = Mutants(KIT)
breaks = MUTANTS.breaks


# --- identity ---


@breaks("context:shape", "format is not a coroutine function")
class FormatsWithoutWaiting(FactNeuron):
    def format(self, ctx: Context, **kwargs: Any) -> Any:
        return self.fragment(ctx)


@breaks("context:shape", "is not a cosmo_context.Neuron")
class HasTheRightMethodsOnly:
    async def format(self, ctx: Context, **kwargs: Any) -> str:
        return ""


@breaks("context:name", "the name is ''")
class HasNoName(FactNeuron):
    def __init__(self) -> None:
        super().__init__("")


@breaks("context:name", "after a call")
class CountsInItsName(FactNeuron):
    asked = 0

    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        self.asked += 1
        return super().fragment(ctx)

    @property
    def name(self) -> str:
        return f"fact-{self.asked}"


@breaks("context:name", "another has 'fact-1'")
class NumbersItsInstances(FactNeuron):
    numbers: ClassVar = count()

    def __init__(self) -> None:
        super().__init__(f"fact-{next(self.numbers)}")


@breaks("context:placement", "the priority is 'first'")
class HasItsPriorityInWords(FactNeuron):
    priority: Any = "first"


@breaks("context:placement", "the importance is nan")
class IsNotImportantInNumbers(FactNeuron):
    importance: Any = math.nan


@breaks("context:placement", "the stability is 3")
class IsStableInNumbers(FactNeuron):
    stability: Any = 3


@breaks("context:read-only", "the name can be set")
class HasAnAttributeForAName(FactNeuron):
    name: Any = "fact"


@breaks("context:read-only", "the priority can be set")
class HasAnAttributeForAPriority(FactNeuron):
    priority: Any = 50


@breaks("context:entry-point", "'fiction' not found")
class IsNotInstalled(FactNeuron):
    def __init__(self) -> None:
        super().__init__("fiction")


@breaks("context:entry-point", "'todo' finds TodoNeuron")
class HasTheNameOfAnother(FactNeuron):
    def __init__(self) -> None:
        super().__init__("todo")


# --- fragment ---


@breaks("context:text", "format() gave a NoneType, not a string")
class GivesNothing(FactNeuron):
    def fragment(self, ctx: Context, **kwargs: Any) -> Any:
        return super().fragment(ctx) or None


@breaks("context:text", "format() gave a bytes, not a string")
class GivesBytesInTheCacheLayout(FactNeuron):
    cache_options: ClassVar[Mapping[str, Any]] = MappingProxyType({"encode": True})

    def fragment(self, ctx: Context, *, encode: bool = False, **kwargs: Any) -> Any:
        return super().fragment(ctx).encode() if encode else super().fragment(ctx)


@breaks("context:examples", "not '<facts>\\n  - It rains \\n")
class LeavesASpaceAtTheEnd(FactNeuron):
    def lines(self, items: Sequence[Any]) -> list[str]:
        return [f"{line} " for line in super().lines(items)]


@breaks("context:nothing-to-say", "gives '<facts>\\n</facts>'")
class HasTagsWithoutItems(FactNeuron):
    def listing(self, items: Sequence[Any]) -> str:
        return super().listing(items) or "<facts>\n</facts>"


@breaks("context:trailing-newline", "which the builder's separator adds")
class EndsItsLastLine(FactNeuron):
    def listing(self, items: Sequence[Any]) -> str:
        return f"{super().listing(items)}\n"


@breaks("context:unknown-option", "unexpected keyword argument 'no_such_option'")
class KnowsAllItsOptions(FactNeuron):
    async def format(self, ctx: Context, limit: int = 99) -> str:  # type: ignore[override]
        return self.listing(self.items(ctx)[:limit])


@breaks("context:unknown-option", "unexpected keyword argument 'no_such_option'")
class ShortensWithoutOptions(FactNeuron):
    async def shorten(self, ctx: Context, fits: Callable[[str], bool]) -> str:  # type: ignore[override]
        return ""


@breaks("context:unknown-option", "{'no_such_option': 1} makes '<facts>")
class PrintsItsOptions(FactNeuron):
    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        return super().fragment(ctx) + "".join(map(data, kwargs))


# --- state ---


@breaks("context:same-twice", "one Context gave '<facts>")
class TellsTheNewsOnly(FactNeuron):
    def __init__(self) -> None:
        super().__init__()
        self.told: Sequence[Any] = ()

    def items(self, ctx: Context, **kwargs: Any) -> Sequence[Any]:
        told, self.told = self.told, super().items(ctx)
        return [fact for fact in self.told if fact not in told]


@breaks("context:same-twice", "then ['")
class NumbersItsFragments(FactNeuron):
    numbers: ClassVar = count()

    def __init__(self) -> None:
        super().__init__()
        self.number = next(self.numbers)

    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        return f"{super().fragment(ctx)} {self.number}"


@breaks("context:state-untouched", "and is now {'facts': ['It pours', 'It rains']}")
class SortsInPlace(FactNeuron):
    def items(self, ctx: Context, **kwargs: Any) -> Sequence[Any]:
        items = super().items(ctx)
        if isinstance(items, list):
            items.sort()
        return items


@breaks("context:state-untouched", "'facts_told': 2")
class CountsInTheState(FactNeuron):
    def items(self, ctx: Context, **kwargs: Any) -> Sequence[Any]:
        items = super().items(ctx)
        ctx.state.set("facts_told", len(items))
        return items


@breaks("context:state-untouched", "and is now {'facts': ['It rains']}")
class ForgetsWhatItDrops(FactNeuron):
    async def shorten(self, ctx: Context, fits: Callable[[str], bool], **kwargs: Any) -> str:
        ctx.state["facts"].pop()
        return ""


@breaks("context:fork", "its fork ''")
class ReadsItsOwnOnly(FactNeuron):
    def items(self, ctx: Context, **kwargs: Any) -> Sequence[Any]:
        items: Sequence[Any] = ctx.state.local_dict().get("facts", ())
        return items


@breaks("context:reads", "it reads facts_limit, which reads does not declare")
class ReadsInSecret(FactNeuron):
    def items(self, ctx: Context, **kwargs: Any) -> Sequence[Any]:
        return super().items(ctx)[: ctx.state.get("facts_limit")]


@breaks("context:reads", "it reads fact, which")
class ReadsAnotherKey(FactNeuron):
    key = "fact"


@breaks("context:reads", "reads declares facts, which it reads in no example")
class ReadsNothing(FactNeuron):
    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        return ""


@breaks("context:wrong-shape", "'facts' of 'some text' gives '<facts>\\n  - s\\n")
class TellsLetterByLetter(FactNeuron):
    def items(self, ctx: Context, **kwargs: Any) -> Sequence[Any]:
        return list(ctx.state.get("facts") or ())


@breaks("context:wrong-shape", "'facts' of 7 ends in TypeError and not ContextNeuronError")
class AssumesAList(FactNeuron):
    def items(self, ctx: Context, **kwargs: Any) -> Sequence[Any]:
        found = ctx.state.get("facts")
        return super().items(ctx) if isinstance(found, str) else [*(found or ())]


@breaks("context:wrong-shape", "the error does not name the key 'facts'")
class DoesNotSayWhere(FactNeuron):
    def items(self, ctx: Context, **kwargs: Any) -> Sequence[Any]:
        try:
            return super().items(ctx)
        except StateShapeError as error:
            raise ContextNeuronError(self.name, "cannot read that") from error


@breaks("context:wrong-shape", "the error names 'todo', not 'fact'")
class BlamesAnother(FactNeuron):
    def items(self, ctx: Context, **kwargs: Any) -> Sequence[Any]:
        try:
            return super().items(ctx)
        except StateShapeError as error:
            raise StateShapeError("todo", error.key, error.expected, ctx) from error


@breaks("context:any-state", "ends in UnicodeEncodeError")
class KnowsAsciiOnly(FactNeuron):
    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        return super().fragment(ctx).encode("ascii").decode()


@breaks("context:any-state", "and is now {'facts': []}")
class AddsWhatIsMissing(FactNeuron):
    def items(self, ctx: Context, **kwargs: Any) -> Sequence[Any]:
        if ctx.state.get("facts") is None:
            ctx.state.set("facts", [])
        return super().items(ctx)


@breaks("context:any-state", "ends in an error of another name: context Neuron 'todo'")
class BlamesAnotherForItsItems(FactNeuron):
    def lines(self, items: Sequence[Any]) -> list[str]:
        for index, item in enumerate(items):
            if not isinstance(item, str):
                raise StateShapeError("todo", "facts", "a text", item, index)
        return super().lines(items)


@breaks("context:any-state", "{}, format() gave a NoneType, not a string")
class GivesNothingForNothing(FactNeuron):
    def fragment(self, ctx: Context, **kwargs: Any) -> Any:
        return super().fragment(ctx) or None


# --- data ---


MARKUP = re.compile(r"<[^>]*>|[^<]+")


@breaks("context:data-marked", "passes for its own text: quote it with cosmo_context.data")
class QuotesWithoutMarks(FactNeuron):
    def lines(self, items: Sequence[Any]) -> list[str]:
        return [f"  - {item}" for item in items]


@breaks("context:data-marked", "gives '<facts>\\n  - TEXT OF ANOTHER AUTHOR\\n</facts>'")
class QuotesNothing(FactNeuron):
    def lines(self, items: Sequence[Any]) -> list[str]:
        return [line.upper() for line in super().lines(items)]


@breaks("context:data-marked", "do not store the result of data()")
class KeepsItsMarks(FactNeuron):
    told = ""

    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        fragment = super().fragment(ctx)
        if data("") != "":
            self.told = fragment
        return self.told or fragment


@breaks("context:data-marked", "passes for its own text")
class KeepsWhatHadNoMarks(FactNeuron):
    told = ""

    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        self.told = self.told or super().fragment(ctx)
        return self.told


@breaks("context:data-marked", "with marks")
class SaysLessWithMarks(FactNeuron):
    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        return super().fragment(ctx)[:40]


@breaks("context:data-variables", "in the data became its value")
class FillsItsOwnTemplates(FactNeuron):
    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        return Template(super().fragment(ctx)).safe_substitute(ctx.state.to_dict())


@breaks("context:data-tags", "in the data was not escaped")
class LetsMarkupThrough(FactNeuron):
    def lines(self, items: Sequence[Any]) -> list[str]:
        return [f"  - {MARKUP.sub(self.quote, str(item))}" for item in items]

    @staticmethod
    def quote(found: re.Match[str]) -> str:
        return found[0] if found[0].startswith("<") else data(found[0])


# --- conduct ---


class Waiting(FactNeuron):
    """A correct one that waits for a turn of the loop, as for something fetched."""

    async def format(self, ctx: Context, **kwargs: Any) -> str:
        await asyncio.sleep(0)
        return self.fragment(ctx)


@breaks("context:concurrent", "together ['', ''")
class KeepsItsContext(Waiting):
    ctx: Context | None = None

    async def format(self, ctx: Context, **kwargs: Any) -> str:
        self.ctx = ctx
        await super().format(ctx)
        return self.fragment(self.ctx)


@breaks("context:concurrent", "the context Neuron raised RuntimeError: busy")
class RefusesASecondCaller(Waiting):
    busy = False

    async def format(self, ctx: Context, **kwargs: Any) -> str:
        if self.busy:
            raise RuntimeError("busy")
        self.busy = True
        fragment = await super().format(ctx)
        self.busy = False
        return fragment


@breaks("context:concurrent", "add another example")
class SaysTheSameToAll(FactNeuron):
    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        return "It rains"


@breaks("context:any-loop", "raised RuntimeError: Event loop is closed")
class KeepsItsLoop(FactNeuron):
    loop: asyncio.AbstractEventLoop | None = None

    async def format(self, ctx: Context, **kwargs: Any) -> str:
        self.loop = self.loop or asyncio.get_running_loop()
        return await self.loop.run_in_executor(None, self.fragment, ctx)


@breaks("context:any-loop", "the next")
class CountsItsLoops(FactNeuron):
    def __init__(self) -> None:
        super().__init__()
        self.loops: set[asyncio.AbstractEventLoop] = set()

    async def format(self, ctx: Context, **kwargs: Any) -> str:
        self.loops.add(asyncio.get_running_loop())
        return f"{self.fragment(ctx)} {len(self.loops)}"


@breaks("context:cancel-prompt", "a cancelled format() gave ''")
class FallsBackWhenCancelled(FactNeuron):
    async def format(self, ctx: Context, **kwargs: Any) -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return ""


@breaks("context:cancel-prompt", "a cancelled format() raised OSError: cut off")
class FailsWhenCancelled(FactNeuron):
    async def format(self, ctx: Context, **kwargs: Any) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise OSError("cut off") from None
        return ""


@breaks("context:cancel-prompt", "a cancelled format() still runs after 2 s")
class FinishesWhatItBegan(FactNeuron):
    async def format(self, ctx: Context, **kwargs: Any) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.Event().wait()
        return ""


@breaks("context:usable-after-cancel", "the context Neuron raised RuntimeError: busy")
class StaysBusyWhenCancelled(RefusesASecondCaller):
    pass


@breaks("context:usable-after-cancel", "'' after a cancelled format()")
class ForgetsWhenCancelled(FactNeuron):
    taken: str | None = None

    async def format(self, ctx: Context, **kwargs: Any) -> str:
        fragment = self.fragment(ctx) if self.taken is None else self.taken
        self.taken = ""
        await asyncio.sleep(0)
        self.taken = None
        return fragment


# --- shorten ---


@breaks("context:shorten-fits", "0 characters are allowed, and it gives the")
class StaysAsItIs(FactNeuron):
    async def shorten(self, ctx: Context, fits: Fits, **kwargs: Any) -> str:
        return self.fragment(ctx)


@breaks("context:shorten-fits", "and it gives the 16 of '<facts>\\n</facts>'")
class KeepsItsTags(FactNeuron):
    async def shorten(self, ctx: Context, fits: Fits, **kwargs: Any) -> str:
        return await super().shorten(ctx, fits) or "<facts>\n</facts>"


@breaks("context:shorten-fits", "of '<facts>\\n  - It rains\\n</facts>'")
class DropsOneFactOnly(FactNeuron):
    async def shorten(self, ctx: Context, fits: Fits, **kwargs: Any) -> str:
        return self.listing(self.items(ctx)[:-1])


@breaks("context:shorten-fits", "shorten() did not end within 10 s")
class ThinksForEver(FactNeuron):
    async def shorten(self, ctx: Context, fits: Fits, **kwargs: Any) -> str:
        await asyncio.Event().wait()
        return ""


@breaks("context:shorten-fits", "shorten() gave a NoneType, not a string")
class GivesUp(FactNeuron):
    async def shorten(self, ctx: Context, fits: Fits, **kwargs: Any) -> Any:
        return None


@breaks("context:shorten-shorter", "(shortened by half)")
class SaysThatItIsShorter(FactNeuron):
    async def shorten(self, ctx: Context, fits: Fits, **kwargs: Any) -> str:
        text = f"{await super().shorten(ctx, fits)}\n(shortened by half)"
        return text if fits(text) else ""
