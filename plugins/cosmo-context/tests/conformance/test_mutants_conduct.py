"""Context Neurons that serve one at a time, or do not end; each is caught."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, ClassVar

import pytest

from cosmo_context import Context, FactNeuron, Neuron
from cosmo_context.testing import checks_conduct
from cosmo_context.testing.checks import CHECKS

Complain = Callable[[Callable[[], Neuron], str], Awaitable[str | None]]


class Waiting(FactNeuron):
    """A correct one that waits for a turn of the loop, as for something fetched."""

    async def format(self, ctx: Context, **kwargs: Any) -> str:
        await asyncio.sleep(0)
        return self.fragment(ctx)


class KeepsItsContext(Waiting):
    breaks: ClassVar = ("context:concurrent", "together ['', ''")
    ctx: Context | None = None

    async def format(self, ctx: Context, **kwargs: Any) -> str:
        self.ctx = ctx
        await super().format(ctx)
        return self.fragment(self.ctx)


class RefusesASecondCaller(Waiting):
    breaks: ClassVar = ("context:concurrent", "the context Neuron raised RuntimeError: busy")
    busy = False

    async def format(self, ctx: Context, **kwargs: Any) -> str:
        if self.busy:
            raise RuntimeError("busy")
        self.busy = True
        fragment = await super().format(ctx)
        self.busy = False
        return fragment


class SaysTheSameToAll(FactNeuron):
    breaks: ClassVar = ("context:concurrent", "add another example")

    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        return "It rains"


class KeepsItsLoop(FactNeuron):
    breaks: ClassVar = ("context:any-loop", "raised RuntimeError: Event loop is closed")
    loop: asyncio.AbstractEventLoop | None = None

    async def format(self, ctx: Context, **kwargs: Any) -> str:
        self.loop = self.loop or asyncio.get_running_loop()
        return await self.loop.run_in_executor(None, self.fragment, ctx)


class CountsItsLoops(FactNeuron):
    breaks: ClassVar = ("context:any-loop", "the next")

    def __init__(self) -> None:
        super().__init__()
        self.loops: set[asyncio.AbstractEventLoop] = set()

    async def format(self, ctx: Context, **kwargs: Any) -> str:
        self.loops.add(asyncio.get_running_loop())
        return f"{self.fragment(ctx)} {len(self.loops)}"


class FallsBackWhenCancelled(FactNeuron):
    breaks: ClassVar = ("context:cancel-prompt", "a cancelled format() gave ''")

    async def format(self, ctx: Context, **kwargs: Any) -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return ""


class FailsWhenCancelled(FactNeuron):
    breaks: ClassVar = ("context:cancel-prompt", "a cancelled format() raised OSError: cut off")

    async def format(self, ctx: Context, **kwargs: Any) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise OSError("cut off") from None
        return ""


class FinishesWhatItBegan(FactNeuron):
    breaks: ClassVar = ("context:cancel-prompt", "a cancelled format() still runs after 0.05 s")

    async def format(self, ctx: Context, **kwargs: Any) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.Event().wait()
        return ""


class StaysBusyWhenCancelled(RefusesASecondCaller):
    breaks: ClassVar = ("context:usable-after-cancel", "the context Neuron raised RuntimeError: busy")


class ForgetsWhenCancelled(FactNeuron):
    breaks: ClassVar = ("context:usable-after-cancel", "'' after a cancelled format()")
    taken: str | None = None

    async def format(self, ctx: Context, **kwargs: Any) -> str:
        fragment = self.fragment(ctx) if self.taken is None else self.taken
        self.taken = ""
        await asyncio.sleep(0)
        self.taken = None
        return fragment


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up soon on the one that does not end."""
    monkeypatch.setattr(checks_conduct, "CANCEL_S", 0.05)


@pytest.mark.parametrize("requirement", [id for id in CHECKS if id != "context:entry-point"])
async def test_one_that_waits_and_obeys_is_not_blamed(requirement: str, complaint: Complain) -> None:
    assert await complaint(Waiting, requirement) is None


async def test_a_mutant_is_caught_and_the_reason_is_given(mutant: Any, complaint: Complain) -> None:
    requirement, because = mutant.breaks
    assert because in str(await complaint(mutant, requirement))


def test_there_is_a_mutant_for_every_check(mutants: list[Any]) -> None:
    assert {mutant.breaks[0] for mutant in mutants} == {
        id for id, check in CHECKS.items() if check.__module__ == checks_conduct.__name__
    }
