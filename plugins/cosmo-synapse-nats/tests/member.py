"""A member of the queue group ``g`` on ``work``, in a process of its own: python member.py <url> <behaviour>.

It prints ``ready``, then every frame it takes; ``done`` when it is done with one.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable

from cosmo_synapse_nats import from_url


def say(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


async def hang(frame: bytes) -> None:
    say(frame.decode())
    await asyncio.Event().wait()


async def block(frame: bytes) -> None:
    say(frame.decode())
    # The event loop stands still for much longer than the lease.
    time.sleep(3.5)  # noqa: ASYNC251
    say("done")


def echo(frame: bytes) -> Awaitable[None] | None:
    say(frame.decode())
    return None


async def main(url: str, behaviour: str) -> None:
    synapse = from_url(url)
    await synapse.connect()
    await synapse.subscribe("work", {"hang": hang, "block": block, "echo": echo}[behaviour], queue_group="g")
    say("ready")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
