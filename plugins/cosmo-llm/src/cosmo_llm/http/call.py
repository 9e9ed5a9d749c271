"""One request on its way: its deadline, and what HTTP does to it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import httpx

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from cosmo_core.errors import NeuronError
    from cosmo_llm.failures import Failures

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One request, however often it is sent.

    Attributes:
        url: Where to.
        content: The JSON body.
        deadline: In the running loop's time.
        failures: Words what goes wrong.
    """

    url: str
    content: bytes
    deadline: float
    failures: Failures

    @property
    def left_s(self) -> float:
        """How much time is left, in seconds."""
        return self.deadline - asyncio.get_running_loop().time()

    async def bounded(self, step: Awaitable[T]) -> T:
        """Await one step of the call, within its deadline.

        Raises:
            NeuronError: The deadline passed, or HTTP failed.
        """
        try:
            async with asyncio.timeout_at(self.deadline):
                return await step
        except TimeoutError:
            failure = self.failures.timed_out()
        except httpx.HTTPError as error:
            failure = self.broken(error)
        # Raised out here, so that it holds no httpx exception: that holds the request, and with it the key.
        raise failure

    def broken(self, error: httpx.HTTPError) -> NeuronError:
        """The failure that an exception of httpx stands for."""
        reason = str(error) or type(error).__name__
        if isinstance(error, httpx.TimeoutException):
            return self.failures.timed_out()
        if isinstance(error, httpx.DecodingError):
            return self.failures.malformed(reason)
        if isinstance(error, httpx.ConnectError):
            return self.failures.unreachable(reason)
        return self.failures.lost(reason)
