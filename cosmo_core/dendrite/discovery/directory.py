"""The directory of the live Neurons or Engrams of a namespace, built from their announcements."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec

from cosmo_core.contracts.boundary import logger
from cosmo_core.contracts.pathway import Pathway
from cosmo_core.dendrite.discovery.ordering import Expiries, Key, Ranking
from cosmo_core.errors import NoRouteError
from cosmo_core.protocol.ids import is_token
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType

MISSED_HEARTBEATS: Final = 3
"""The number of missed heartbeats after which a Neuron is removed (P-4.6)."""

MAX_NEURONS: Final = 100_000
"""The number of records in a directory, one for each host of a Neuron; further ones are ignored (P-4.13)."""

MAX_RANKINGS: Final = 1_024
"""The sets of wanted capabilities whose Neurons a directory keeps in order; the latest asked for are kept."""

MAX_RANKED: Final = 400_000
"""The number of Neurons in all these orders together."""

SWEEP_SLICE: Final = 200
"""The number of records that one call of `Directory.sweep` looks at."""

_LONGEST_HEARTBEAT_S: Final = 86_400.0
_MAX_LOAD: Final = 1_000_000


class NeuronRecord(msgspec.Struct, frozen=True):
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


@lru_cache(maxsize=1_024)
def _shared(capabilities: tuple[str, ...]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return capabilities, and their set; the same objects for equal ones, which many Neurons have."""
    return capabilities, frozenset(capabilities)


