"""An echo in FastStream over NATS.

As a script it is the server: ``faststream_echo.py URL`` runs until it is terminated.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from faststream.nats import NatsBroker

# A script has only its own folder on the path; the imports below start at the root.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.bus import INPUT
from tests.bench.subprocesses import script

SUBJECT: Final = "bench-echo"
WAIT_S: Final = 20


class Caller:
    """Sends requests to the server."""

    def __init__(self, broker: NatsBroker) -> None:
        self._request = broker.request

    async def round_trips(self, count: int) -> None:
        """Send ``count`` requests, each after the reply to the previous one."""
        for _ in range(count):
            reply = await self._request(INPUT, SUBJECT, timeout=WAIT_S)
            assert await reply.decode() == {"response": INPUT["prompt"]}


@asynccontextmanager
async def requests(url: str) -> AsyncIterator[Caller]:
    """Start the server, and connect to it."""
    # By default it logs each message.
    async with script(Path(__file__).name, url), NatsBroker(url, logger=None) as broker:
        yield Caller(broker)


async def serve(url: str) -> None:
    """Reply to every request."""
    broker = NatsBroker(url, logger=None)

    @broker.subscriber(SUBJECT)  # type: ignore[untyped-decorator, unused-ignore]
    async def greet(input: dict[str, Any]) -> dict[str, Any]:
        return {"response": input["prompt"]}

    async with broker:
        await broker.start()
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
