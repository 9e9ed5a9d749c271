"""A member of the queue group ``g`` on ``work``: python peer.py <url> <behaviour>.

It prints ``ready``, then every frame that it receives, and ``done`` when it has handled one.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable

from cosmo_synapse_nats import from_url


def print_line(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


async def hang(frame: bytes) -> None:
    print_line(frame.decode())
    await asyncio.Event().wait()


async def block(frame: bytes) -> None:
    print_line(frame.decode())
    # The event loop is blocked for much longer than the lease.
    time.sleep(3.5)  # noqa: ASYNC251
    print_line("done")


def echo(frame: bytes) -> Awaitable[None] | None:
    print_line(frame.decode())
    return None


async def main(url: str, behaviour: str) -> None:
    synapse = from_url(url)
    await synapse.connect()
    await synapse.subscribe("work", {"hang": hang, "block": block, "echo": echo}[behaviour], queue_group="g")
    print_line("ready")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