class _Neuron(msgspec.Struct, eq=False):
    """What is known of one Neuron.

    Attributes:
        hosts: Its records, by Dendrite.
        able: The capabilities that all hosts have: the bus decides which of them gets a TASK.
        own: The unanswered TASKs that this Dendrite dispatched by capability.
        announced: The sum of the loads that its hosts announced.
        others: The TASKs of other Dendrites, from the last announcement.
        busyness: Its load divided by the number of hosts.
        rankings: The rankings that it is in, by the wanted capabilities.
    """

    hosts: dict[str, NeuronRecord] = {}
    able: frozenset[str] = frozenset()
    own: int = 0
    announced: int = 0
    others: int = 0
    busyness: float = 0.0
    rankings: dict[frozenset[str], Ranking] = {}


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
        self._neurons: dict[str, _Neuron] = {}
        self._count = 0
        self.ignored = 0
        # The dict's method itself: a method around it would double its cost, for every TASK.
        self.knows: Callable[[object], bool] = self._neurons.__contains__
        # The times when draining hosts count as gone.
        self._draining: dict[Key, float] = {}
        self._expiries = Expiries()
        # The number of Neurons that each Dendrite hosts or drains.
        self._dendrites: dict[str, int] = {}
        # The id of the last REGISTER, DEREGISTER or draining HEARTBEAT, by Neuron and host.
        self._latest: OrderedDict[Key, str] = OrderedDict()
        # By capability, the Neurons that have it, and the number of their hosts that announced it.
        self._index: dict[str, dict[str, int]] = {}
        # By the wanted capabilities, the latest asked for last; and these sets by one of their capabilities.
        self._rankings: OrderedDict[frozenset[str], Ranking] = OrderedDict()
        self._wanted: dict[str, set[frozenset[str]]] = {}
        self._ranked = 0
        self._change: asyncio.Future[None] | None = None

    def records(self, capability: str | None = None) -> list[NeuronRecord]:
        """Return the live Neurons, or those that have a capability, ordered by id."""
        self._sweep_all()
        names: Iterable[str] = self._neurons if capability is None else self._index.get(capability, ())
        found = (record for name in names for record in self._neurons[name].hosts.values())
        return sorted(
            (record for record in found if capability is None or capability in record.capabilities),
            key=lambda record: (record.neuron_id, record.dendrite),
        )

    def find(self, neuron: str | None, capabilities: Sequence[str]) -> str | None:
        """Return a Neuron that has all ``capabilities``: the one with this id, or the least busy one."""
        self.sweep()
        if neuron is not None:
            able = self._is_live(neuron) and self._neurons[neuron].able.issuperset(capabilities)
            return neuron if able else None
        ranking = self._ranking(frozenset(capabilities))
        found = ranking.next_turn()
        while found is not None and not self._is_live(found):
            found = ranking.next_turn()
        return found

    def _is_live(self, neuron: str) -> bool:
        """Tell whether a Neuron has a live host; if all have expired, remove it."""
        known = self._neurons.get(neuron)
        if known is None:
            return False
        now = self._clock()
        if any(record.expires > now for record in known.hosts.values()):
            return True
        # There were more than one sweep looks at.
        for host in list(known.hosts):
            self._depart(neuron, host)
        return False

    def _ranking(self, wanted: frozenset[str]) -> Ranking:
        """Return the order of the Neurons that have all wanted capabilities; it is kept up to date."""
        ranking = self._rankings.get(wanted)
        if ranking is None:
            ranking = self._rankings[wanted] = Ranking()
            self._wanted.setdefault(min(wanted, default=""), set()).add(wanted)
            rarest = min(wanted, key=lambda each: len(self._index.get(each, ())), default=None)
            for name in self._neurons if rarest is None else self._index.get(rarest, ()):
                self._rank(name, wanted)
            self._forget_rankings()
        else:
            self._rankings.move_to_end(wanted)
        return ranking

    def _rank(self, name: str, wanted: frozenset[str]) -> None:
        neuron = self._neurons[name]
        if wanted <= neuron.able:
            neuron.rankings[wanted] = ranking = self._rankings[wanted]
            ranking.add(name, neuron.busyness)
            self._ranked += 1

    def _forget_rankings(self) -> None:
        while len(self._rankings) > MAX_RANKINGS or (self._ranked > MAX_RANKED and len(self._rankings) > 1):
            wanted, ranking = self._rankings.popitem(last=False)
            for name in ranking:
                del self._neurons[name].rankings[wanted]
            self._ranked -= len(ranking)
            sets = self._wanted[min(wanted, default="")]
            sets.discard(wanted)
            if not sets:
                del self._wanted[min(wanted, default="")]

    def count_dispatch(self, pathway: Pathway) -> None:
        """Count the TASK of a Pathway in the load of its Neuron, until it is answered or the Pathway ends."""
        name = pathway.neuron
        neuron = self._neurons.get(name)
        if neuron is None:
            # It left after it was found; nothing would remove its load.
            return
        neuron.own += 1
        self._weigh(name, neuron)

        def subtract() -> None:
            neuron.own -= 1
            self._weigh(name, neuron)

        pathway.when_settled(subtract)

    def _weigh(self, name: str, neuron: _Neuron) -> None:
        """Update the busyness of a Neuron, and its place in the rankings."""
        busyness = (neuron.own + neuron.others) / (len(neuron.hosts) or 1)
        if busyness != neuron.busyness:
            for ranking in neuron.rankings.values():
                ranking.remove(name, neuron.busyness)
                ranking.add(name, busyness)
            neuron.busyness = busyness

    def is_hosted(self, neuron: str, dendrite: str) -> bool:
        """Tell whether a Dendrite hosts a Neuron and does not drain it."""
        known = self._neurons.get(neuron)
        return known is not None and dendrite in known.hosts

    def dendrites(self) -> set[str]:
        """Return the Dendrites that host Neurons; draining ones still work, and count."""
        self._sweep_all()
        return set(self._dendrites)

    def no_route(self, neuron: str | None, capabilities: Sequence[str]) -> NoRouteError:
        """Make the error for a Neuron that was not found; it names those that are known."""
        needs = " and ".join(map(repr, capabilities))
        noun = self._role.capitalize()
        if neuron is None:
            self._sweep_all()
            return NoRouteError(f"{noun} with {needs}" if needs else noun, self._index)
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
        elif signal.type is SignalType.REGISTER:
            self._register(neuron, host, signal, signal.payload, signal.meta)
            for other in signal.payload.get("others") or ():
                self._register(other["id"], host, signal, other, other)
        elif self._is_latest((neuron, host), signal):
            if signal.type is SignalType.DEREGISTER:
                self._depart(neuron, host)
            else:
                self._drain(neuron, host, self._expiry(signal))

    def _is_latest(self, key: Key, signal: Signal) -> bool:
        """Tell whether an announcement is not older than the last one: a bus may repeat or delay it."""
        if "dendrite" not in signal.meta:
            # Several hosts have no name, and each has a clock of its own.
            return True
        if signal.id < self._latest.get(key, ""):
            return False
        self._latest[key] = signal.id
        self._latest.move_to_end(key)
        if len(self._latest) > MAX_NEURONS:
            self._latest.popitem(last=False)
        return True

    def _register(
        self,
        name: str,
        host: str,
        signal: Signal,
        described: Mapping[str, Any],
        loaded: Mapping[str, Any],
    ) -> None:
        key = name, host
        if not self._is_latest(key, signal):
            return
        neuron = self._neurons.get(name)
        before = None if neuron is None else neuron.hosts.get(host)
        if before is None and self._count >= MAX_NEURONS:
            if not self.ignored:
                logger.warning("the directory has %d records; further ones are ignored", MAX_NEURONS)
            self.ignored += 1
            return
        if neuron is None:
            neuron = self._neurons[name] = _Neuron()
        if before is None:
            self._count += 1
            if self._draining.pop(key, None) is None:
                self._count_neuron(host, 1)
            logger.debug("%s %r is hosted by Dendrite %s", self._role.capitalize(), name, host)
        neuron.hosts[host] = record = NeuronRecord(
            name,
            _shared(tuple(described["capabilities"]))[0],
            described.get("version"),
            host,
            self._expiry(signal),
            _announced_load(loaded),
            _announced_seconds(signal, "pulse_s"),
        )
        self._expiries.add(key, record.expires)
        if before is None or before.capabilities != record.capabilities:
            self._update_capabilities(name, neuron, before, record)
            self.notify()
        self._update_load(name, neuron, record.load - (before.load if before else 0))

    def _update_capabilities(
        self, name: str, neuron: _Neuron, before: NeuronRecord | None, after: NeuronRecord | None
    ) -> None:
        """Update the index, and the rankings that a Neuron is in, when one of its hosts changed."""
        had = set(before.capabilities) if before else set[str]()
        has = set(after.capabilities) if after else set[str]()
        for capability in has - had:
            names = self._index.setdefault(capability, {})
            names[name] = names.get(name, 0) + 1
        for capability in had - has:
            names = self._index[capability]
            names[name] -= 1
            if not names[name]:
                del names[name]
            if not names:
                del self._index[capability]
        for ranking in neuron.rankings.values():
            ranking.remove(name, neuron.busyness)
        self._ranked -= len(neuron.rankings)
        neuron.rankings.clear()
        hosts = len(neuron.hosts)
        some = next(iter(neuron.hosts.values())).capabilities if hosts else ()
        neuron.able = _shared(tuple(each for each in some if self._index[each][name] == hosts))[1]
        if hosts:
            for capability in ("", *neuron.able):
                for wanted in self._wanted.get(capability, ()):
                    self._rank(name, wanted)
            self._forget_rankings()

    def _update_load(self, name: str, neuron: _Neuron, change: int) -> None:
        neuron.announced += change
        # The announced load includes the TASKs of this Dendrite.
        neuron.others = max(0, neuron.announced - neuron.own)
        self._weigh(name, neuron)

    def _count_neuron(self, host: str, change: int) -> None:
        self._dendrites[host] = self._dendrites.get(host, 0) + change
        if not self._dendrites[host]:
            del self._dendrites[host]

    def notify(self) -> None:
        """Wake every caller of `wait_for_change`."""
        change, self._change = self._change, None
        if change is not None and not change.done():
            change.set_result(None)

    def _refresh(self, name: str, host: str, signal: Signal) -> None:
        neuron = self._neurons.get(name)
        if neuron is not None and (known := neuron.hosts.get(host)) is not None:
            load = _announced_load(signal.meta)
            # Not with attrs.evolve, which takes as long as the rest together.
            neuron.hosts[host] = NeuronRecord(
                name,
                known.capabilities,
                known.version,
                host,
                self._expiry(signal),
                load,
                known.pulse_s,
            )
            self._expiries.add((name, host), neuron.hosts[host].expires)
            self._update_load(name, neuron, load - known.load)

    def _expiry(self, signal: Signal) -> float:
        beat = _announced_seconds(signal, "heartbeat_s")
        return self._clock() + MISSED_HEARTBEATS * (self._heartbeat_s if beat is None else beat)

    def _drain(self, neuron: str, host: str, expires: float) -> None:
        key = neuron, host
        known = self.is_hosted(neuron, host) or key in self._draining
        if key in self._draining or len(self._draining) < MAX_NEURONS:
            self._draining[key] = expires
            self._expiries.add(key, expires)
            self._count_neuron(host, 0 if known else 1)
        elif known:
            self._forget(key)
        self._remove(neuron, host)

    def _depart(self, neuron: str, host: str) -> None:
        key = neuron, host
        if self._draining.pop(key, None) is not None or self.is_hosted(neuron, host):
            self._forget(key)
        self._remove(neuron, host)
        self._departed(neuron, host)

    def _forget(self, key: Key) -> None:
        self._expiries.discard(key)
        self._count_neuron(key[1], -1)

    def mark_unreachable(self, neuron: str) -> None:
        """Remove every record of a Neuron until it is announced again: its hosts cannot be reached."""
        known = self._neurons.get(neuron)
        for host, record in list(known.hosts.items()) if known else ():
            self._drain(neuron, host, record.expires)

    def pulse_s(self, neuron: str) -> float | None:
        """Return the longest interval between the work heartbeats of a Neuron's hosts, in seconds.

        It is None if there is no host, or a host that sends none.
        """
        known = self._neurons.get(neuron)
        pulses = [record.pulse_s for record in known.hosts.values()] if known else []
        sent = [pulse for pulse in pulses if pulse is not None]
        return max(sent) if sent and len(sent) == len(pulses) else None

    def _remove(self, name: str, host: str) -> None:
        neuron = self._neurons.get(name)
        gone = None if neuron is None else neuron.hosts.pop(host, None)
        if neuron is None or gone is None:
            return
        self._count -= 1
        self._update_capabilities(name, neuron, gone, None)
        self._update_load(name, neuron, -gone.load)
        if not neuron.hosts:
            del self._neurons[name]
        logger.debug("%s %r is no longer hosted by Dendrite %s", self._role.capitalize(), name, host)
        self.notify()

    def sweep(self) -> bool:
        """Remove records whose host has missed `MISSED_HEARTBEATS` of its heartbeats.

        Returns:
            Whether more than `SWEEP_SLICE` records were due, so that another call may remove more.
        """
        now = self._clock()
        for _ in range(SWEEP_SLICE):
            key = self._expiries.pop(now)
            if key is None:
                return False
            neuron, host = key
            hosted = self.is_hosted(neuron, host)
            expires = self._neurons[neuron].hosts[host].expires if hosted else self._draining[key]
            if expires > now:
                self._expiries.add(key, expires)
            else:
                self._depart(neuron, host)
        return True

    def _sweep_all(self) -> None:
        while self.sweep():
            pass


def _announced_seconds(signal: Signal, key: str) -> float | None:
    seconds = signal.meta.get(key)
    return seconds if isinstance(seconds, int | float) and 0 < seconds <= _LONGEST_HEARTBEAT_S else None


def _announced_load(loaded: Mapping[str, Any]) -> int:
    load = loaded.get("load", 0)
    return load if isinstance(load, int) and 0 <= load <= _MAX_LOAD else 0
