"""The cost of a Signal: building, encoding, and decoding with validation."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from functools import partial

from cosmo_core import Directed, Signal, SignalType, decode, encode
from cosmo_core.protocol.ids import new_ulid
from tests.bench.bus import INPUT, NEURON
from tests.bench.measure import alternate
from tests.bench.report import Figure, Pair

_DIRECTED = Directed(NEURON)
_INBOX = new_ulid()


def figures(scale: float) -> Iterator[Figure]:
    """Yield the three parts and their sum, against the standard library's JSON, which does not validate."""
    task = _build()
    frame = encode(task)
    wire = json.loads(frame)
    count, rounds = max(100, int(20_000 * scale)), max(3, int(25 * scale))
    for name, work, target, peer in (
        ("build + encode + decode", lambda: decode(encode(_build())), "≥ 150,000/s", "22,700/s"),
        ("build alone", _build, "", ""),
        ("encode alone", lambda: encode(task), "", ""),
        ("decode alone", lambda: decode(frame), "", ""),
    ):
        yield Figure(
            name=f"{name}, a TASK of {len(frame)} bytes",
            unit="/s",
            against="json.dumps and loads",
            measure=partial(_measure, work, lambda: json.loads(json.dumps(wire)), count, rounds),
            target=target,
            peer=peer,
        )


def _build() -> Signal:
    return Signal.new(SignalType.TASK, {"input": INPUT}, directed=_DIRECTED, meta={"reply_to": _INBOX})


def _measure(work: Callable[[], object], baseline: Callable[[], object], count: int, rounds: int) -> Pair:
    return asyncio.run(alternate(lambda: _rate(work, count), lambda: _rate(baseline, count), rounds))


async def _rate(work: Callable[[], object], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        work()
    return count / (time.perf_counter() - start)
