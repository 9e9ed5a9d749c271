"""Sources that break the contract of a Neuron, or that of a language model."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from tests.conformance.double import Double, Streaming, breaks

from cosmo_llm import Failure


@breaks("source:neuron-shape", "is not an async function")
class PlainFunction(Double):
    def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
        return super().__call__(input, context)


@breaks("source:input-untouched", "is now {}")
class PopsTheInput(Double):
    def read(self, input: dict[str, Any]) -> str:
        prompt = super().read(input)
        del input["prompt"]
        return prompt


@breaks("source:input-untouched", "the context was")
class AppendsToTheContext(Double):
    async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
        context.append(input)
        return await super().__call__(input, context)


@breaks("source:output-json", "JSON cannot encode")
class ReturnsAnObjectOfItsOwn(Double):
    def write(self, text: str) -> dict[str, Any]:
        return {"response": text, "meta": {"raw": object()}}


@breaks("source:output-json", "'logprob': None}} arrives")
class ReturnsNotANumber(Double):
    def write(self, text: str) -> dict[str, Any]:
        return {"response": text, "meta": {"logprob": float("nan")}}


@breaks("source:output-json", "is a str, not an object")
class ReturnsText(Double):
    def write(self, text: str) -> Any:
        return text


@breaks("source:llm-output", "{'text': 'str'")
class CallsItText(Double):
    def write(self, text: str) -> dict[str, Any]:
        return {"text": text, "response": text, "meta": {}}


@breaks("source:stream-order", "only ['str']")
class EndsWithoutOutput(Streaming):
    async def __call__(self, input: dict[str, Any], context: list[Any]) -> AsyncGenerator[Any, None]:
        yield await self.fetch(self.read(input))


@breaks("source:stream-order", "'dict', 'str']")
class TextAfterTheOutput(Streaming):
    async def __call__(self, input: dict[str, Any], context: list[Any]) -> AsyncGenerator[Any, None]:
        async for item in super().__call__(input, context):
            yield item
        yield "bye"


@breaks("source:stream-joined", "'Youasked:")
class StripsItsTexts(Streaming):
    async def __call__(self, input: dict[str, Any], context: list[Any]) -> AsyncGenerator[Any, None]:
        async for item in super().__call__(input, context):
            yield item.strip() if isinstance(item, str) else item


@breaks("source:stream-abandoned", "RuntimeError: busy")
class BusyUntilItsEnd(Streaming):
    busy = False

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> AsyncGenerator[Any, None]:
        if self.busy:
            raise RuntimeError("busy")
        self.busy = True
        async for item in super().__call__(input, context):
            yield item
        self.busy = False


@breaks("source:invalid-input", "KeyError and not NeuronError")
class RaisesKeyError(Double):
    def read(self, input: dict[str, Any]) -> str:
        return super().read({"prompt": input["prompt"]})


@breaks("source:invalid-input", "recoverable=True")
class LetsTheCallerTryAgain(Double):
    def read(self, input: dict[str, Any]) -> str:
        if not input.get("prompt"):
            raise Failure("INPUT_INVALID", recoverable=True).error("no prompt")
        return super().read(input)


@breaks("source:any-input", "UnicodeEncodeError")
class KnowsAsciiOnly(Double):
    def read(self, input: dict[str, Any]) -> str:
        return super().read(input).encode("ascii").decode()


@breaks("source:any-input", "TypeError")
class AddsNumbersUp(Double):
    def read(self, input: dict[str, Any]) -> str:
        _ = sum(value for key, value in input.items() if key != "prompt")
        return super().read(input)
