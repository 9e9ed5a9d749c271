"""Sources that are wrong about a failing provider, or that tell what is secret."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from tests.conformance.double import Double, RefusedError, breaks

from cosmo_llm import AUTH_FAILED, PROVIDER_ERROR, PROVIDER_UNREACHABLE, Failure

log = logging.getLogger("cosmo_double")


@breaks("source:failure-code", "unauthorized ends in 'PROVIDER_ERROR', not 'AUTH_FAILED'")
class OneCodeForAll(Double):
    def failure_of(self, error: Exception) -> Failure:
        return PROVIDER_ERROR


@breaks("source:failure-code", "ConnectionResetError and not NeuronError")
class RaisesWhatItGets(Double):
    async def fetch(self, prompt: str) -> str:
        async with asyncio.timeout(self.timeout):
            return await self.ask(prompt, self.api_key)


@breaks("source:failure-recoverable", "unauthorized ends with recoverable=True")
class AlwaysHopeful(Double):
    def failure_of(self, error: Exception) -> Failure:
        return super().failure_of(error)._replace(recoverable=True)


@breaks("source:failure-signal", "an ERROR 'OUTPUT_INVALID'")
class QuotesBytes(Double):
    def words_of(self, error: Exception) -> str:
        return b"\xff".decode(errors="surrogateescape")


@breaks("source:usable-after-failure", "it failed before")
class GivesUpForGood(Double):
    failed = False

    def failure_of(self, error: Exception) -> Failure:
        self.failed = True
        return super().failure_of(error)

    async def fetch(self, prompt: str) -> str:
        if self.failed:
            raise PROVIDER_UNREACHABLE.error("it failed before")
        return await super().fetch(prompt)


@breaks("source:retry-after", "called 2 times")
class TriesAgainAtOnce(Double):
    async def fetch(self, prompt: str) -> str:
        with contextlib.suppress(Exception):
            return await super().fetch(prompt)
        return await super().fetch(prompt)


@breaks("source:retry-after", "does not say to wait 3600 s")
class DoesNotSayHowLong(Double):
    def words_of(self, error: Exception) -> str:
        return type(error).__name__


@breaks("source:secret-repr", "the repr of a new Neuron")
class ShowsItself(Double):
    def __repr__(self) -> str:
        return f"<Double {vars(self)}>"


@breaks("source:secret-errors", "the error for cut, in NeuronError,")
class RepeatsTheProvider(Double):
    def words_of(self, error: Exception) -> str:
        return str(error)


@breaks("source:secret-errors", "the error for cut, in NeuronError,")
class RepeatsTheProviderInPart(Double):
    def words_of(self, error: Exception) -> str:
        return f"{super().words_of(error)} {str(error)[:-3]}"


@breaks("source:secret-errors", "the error for unauthorized, in RefusedError,")
class KeepsTheCause(Double):
    async def fetch(self, prompt: str) -> str:
        try:
            return await self.ask(prompt, self.api_key)
        except RefusedError as error:
            raise AUTH_FAILED.error("refused") from error


@breaks("source:secret-errors", "an unknown option, in TypeError,")
class ShowsItsOptionsWhenOneIsWrong(Double):
    def __init__(self, **options: Any) -> None:
        if options.keys() - {"ask", "api_key", "timeout"}:
            raise TypeError(f"no such option in {options}")
        super().__init__(**options)


@breaks("source:secret-logs", "a log of cosmo_double")
class LogsItsRequests(Double):
    async def fetch(self, prompt: str) -> str:
        log.debug("asking %r", {"prompt": prompt, "authorization": self.api_key})
        return await super().fetch(prompt)


@breaks("source:secret-logs", "a log of cosmo_double")
class LogsFailures(Double):
    def failure_of(self, error: Exception) -> Failure:
        log.warning("failed", exc_info=error)
        return super().failure_of(error)


@breaks("source:secret-signals", "a Signal")
class ReturnsItsHeaders(Double):
    def write(self, text: str) -> dict[str, Any]:
        return {"response": text, "meta": {"headers": {"authorization": f"Bearer {self.api_key}"}}}
