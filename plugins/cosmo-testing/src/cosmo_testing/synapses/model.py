"""What a Synapse does, in as plain words as there are: who must have got what."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Literal

import attrs

from cosmo_testing.conformance.steps import need
from cosmo_testing.synapses.checks_subjects import matches
from cosmo_testing.synapses.network import Worker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from cosmo_core.contracts.delivery import Subscription
    from cosmo_core.contracts.synapse import Synapse

Conduct = Literal["prompt", "raises", "fails", "slow"]


class Handler(Worker):
    """A handler that behaves in one of four ways, and remembers what it was called with."""

    def __init__(self, conduct: Conduct) -> None:
        super().__init__()
        self.conduct = conduct

    def __call__(self, frame: bytes) -> Awaitable[None] | None:
        """Take a frame."""
        if self.conduct == "slow":
            return super().__call__(frame)
        self.note(frame)
        if self.conduct == "raises":
            raise RuntimeError("a handler of the conformance kit raises on purpose")
        return self._fail() if self.conduct == "fails" else None

    async def _fail(self) -> None:
        raise RuntimeError("a handler of the conformance kit fails on purpose")


@attrs.define(eq=False)
class Place:
    """One subscription, and what the model knows of it.

    Attributes:
        expected: For a plain one, every frame that it must get; for a member, all that it may get.
    """

    peer: Synapse
    pattern: str
    group: str | None
    handler: Handler
    subscription: Subscription
    expected: list[bytes] = attrs.field(factory=list)


@attrs.define
class Model:
    """Every subscription that lives, and every one that did.

    Attributes:
        ordered: Whether the order of the frames is looked at.
    """

    ordered: bool
    places: list[Place] = attrs.field(factory=list)
    gone: list[Place] = attrs.field(factory=list)
    _shares: list[tuple[list[Place], bytes]] = attrs.field(factory=list)

    def publish(self, subject: str, frame: bytes) -> None:
        """Note who must get a frame: every plain subscriber, and one member of every group."""
        groups: dict[str, list[Place]] = defaultdict(list)
        for place in self.places:
            if matches(place.pattern, subject):
                place.expected.append(frame)
                if place.group is not None:
                    groups[place.group].append(place)
        self._shares += [(members, frame) for members in groups.values()]

    def end(self, *places: Place) -> None:
        """Note that subscriptions have ended."""
        for place in places:
            self.places.remove(place)
            self.gone.append(place)

    def arrived(self) -> bool:
        """Tell whether all has come that must come to those who live."""
        plain = (place for place in self.places if place.group is None and place.handler.conduct != "slow")
        return all(len(place.handler.frames) >= len(place.expected) for place in plain) and all(
            sum(member.handler.frames.count(frame) for member in members) for members, frame in self._shares
        )

    def check(self) -> None:
        """Compare what came with what must have come.

        Raises:
            UnmetError: They differ.
        """
        for place in (*self.places, *self.gone):
            came, sent = place.handler.frames, place.expected
            if place.group is None and place.handler.conduct != "slow":
                need(sorted(came) == sorted(sent), f"{place.pattern} got {_differ(came, sent)}")
            need(not Counter(came) - Counter(sent), f"{place.pattern} got {_differ(came, sent)}")
            need(not self.ordered or _in_order(came, sent), f"{place.pattern} got {came}, sent were {sent}")
        for members, frame in self._shares:
            times = sum(member.handler.frames.count(frame) for member in members)
            need(times == 1, f"{times} members of {members[0].group!r} got {frame!r}")

    def check_drained(self, place: Place) -> None:
        """Compare what a slow handler did, and what was dropped for it, with what was sent to it."""
        handled, dropped, sent = len(place.handler.done), place.subscription.dropped, len(place.expected)
        need(
            handled + dropped == sent,
            f"{place.pattern}: {sent} were sent, {handled} handled, {dropped} counted as dropped",
        )


def _differ(came: Iterable[bytes], sent: Iterable[bytes]) -> str:
    more, less = Counter(came) - Counter(sent), Counter(sent) - Counter(came)
    return f"{sorted(more)} that it must not have, and lacks {sorted(less)}"


def _in_order(came: list[bytes], sent: list[bytes]) -> bool:
    for publisher in {frame.partition(b":")[0] for frame in came}:
        mine = iter([frame for frame in sent if frame.startswith(publisher + b":")])
        if not all(frame in mine for frame in came if frame.startswith(publisher + b":")):
            return False
    return True
