"""Agents on one bus for a long time, while every part of it is killed, suspended and restarted at random.

Processes: the bus; two workers that die and one that is only suspended; the host of an Engram; a caller that
is measured, and one that is killed. `Soak.run` returns what happened, and each promise that was not kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from tests.faults.buses import Bus
from tests.faults.processes import FOLDER, Child, resident_bytes

HERE: Final = Path(__file__).parent
DEV: Final = ("-X", "dev")
SETTLE_S: Final = 6.0
"""Seconds without disturbance before the caller is asked to end."""
END_S: Final = 60.0
SAMPLE_S: Final = 0.5
WARM_UP: Final = 0.1
"""The part of the run that counts as warm-up: caches fill, and modules are imported."""
FLAT: Final = 1.05
"""What the last third may use of memory, file descriptors and tasks, relative to the first third."""
FLAT_WHILE_FILLING: Final = 1.25
"""The same while the windows of remembered ids fill, which takes two minutes."""
FILLING_S: Final = 120.0
OUTPUT: Final = 3_000
"""The characters that are shown of a process's output."""
COMPLAINT: Final = r"Traceback|was never retrieved|ResourceWarning|was never awaited|Task was destroyed"


class Part:
    """A process of the soak that can be killed, suspended and started again."""

    def __init__(self, name: str, *arguments: str) -> None:
        self.name = name
        self._arguments = arguments
        self.children: list[Child] = []

    @property
    def child(self) -> Child:
        """The process that runs now, or ran last."""
        return self.children[-1]

    @property
    def pid(self) -> int:
        """The id of that process."""
        return self.child.pid

    async def restart(self) -> None:
        """Start the process, and return when it is ready."""
        self.children.append(await Child.start(*DEV, *self._arguments))
        await self.child.wait_for_line("^ready$", within_s=60)

    async def kill(self) -> None:
        """Kill the process, as ``kill -9`` does."""
        if self.children:
            await self.child.kill()

    async def terminate(self) -> None:
        """Ask the process to end, and wait for it."""
        self.child.send(signal.SIGTERM)
        await self.child.wait_ended(END_S)

    async def suspend(self, seconds: float) -> None:
        """Suspend the process for a while."""
        self.child.send(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        self.child.send(signal.SIGCONT)

    def complaints(self) -> list[str]:
        """Return what any of its processes printed that no process should print."""
        return [
            f"{self.name} printed at its end:\n{child.output[-OUTPUT:]}"
            for child in self.children
            if child.printed(COMPLAINT)
        ]


@attrs.define
class Outcome:
    """What happened during a soak.

    Attributes:
        bus: The name of the bus.
        seconds: How long parts were disturbed.
        disturbances: How many disturbances of each kind there were.
        calls: How many calls ended in each way.
        writes: How many writes ended in each way.
        growth: The median use of the last third divided by that of the first, by measure.
        broken: Each promise that was not kept.
    """

    bus: str
    seconds: float
    disturbances: Counter[str]
    calls: Mapping[str, int]
    writes: Mapping[str, int]
    growth: Mapping[str, float]
    broken: Sequence[str]


class Soak:
    """One soak of one bus.

    Args:
        bus: The bus; it listens.
        store: The URL of an empty store for the Engram.
        seconds: How long to disturb.
        seed: Determines the disturbances.
        callers: How many calls the measured caller has open.
    """

    def __init__(self, bus: Bus, store: str, *, seconds: float, seed: int, callers: int) -> None:
        self._bus = bus
        self._seconds = seconds
        self._random = random.Random(seed)  # noqa: S311 - a reproducible choice
        worker = (str(FOLDER / "worker.py"), bus.url, "work=brief")
        caller = (str(HERE / "caller.py"), bus.url)
        measured = ("--callers", str(callers))
        durable = ("--durable", "--timeout", "60") if bus.name == "nats-durable" else ()
        self._steady = Part("steady worker", *worker)
        self._caller = Part("caller", *caller, *measured, *durable)
        self._victim = Part("killed caller", *caller, "--callers", "4", "--writers", "1")
        self._workers = [Part(f"worker {number}", *worker) for number in (1, 2)]
        self._host = Part("Engram host", str(FOLDER / "engram_host.py"), bus.url, store)
        self._disturbances: Counter[str] = Counter()
        self._samples: dict[str, list[float]] = defaultdict(list)

    @property
    def _parts(self) -> list[Part]:
        return [self._steady, *self._workers, self._host, self._caller, self._victim]

    async def run(self, progress: Callable[[str], None] = lambda line: None) -> Outcome:
        """Start everything, disturb it, let it settle, and check.

        Args:
            progress: Called with a line about every ten seconds.
        """
        async with contextlib.AsyncExitStack() as stack:
            for part in self._parts:
                stack.push_async_callback(part.kill)
                await part.restart()
            sampling = asyncio.create_task(self._sample(progress))
            stack.callback(sampling.cancel)
            await self._disturb()
            await self._settle()
            sampling.cancel()
            # The callers first: they read back what the Engram's host has stored.
            for part in reversed(self._parts):
                await part.terminate()
            return self._outcome()

    # --- disturbing ---------------------------------------------------------------------------------

    async def _disturb(self) -> None:
        end = time.monotonic() + self._seconds
        mortal = [*self._workers, self._host, self._victim]
        choices: list[tuple[int, str, Callable[[], Awaitable[None]]]] = [
            (5, "kill -9 of a worker, host or caller", lambda: self._replace(self._random.choice(mortal))),
            (2, "SIGTERM of a worker", lambda: self._end(self._random.choice(self._workers))),
            (4, "suspension of a process", lambda: self._suspend(self._random.choice(self._parts))),
            (2, "kill -9 of the bus", self._restart_bus),
            (1, "suspension of the bus", self._suspend_bus),
        ]
        weights = [weight for weight, _, _ in choices]
        while time.monotonic() < end:
            _, name, disturb = self._random.choices(choices, weights)[0]
            await disturb()
            self._disturbances[name] += 1
            await asyncio.sleep(self._random.uniform(0.2, 1.5))

    async def _replace(self, part: Part) -> None:
        await part.kill()
        await part.restart()

    async def _end(self, part: Part) -> None:
        await part.terminate()
        await part.restart()

    async def _suspend(self, part: Part) -> None:
        await part.suspend(self._random.uniform(0.1, 2.0))

    async def _restart_bus(self) -> None:
        await self._bus.kill()
        await asyncio.sleep(self._random.uniform(0.0, 1.0))
        await self._bus.restart()

    async def _suspend_bus(self) -> None:
        pid = self._bus.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(self._random.uniform(0.1, 2.0))
        os.kill(pid, signal.SIGCONT)

    async def _settle(self) -> None:
        """Wait until the measured caller is answered again."""
        answered = self._counters()["calls"].get("answered", 0)
        async with asyncio.timeout(END_S):
            await asyncio.sleep(SETTLE_S)
            # The counters of another process have no event.
            while self._counters()["calls"].get("answered", 0) <= answered:  # noqa: ASYNC110
                await asyncio.sleep(SAMPLE_S)

    # --- measuring ----------------------------------------------------------------------------------

    async def _sample(self, progress: Callable[[str], None]) -> None:
        started = shown = time.monotonic()
        while True:
            await asyncio.sleep(SAMPLE_S)
            for part in (self._steady, self._caller):
                self._samples[f"memory of the {part.name}"].append(resident_bytes(part.pid))
                self._samples[f"descriptors of the {part.name}"].append(_descriptors(part.pid))
            self._samples["tasks of the caller"].append(self._counters()["tasks"])
            if (now := time.monotonic()) - shown > 10:
                shown = now
                calls = self._counters()["calls"]
                progress(
                    f"{self._bus.name}: {now - started:.0f} s of {self._seconds:.0f}, "
                    f"{sum(calls.values())} calls, {self._disturbances.total()} disturbances"
                )

    def _counters(self) -> Any:
        lines = self._caller.child.printed(r"^\{")
        return json.loads(lines[-1].text) if lines else {"calls": {}, "tasks": 0, "writes": {}, "faults": {}}

    def _growth(self) -> dict[str, float]:
        return {name: growth(samples) for name, samples in self._samples.items()}

    def _outcome(self) -> Outcome:
        counters = self._counters()
        growth = self._growth()
        broken = [f"{name}: {count}" for name, count in counters["faults"].items()]
        if not counters.get("final"):
            broken.append("the caller did not end by itself")
        flat = FLAT if self._seconds > FILLING_S else FLAT_WHILE_FILLING
        broken += [f"{name} grew to {ratio:.2f}" for name, ratio in growth.items() if ratio > flat]
        for part in self._parts:
            broken += part.complaints()
        return Outcome(
            self._bus.name,
            self._seconds,
            self._disturbances,
            counters["calls"],
            counters["writes"],
            growth,
            broken,
        )


def _descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def growth(samples: Sequence[float]) -> float:
    """Return the median of the last third divided by that of the first, without the warm-up."""
    warm = samples[int(len(samples) * WARM_UP) :]
    third = max(1, len(warm) // 3)
    first, last = statistics.median(warm[:third]), statistics.median(warm[-third:])
    return last / max(first, 1.0)
