"""The log of TASKs: at DEBUG, one line for each step of a TASK's life, without its input and its output.

The steps are the Signals of a TASK that a Dendrite sends, receives or drops, and what its Neurons do with it.
Whether DEBUG is on is looked up when a Dendrite starts and when an Axon is attached, never for a Signal.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, Final

from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import TERMINAL_TYPES, SignalType

if TYPE_CHECKING:
    from cosmo_core.plugins import SignalEvent

MAX_CODE: Final = 64
"""The characters of an ERROR's code that are logged: another process may send any text."""

_WORK: Final = frozenset({SignalType.TASK, SignalType.TASK_OFFER, SignalType.TASK_AWARDED})
_OTHERS: Final = frozenset({SignalType.BID, SignalType.TASK_DECLINED, SignalType.STOP, SignalType.STOPPED})

logger = logging.getLogger("cosmo_core.task")


def is_enabled() -> bool:
    """Tell whether the steps of TASKs are logged now."""
    return logger.isEnabledFor(logging.DEBUG)


def log_event(event: SignalEvent) -> None:
    """Log that a Signal of a TASK was sent, received or dropped. It is an observer."""
    signal = event.signal
    if signal is None:
        return
    if signal.type is SignalType.THOUGHT_DELTA:
        # The first one only: there may be thousands.
        is_logged = signal.payload["seq"] == 0
    else:
        is_logged = signal.type in TERMINAL_TYPES or signal.type in _WORK or signal.type in _OTHERS
    if is_logged:
        task_id = signal.id if signal.type in _WORK else signal.parent_id
        _log(event.kind, task_id, signal, reason=event.reason)


def log_step(step: str, task: Signal, answer: Signal | None = None, began: float | None = None) -> float:
    """Log what a Neuron does with a TASK; return the time, in monotonic seconds.

    Args:
        step: ``queued``, ``started`` or ``finished``.
        task: The TASK.
        answer: What it is answered with.
        began: The time at which it started.
    """
    now = monotonic()
    duration_ms = None if began is None else (now - began) * 1000
    _log(step, task.id, task if answer is None else answer, duration_ms=duration_ms)
    return now


def _log(
    step: str,
    task_id: str | None,
    signal: Signal,
    *,
    reason: str | None = None,
    duration_ms: float | None = None,
) -> None:
    neuron = None if signal.directed is None else signal.directed.id
    # Escaped: a line break in it would look like a line of the log.
    code = repr(signal.payload["code"][:MAX_CODE])[1:-1] if signal.type is SignalType.ERROR else None
    details = [
        signal.type.value,
        code,
        None if duration_ms is None else f"after {duration_ms:.1f} ms",
        reason,
    ]
    logger.debug(
        "TASK %s for Neuron %r: %s %s",
        task_id,
        neuron,
        step,
        " ".join(detail for detail in details if detail is not None),
        extra={
            "cosmo_step": step,
            "cosmo_type": signal.type.value,
            "cosmo_task": task_id,
            "cosmo_trace": signal.trace_id,
            "cosmo_neuron": neuron,
            "cosmo_code": code,
            "cosmo_duration_ms": duration_ms,
        },
    )
