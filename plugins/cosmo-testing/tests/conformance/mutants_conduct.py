"""Sources whose calls do not end when told, or get into each other's way."""

from __future__ import annotations

import asyncio
import contextlib

from tests.conformance.double import Double, breaks

from cosmo_llm import PROVIDER_ERROR


@breaks("source:cancel-prompt", "not as cancelled: it returned")
class AnswersWhenCancelled(Double):
    async def fetch(self, prompt: str) -> str:
        try:
            return await super().fetch(prompt)
        except asyncio.CancelledError:
            return "Never mind"


@breaks("source:cancel-prompt", "not as cancelled: it raised")
class FailsWhenCancelled(Double):
    async def fetch(self, prompt: str) -> str:
        try:
            return await super().fetch(prompt)
        except asyncio.CancelledError:
            raise PROVIDER_ERROR.error("cancelled") from None


@breaks("source:cancel-prompt", "still runs")
class WaitsOn(Double):
    async def fetch(self, prompt: str) -> str:
        call = asyncio.ensure_future(super().fetch(prompt))
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(call)
        return await call


@breaks("source:usable-after-cancel", "the connection is in use")
class BrokenByCancelling(Double):
    broken = False

    async def fetch(self, prompt: str) -> str:
        if self.broken:
            raise RuntimeError("the connection is in use")
        self.broken = True
        text = await super().fetch(prompt)
        self.broken = False
        return text


@breaks("source:concurrent-answers", "together ['You asked: question 3', 'You asked: question 3'")
class KeepsThePromptInItself(Double):
    async def fetch(self, prompt: str) -> str:
        self.prompt = prompt
        await super().fetch(prompt)
        return f"You asked: {self.prompt}"


@breaks("source:concurrent-answers", "1 of 4 calls reached")
class OneAfterTheOther(Double):
    async def fetch(self, prompt: str) -> str:
        self.__dict__.setdefault("lock", asyncio.Lock())
        async with self.__dict__["lock"]:
            return await super().fetch(prompt)


@breaks("source:concurrent-cancel", "that was not cancelled")
class CancelsThemAll(Double):
    async def fetch(self, prompt: str) -> str:
        calls = self.__dict__.setdefault("calls", set())
        calls.add(asyncio.current_task())
        try:
            return await super().fetch(prompt)
        except asyncio.CancelledError:
            for call in calls:
                call.cancel()
            raise
        finally:
            calls.discard(asyncio.current_task())
