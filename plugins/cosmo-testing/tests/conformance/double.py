"""A correct source, and what the kit has to know about it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from cosmo_core.contracts.neuron import NeuronFn
from cosmo_llm import (
    INPUT_INVALID,
    PROVIDER_MALFORMED,
    PROVIDER_TIMEOUT,
    PROVIDER_UNREACHABLE,
    Failure,
    failure_of_status,
)
from cosmo_testing import Scenario, SourceUnderTest
from cosmo_testing.conformance.mutants import Mutants
from cosmo_testing.sources.checks import KIT
from cosmo_testing.sources.faults import RETRY_AFTER_S

KEY = "sk-0123456789"
STATUSES = {"unauthorized": 401, "rate-limited": 429, "server-error": 500, "unavailable": 503}

Ask = Callable[[str, str], Awaitable[str]]


class RefusedError(Exception):
    """What the provider of the doubles answers with a status."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class Base:
    """What a correct source does apart from answering."""

    def __init__(self, *, ask: Ask, api_key: str, timeout: float = 30.0) -> None:
        self.ask = ask
        self.api_key = api_key
        self.timeout = timeout

    def __repr__(self) -> str:
        return "<Double>"

    async def aclose(self) -> None:
        """There is nothing to close."""

    def read(self, input: dict[str, Any]) -> str:
        prompt = input.get("prompt")
        if not isinstance(prompt, str) or not prompt:
            raise INPUT_INVALID.error("input.prompt is not a non-empty string")
        return prompt

    def write(self, text: str) -> dict[str, Any]:
        return {"response": text, "meta": {"model": "double"}}

    async def fetch(self, prompt: str) -> str:
        try:
            async with asyncio.timeout(self.timeout):
                text = await self.ask(prompt, self.api_key)
        except (TimeoutError, ConnectionError, RefusedError) as error:
            failure, reason = self.failure_of(error), self.words_of(error)
        else:
            if re.fullmatch("[A-Z].*", text, re.DOTALL):
                return text
            failure, reason = PROVIDER_MALFORMED, "it speaks another language"
        raise failure.error(f"the provider of doubles failed: {reason}")

    def failure_of(self, error: Exception) -> Failure:
        if isinstance(error, RefusedError):
            return failure_of_status(error.status)
        return PROVIDER_TIMEOUT if isinstance(error, TimeoutError) else PROVIDER_UNREACHABLE

    def words_of(self, error: Exception) -> str:
        if isinstance(error, RefusedError) and error.status in {429, 503}:
            return f"it asks to wait {RETRY_AFTER_S} s"
        return type(error).__name__


class Double(Base):
    """A correct source, in as few lines as that takes."""

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
        return self.write(await self.fetch(self.read(input)))


class Streaming(Base):
    """A correct source that streams."""

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> AsyncGenerator[Any, None]:
        text = await self.fetch(self.read(input))
        for piece in re.findall(r"\s*\S+|\s+", text):
            yield piece
        yield self.write(text)


class DoubleSource(SourceUnderTest):
    double: type[Double | Streaming] = Double
    llm = True
    secrets: ClassVar[Mapping[str, Any]] = {"api_key": KEY}
    invalid_inputs = ({}, {"prompt": ""}, {"prompt": 7})
    not_applicable: ClassVar[Mapping[str, str]] = {"source:import-offline": "the doubles live in a test"}

    def neuron(self, **options: Any) -> NeuronFn:
        return self.double(**options)

    @asynccontextmanager
    async def provider(self, scenario: Scenario) -> AsyncIterator[Mapping[str, Any]]:
        async def ask(prompt: str, key: str) -> str:
            await scenario.reached()
            if scenario.fault in STATUSES:
                raise RefusedError(STATUSES[scenario.fault], scenario.words)
            if scenario.fault == "stalled":
                await scenario.stall()
            if scenario.fault == "cut":
                raise ConnectionResetError(scenario.words)
            return f"not json: {scenario.words}" if scenario.fault == "malformed" else f"You asked: {prompt}"

        yield {"ask": ask, "timeout": 0.01 if scenario.fault == "stalled" else 30.0}

    def input(self, n: int) -> dict[str, Any]:
        return {"prompt": f"question {n}"}


class StreamingSource(DoubleSource):
    double = Streaming
    streams = True


def source_of(double: type[Double | Streaming]) -> DoubleSource:
    source = StreamingSource() if issubclass(double, Streaming) else DoubleSource()
    source.double = double
    return source


MUTANTS = Mutants(KIT)
breaks = MUTANTS.breaks
