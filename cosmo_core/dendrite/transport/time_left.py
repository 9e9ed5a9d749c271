"""How much of the time for an answer is left, without asking anybody's clock what time it is."""

from __future__ import annotations

import attrs

from cosmo_core.protocol.signal import Signal


def shortened(signal: Signal, seconds: float) -> Signal:
    """Return ``signal`` with so much less in its ``deadline_ms``, as it waited on its way (P-5.10).

    0 is late: less than that cannot be left.
    """
    left = signal.payload.get("deadline_ms")
    if left is None:
        return signal
    return attrs.evolve(signal, payload={**signal.payload, "deadline_ms": max(0, int(left - seconds * 1000))})
