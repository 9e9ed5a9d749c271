"""The directory of the live Neurons or Engrams of a namespace, built from their announcements."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

import attrs

from cosmo_core.contracts.boundary import logger
from cosmo_core.contracts.pathway import Pathway
from cosmo_core.errors import NoRouteError
from cosmo_core.protocol.ids import is_token
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType

MISSED_HEARTBEATS: Final = 3
"""The number of missed heartbeats after which a Neuron is removed (P-4.6)."""

MAX_NEURONS: Final = 100_000
"""The number of records in a directory, one for each host of a Neuron; further ones are ignored (P-4.13)."""

_LONGEST_HEARTBEAT_S: Final = 86_400.0
_MAX_LOAD: Final = 1_000_000


@attrs.frozen
class NeuronRecord:
    """One Neuron as one Dendrite hosts it.

    Attributes:
        neuron_id: Its address.
        capabilities: The capabilities that it announced.
        version: The version that it announced.
        dendrite: The Dendrite that hosts it; replicas differ in this.
        expires: When it counts as gone, in seconds of the directory's clock.
        load: The number of TASKs that ran or waited there at its last announcement.
        pulse_s: Seconds between two work heartbeats of its host; None if the host sends none.
    """

    neuron_id: str
    capabilities: tuple[str, ...]
    version: str | None
    dendrite: str
    expires: float
    load: int = 0
    pulse_s: float | None = None


@attrs.define
class _Load:
    """The load of a Neuron, as far as this Dendrite knows it.

    Attributes:
        own: The unanswered TASKs that this Dendrite dispatched by capability.
        announced: The sum of the loads that its hosts announced.
        others: The TASKs of other Dendrites, from the last announcement.
    """

    own: int = 0
    announced: int = 0
    others: int = 0


class Directory:
    """The records of announced Neurons. A record ends with DEREGISTER, or when its heartbeats stop.

    Args:
        clock: Returns monotonic seconds.
        heartbeat_s: The heartbeat interval, in seconds, of a host that does not announce its own.
        role: The role to record: ``neuron`` or ``engram``.
        departed: Called with the ids of a Neuron and its Dendrite when the host is gone. A draining host
            has no record, and departs with its DEREGISTER or when its heartbeats stop.

    Attributes:
        knows: Tells whether a Neuron has a live host, by its id.
        ignored: The number of announcements that were ignored because the directory was full.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        heartbeat_s: float,
        role: Literal["neuron", "engram"] = "neuron",
        departed: Callable[[str, str], None] = lambda neuron, dendrite: None,
    ) -> None:
        self._departed = departed
        self._clock = clock
        self._heartbeat_s = heartbeat_s
        self._role = role
        self._neurons: dict[str, dict[str, NeuronRecord]] = {}
        self._count = 0
        self.ignored = 0
        # The dict's method itself: a method around it would double its cost, for every TASK.
        self.knows: Callable[[object], bool] = self._neurons.__contains__
        self._draining: dict[tuple[str, str], float] = {}
        # The id of the last REGISTER, DEREGISTER or draining HEARTBEAT, by Neuron and host.
        self._latest: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._loads: dict[str, _Load] = {}
        self._change: asyncio.Future[None] | None = None
        self._selections = 0
        # No record expires before this time.
        self._next_expiry = float("inf")

    def records(self, capability: str | None = None) -> list[NeuronRecord]:
        """Return the live Neurons, or those that have a capability, ordered by id."""
        self._sweep_if_due()
        found = (record for hosts in self._neurons.values() for record in hosts.values())
        return sorted(
            (record for record in found if capability is None or capability in record.capabilities),
            key=lambda record: (record.neuron_id, record.dendrite),
        )

    def find(self, neuron: str | None, capabilities: Sequence[str]) -> str | None:
        """Return a Neuron that has all ``capabilities``: the one with this id, or the least busy one."""
        self._sweep_if_due()
        names: Iterable[str] = self._neurons if neuron is None else (neuron,)
        able = [name for name in names if self._has_capabilities(name, capabilities)]
        if len(able) > 1:
            least = min(map(self._busyness, able))
            able = [name for name in able if self._busyness(name) <= least]
        if not able:
            return None
        self._selections += 1
        return able[self._selections % len(able)]

    def _busyness(self, neuron: str) -> float:
        load = self._loads.get(neuron)
        return 0 if load is None else (load.own + load.others) / len(self._neurons[neuron])

    def count_dispatch(self, pathway: Pathway) -> None:
        """Count the TASK of a Pathway in the load of its Neuron, until it is answered or the Pathway ends."""
        load = self._loads.get(pathway.neuron)
        if load is None:
            # It left after it was found; nothing would remove its load.
            return
        load.own += 1

        def subtract() -> None:
            load.own -= 1

        pathway.when_settled(subtract)

    def is_hosted(self, neuron: str, dendrite: str) -> bool:
        """Tell whether a Dendrite hosts a Neuron and does not drain it."""
        return dendrite in self._neurons.get(neuron, {})

    def dendrites(self) -> set[str]:
        """Return the Dendrites that host Neurons; draining ones still work, and count."""
        self._sweep_if_due()
        draining = {host for _, host in self._draining}
        return draining.union(*self._neurons.values())

    def _has_capabilities(self, neuron: str, capabilities: Sequence[str]) -> bool:
        # All replicas must have them: the bus decides which of them gets the TASK.
        hosts = self._neurons.get(neuron, {}).values()
        if not capabilities:
            return bool(hosts)
        return bool(hosts) and all(set(capabilities).issubset(record.capabilities) for record in hosts)

    def no_route(self, neuron: str | None, capabilities: Sequence[str]) -> NoRouteError:
        """Make the error for a Neuron that was not found; it names those that are known."""
        needs = " and ".join(map(repr, capabilities))
        noun = self._role.capitalize()
        if neuron is None:
            known = {name for record in self.records() for name in record.capabilities}
            return NoRouteError(f"{noun} with {needs}" if needs else noun, known)
        return NoRouteError(f"{noun} {neuron!r}" + (f" with {needs}" if needs else ""), self._neurons)

    async def wait_for_change(self) -> None:
        """Return when the next record is added or removed, or when `notify` is called."""
        if self._change is None:
            self._change = asyncio.get_running_loop().create_future()
        # Shielded: several callers may wait for the same change.
        await asyncio.shield(self._change)

    def receive(self, signal: Signal) -> None:
        """Record a REGISTER, HEARTBEAT or DEREGISTER."""
        neuron = signal.directed.id if signal.directed is not None else None
        host = signal.meta.get("dendrite", "unknown")
        described = signal.payload if signal.type is SignalType.REGISTER else signal.meta
        # Other implementations may announce no role when a host leaves.
        if neuron is None or not is_token(host) or described.get("role", self._role) != self._role:
            return
        if signal.type is SignalType.HEARTBEAT and signal.payload["status"] != "draining":
            self._refresh(neuron, host, signal)
        elif self._is_latest(neuron, host, signal):
            if signal.type is SignalType.REGISTER:
                self._register(neuron, host, signal)
            elif signal.type is SignalType.DEREGISTER:
                self._depart(neuron, host)
            else:
                self._drain(neuron, host, self._expiry(signal))

    def _is_latest(self, neuron: str, host: str, signal: Signal) -> bool:
        """Tell whether an announcement is not older than the last one: a bus may repeat or delay it."""
        if "dendrite" not in signal.meta:
            # Several hosts have no name, and each has a clock of its own.
            return True
        if signal.id < self._latest.get((neuron, host), ""):
            return False
        self._latest[neuron, host] = signal.id
        self._latest.move_to_end((neuron, host))
        if len(self._latest) > MAX_NEURONS:
            self._latest.popitem(last=False)
        return True

    def _register(self, neuron: str, host: str, signal: Signal) -> None:
        known = self._neurons.get(neuron, {}).get(host)
        if known is None and self._count >= MAX_NEURONS:
            if not self.ignored:
                logger.warning("the directory has %d records; further ones are ignored", MAX_NEURONS)
            self.ignored += 1
            return
        self._count += known is None
        self._draining.pop((neuron, host), None)
        self._neurons.setdefault(neuron, {})[host] = record = NeuronRecord(
            neuron,
            tuple(signal.payload["capabilities"]),
            signal.payload.get("version"),
            host,
            self._expiry(signal),
            _announced_load(signal),
            _announced_seconds(signal, "pulse_s"),
        )
        self._update_load(neuron, record.load - (known.load if known else 0))
        if known is None:
            logger.debug("%s %r is hosted by Dendrite %s", self._role.capitalize(), neuron, host)
        self.notify()

    def _update_load(self, neuron: str, change: int) -> None:
        load = self._loads.setdefault(neuron, _Load())
        load.announced += change
        # The announced load includes the TASKs of this Dendrite.
        load.others = max(0, load.announced - load.own)

    def notify(self) -> None:
        """Wake every caller of `wait_for_change`."""
        change, self._change = self._change, None
        if change is not None and not change.done():
            change.set_result(None)

    def _refresh(self, neuron: str, host: str, signal: Signal) -> None:
        hosts = self._neurons.get(neuron, {})
        if (known := hosts.get(host)) is not None:
            load = _announced_load(signal)
            hosts[host] = attrs.evolve(known, expires=self._expiry(signal), load=load)
            self._update_load(neuron, load - known.load)

    def _expiry(self, signal: Signal) -> float:
        beat = _announced_seconds(signal, "heartbeat_s")
        expires = self._clock() + MISSED_HEARTBEATS * (self._heartbeat_s if beat is None else beat)
        self._next_expiry = min(self._next_expiry, expires)
        return expires

    def _drain(self, neuron: str, host: str, expires: float) -> None:
        if (neuron, host) in self._draining or len(self._draining) < MAX_NEURONS:
            self._draining[neuron, host] = expires
        self._remove(neuron, host)

    def _depart(self, neuron: str, host: str) -> None:
        self._draining.pop((neuron, host), None)
        self._remove(neuron, host)
        self._departed(neuron, host)

    def mark_unreachable(self, neuron: str) -> None:
        """Remove every record of a Neuron until it is announced again: its hosts cannot be reached."""
        for host, record in list(self._neurons.get(neuron, {}).items()):
            self._drain(neuron, host, record.expires)

    def pulse_s(self, neuron: str) -> float | None:
        """Return the longest interval between the work heartbeats of a Neuron's hosts, in seconds.

        It is None if there is no host, or a host that sends none.
        """
        pulses = [record.pulse_s for record in self._neurons.get(neuron, {}).values()]
        known = [pulse for pulse in pulses if pulse is not None]
        return max(known) if known and len(known) == len(pulses) else None

    def _remove(self, neuron: str, host: str) -> None:
        hosts = self._neurons.get(neuron)
        if hosts is not None:
            if (gone := hosts.pop(host, None)) is not None:
                self._count -= 1
                self._update_load(neuron, -gone.load)
                logger.debug(
                    "%s %r is no longer hosted by Dendrite %s", self._role.capitalize(), neuron, host
                )
            if not hosts:
                del self._neurons[neuron]
                self._loads.pop(neuron, None)
            self.notify()

    def sweep(self) -> None:
        """Remove the records whose host has missed `MISSED_HEARTBEATS` of its heartbeats."""
        now = self._clock()
        expiries = dict(self._draining)
        for neuron, hosts in self._neurons.items():
            expiries.update({(neuron, host): record.expires for host, record in hosts.items()})
        self._next_expiry = min(
            (expires for expires in expiries.values() if expires > now), default=float("inf")
        )
        for (neuron, host), expires in expiries.items():
            if expires <= now:
                self._depart(neuron, host)

    def _sweep_if_due(self) -> None:
        # Dendrites with a shorter heartbeat expire between two sweeps of this one.
        if self._clock() >= self._next_expiry:
            self.sweep()


def _announced_seconds(signal: Signal, key: str) -> float | None:
    seconds = signal.meta.get(key)
    return seconds if isinstance(seconds, int | float) and 0 < seconds <= _LONGEST_HEARTBEAT_S else None


def _announced_load(signal: Signal) -> int:
    load = signal.meta.get("load", 0)
    return load if isinstance(load, int) and 0 <= load <= _MAX_LOAD else 0
