"""A member of the queue group ``g`` on ``work``: python peer.py <url> <behaviour> <lease>.

It prints ``ready``, then every frame that it receives, and ``done`` when it has handled one.
"""

from __future__ import annotations

import asyncio
import sys
import time

from cosmo_synapse_zmq import ZmqSynapse, from_url

BLOCKED_S = 2.5


def print_line(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


async def hang(_: ZmqSynapse, frame: bytes) -> None:
    print_line(frame.decode())
    await asyncio.Event().wait()


async def block(_: ZmqSynapse, frame: bytes) -> None:
    print_line(frame.decode())
    # The event loop is blocked for much longer than the lease.
    time.sleep(BLOCKED_S)  # noqa: ASYNC251
    print_line("done")


async def echo(synapse: ZmqSynapse, frame: bytes) -> None:
    print_line(frame.decode())
    await synapse.publish("done", frame)


async def main(url: str, behaviour: str, lease_s: str) -> None:
    synapse = from_url(url, lease_s=float(lease_s))
    await synapse.connect()
    handle = {"hang": hang, "block": block, "echo": echo}[behaviour]
    await synapse.subscribe("work", lambda frame: handle(synapse, frame), queue_group="g")
    await synapse.subscribe("roll.call", lambda frame: synapse.publish("present", frame))
    print_line("ready")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
