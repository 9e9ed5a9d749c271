"""Counts the Signals that each Dendrite sends and receives."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from cosmo_core.plugins import SignalEvent, SignalObserver, hookimpl

if TYPE_CHECKING:
    from cosmo_core import Dendrite

COSMO_API = 1

_counters: WeakKeyDictionary[Dendrite, Counter[tuple[str, str]]] = WeakKeyDictionary()


@hookimpl
def cosmo_signal_observers(dendrite: Dendrite) -> SignalObserver:
    """Start counting for a Dendrite."""
    counter = _counters[dendrite] = Counter()

    def count(event: SignalEvent) -> None:
        counter[event.kind, "" if event.signal is None else event.signal.type.value] += 1

    return count


def counts(dendrite: Dendrite) -> dict[tuple[str, str], int]:
    """Return the number of Signals of a Dendrite, by event and type.

    The event is ``sent``, ``received``, ``dropped`` or ``malformed``; a malformed frame has the type ``""``.
    A Dendrite that was never started has no counts.
    """
    return dict(_counters.get(dendrite, {}))
