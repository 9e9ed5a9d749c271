"""The small edition of `hostile_zmq`: all ways to attack at once, with few clients."""

from __future__ import annotations

from tests.soak.hostile_zmq import MAX_GROWTH_MB, MIXED, measure, table

CLIENTS = 48
CLOSED = "closed the connection of 127.0.0.1"


async def test_few_hostile_clients_cost_little_memory_and_no_honest_frame() -> None:
    result = await measure(MIXED, CLIENTS, 2.0, until=CLOSED)
    print("\n".join(table([result], CLIENTS)))  # noqa: T201
    # Milliseconds are not compared here: other tests run at the same time. Every frame was answered in time.
    assert result.round_trips > 0
    assert result.undelivered == 0
    assert result.growth_mb <= MAX_GROWTH_MB
    assert CLOSED in result.log
