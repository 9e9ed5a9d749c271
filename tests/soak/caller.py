"""A process that calls Neurons and writes to an Engram without a pause: ``caller.py URL``.

It prints its counters every second, as JSON. On SIGTERM it makes no more calls, waits for those that are
open, reads back every acknowledged write, prints its counters for the last time, and ends.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

# A script has only its own folder on the path; the imports below start at the root of the repository.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cosmo_core import CosmoError, Dendrite, EngramError, NoRouteError, Pathway, SignalType, connect_synapse

NAMESPACE: Final = "faults"
IN_TIME_S: Final = 3.0
"""Seconds that a call may take beyond its own time limit; its process may be suspended for two of them."""
WRITE_TIMEOUT_S: Final = 3.0
BATCH: Final = 500
"""Entries with the same tag: fewer than one RECALL may return."""
TERMINAL: Final = {SignalType.AGENT_OUTPUT, SignalType.ERROR}


class Caller:
    """Calls and writes until it is stopped, and counts how each ended.

    Args:
        dendrite: The Dendrite that calls.
        durable: Whether the bus promises an answer to every TASK that it accepted.
        timeout_s: Seconds that a call may take.
        linger_s: Seconds that a Pathway is followed after its answer, in search of a second one.
    """

    def __init__(self, dendrite: Dendrite, *, durable: bool, timeout_s: float, linger_s: float) -> None:
        self.calls: Counter[str] = Counter()
        self.writes: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self._dendrite = dendrite
        self._durable = durable
        self._timeout_s = timeout_s
        self._linger_s = linger_s
        self._written: list[int] = []
        self._stopped = asyncio.Event()
        self._lingering: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Make no more calls."""
        self._stopped.set()

    async def run(self, callers: int, writers: int) -> None:
        """Call and write until `stop`; then check what was written."""
        numbers = iter(range(sys.maxsize))
        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(self._call_repeatedly())
            for _ in range(writers):
                group.create_task(self._write_repeatedly(numbers))
        await asyncio.gather(*self._lingering)
        await self._check_writes()

    # --- calls --------------------------------------------------------------------------------------

    async def _call_repeatedly(self) -> None:
        while not self._stopped.is_set():
            started = time.monotonic()
            outcome = await self._call()
            self.calls[outcome] += 1
            if time.monotonic() - started > self._timeout_s + IN_TIME_S:
                self.faults["late calls"] += 1
            await self._pause(0.05 if outcome == "answered" else 0.1)

    async def _pause(self, seconds: float) -> None:
        # Not more calls than the processes can answer beside their restarts.
        try:
            async with asyncio.timeout(random.uniform(0.5, 1.5) * seconds):  # noqa: S311 - spreads the load
                await self._stopped.wait()
        except TimeoutError:
            pass

    async def _call(self) -> str:
        """Call once; return how the call ended."""
        task: dict[str, Any] = {"neuron": "work", "input": {}, "deadline_s": self._timeout_s}
        try:
            async with asyncio.timeout(self._timeout_s):
                pathway = await self._dendrite.dispatch(**task)
        except TimeoutError:
            return "not accepted in time"
        except CosmoError as error:
            return type(error).__name__
        return await self._answer(pathway)

    async def _answer(self, pathway: Pathway) -> str:
        try:
            reply = await pathway.wait(self._timeout_s)
        except TimeoutError:
            pathway.close()
            outcome = "no answer in time"
        else:
            self._follow(pathway)
            outcome = "answered" if reply.type is SignalType.AGENT_OUTPUT else reply.payload["code"]
        if self._durable and outcome != "answered":
            self.faults["accepted, not answered"] += 1
        return outcome

    def _follow(self, pathway: Pathway) -> None:
        following = asyncio.create_task(self._linger(pathway))
        self._lingering.add(following)
        following.add_done_callback(self._lingering.discard)

    async def _linger(self, pathway: Pathway) -> None:
        """Count the answers that come after the first one."""
        answers: set[str] = set()
        try:
            async with asyncio.timeout(self._linger_s), pathway:
                async for received in pathway:
                    if received.type in TERMINAL:
                        answers.add(received.id)
        except TimeoutError:
            pass
        self.faults["second answers"] += max(0, len(answers) - 1)

    # --- writes -------------------------------------------------------------------------------------

    async def _write_repeatedly(self, numbers: Any) -> None:
        while not self._stopped.is_set():
            number = next(numbers)
            if await self._write(number):
                self._written.append(number)
                self.writes["acknowledged"] += 1
            await self._pause(0.1)

    async def _write(self, number: int) -> bool:
        """Write one entry, again if necessary, until it is acknowledged or the caller is stopped."""
        entry = {"number": number, "tags": [self._tag(number // BATCH)]}
        while not self._stopped.is_set():
            started = time.monotonic()
            try:
                await self._dendrite.imprint(
                    "ctx",
                    op="append",
                    entry=entry,
                    imprint_id=f"{os.getpid()}-{number}",
                    timeout_s=WRITE_TIMEOUT_S,
                )
            except (EngramError, NoRouteError) as error:
                self.writes[getattr(error, "code", type(error).__name__)] += 1
            except CosmoError as error:
                self.writes[type(error).__name__] += 1
            else:
                return True
            finally:
                if time.monotonic() - started > WRITE_TIMEOUT_S + IN_TIME_S:
                    self.faults["late writes"] += 1
            await self._pause(0.1)
        return False

    @staticmethod
    def _tag(batch: int) -> str:
        # Other callers write to the same Engram.
        return f"{os.getpid()}-{batch}"

    async def _check_writes(self) -> None:
        found: Counter[int] = Counter()
        await self._dendrite.wait_until_ready(engram="ctx", timeout_s=30)
        for batch in range(max(self._written, default=0) // BATCH + 1):
            query = {"tags": [self._tag(batch)], "limit": BATCH}
            hits = (await self._dendrite.recall("ctx", query, timeout_s=30)).hits
            found.update(hit.entry["number"] for hit in hits)
        self.faults["acknowledged, not stored"] += len(set(self._written) - found.keys())
        self.faults["stored twice"] += sum(count > 1 for count in found.values())

    # --- report -------------------------------------------------------------------------------------

    def print_counters(self, *, final: bool = False) -> None:
        """Print all counters as one line of JSON."""
        counters = {
            "final": final,
            "calls": self.calls,
            "writes": self.writes,
            "faults": +self.faults,
            "tasks": len(asyncio.all_tasks()) - len(self._lingering),
        }
        print(json.dumps(counters), flush=True)  # noqa: T201 - the soak reads it

    async def print_repeatedly(self) -> None:
        """Print the counters every second."""
        while True:
            await asyncio.sleep(1)
            self.print_counters()


async def main() -> None:
    """Parse the arguments, call until SIGTERM, and check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--durable", action="store_true")
    parser.add_argument("--timeout", type=float, default=20.0)
    parser.add_argument("--linger", type=float, default=2.0)
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--writers", type=int, default=4)
    options = parser.parse_args()
    logging.basicConfig(stream=sys.stdout, level=logging.ERROR, format="log %(levelname)s %(message)s")
    synapse = await connect_synapse(options.url)
    async with Dendrite(synapse=synapse, namespace=NAMESPACE) as dendrite:
        await dendrite.wait_until_ready(neuron="work")
        await dendrite.wait_until_ready(engram="ctx")
        caller = Caller(dendrite, durable=options.durable, timeout_s=options.timeout, linger_s=options.linger)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, caller.stop)
        reporting = asyncio.create_task(caller.print_repeatedly())
        print("ready", flush=True)  # noqa: T201 - the soak waits for this line
        await caller.run(options.callers, options.writers)
        reporting.cancel()
    await synapse.close()
    caller.print_counters(final=True)


if __name__ == "__main__":
    asyncio.run(main())
