"""The state machine requirement: any sequence of events, compared with a model of a Synapse."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Iterable
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs

from cosmo_core.contracts.delivery import Subscription
from cosmo_core.contracts.synapse import Synapse
from cosmo_testing.conformance.kit import requirement
from cosmo_testing.conformance.properties import Session
from cosmo_testing.conformance.steps import bounded, need
from cosmo_testing.synapses.checks.subjects import matches
from cosmo_testing.synapses.network import Network, Worker, listen, running, send
from cosmo_testing.synapses.subject import SynapseUnderTest

if TYPE_CHECKING:
    from hypothesis.stateful import RuleBasedStateMachine

Conduct = Literal["prompt", "raises", "fails", "slow"]


class Handler(Worker):
    """A handler with one of four behaviors that records its frames."""

    def __init__(self, conduct: Conduct) -> None:
        super().__init__()
        self.conduct = conduct

    def __call__(self, frame: bytes) -> Awaitable[None] | None:
        """Handle a frame."""
        if self.conduct == "slow":
            return super().__call__(frame)
        self.note(frame)
        if self.conduct == "raises":
            raise RuntimeError("a handler of the conformance kit raises on purpose")
        return self._fail() if self.conduct == "fails" else None

    async def _fail(self) -> None:
        raise RuntimeError("a handler of the conformance kit fails on purpose")


@attrs.define(eq=False)
class Subscriber:
    """One subscription, as the model knows it.

    Attributes:
        expected: The frames that a plain subscription must get, or that a member may get.
    """

    peer: Synapse
    pattern: str
    group: str | None
    handler: Handler
    subscription: Subscription
    expected: list[bytes] = attrs.field(factory=list)


@attrs.define
class Model:
    """The active and the ended subscriptions.

    Attributes:
        ordered: Whether the order of the frames is checked.
    """

    ordered: bool
    subscribers: list[Subscriber] = attrs.field(factory=list)
    gone: list[Subscriber] = attrs.field(factory=list)
    _shares: list[tuple[list[Subscriber], bytes]] = attrs.field(factory=list)

    def publish(self, subject: str, frame: bytes) -> None:
        """Record who must get a frame: every plain subscriber, and one member of every group."""
        groups: dict[str, list[Subscriber]] = defaultdict(list)
        for subscriber in self.subscribers:
            if matches(subscriber.pattern, subject):
                subscriber.expected.append(frame)
                if subscriber.group is not None:
                    groups[subscriber.group].append(subscriber)
        self._shares += [(members, frame) for members in groups.values()]

    def end(self, *subscribers: Subscriber) -> None:
        """Record that subscriptions have ended."""
        for subscriber in subscribers:
            self.subscribers.remove(subscriber)
            self.gone.append(subscriber)

    def arrived(self) -> bool:
        """Tell whether every frame that active subscriptions must get has arrived."""
        plain = (
            subscriber
            for subscriber in self.subscribers
            if subscriber.group is None and subscriber.handler.conduct != "slow"
        )
        return all(
            len(subscriber.handler.frames) >= len(subscriber.expected) for subscriber in plain
        ) and all(
            sum(member.handler.frames.count(frame) for member in members) for members, frame in self._shares
        )

    def check(self) -> None:
        """Compare the received frames with the expected ones.

        Raises:
            UnmetError: They differ.
        """
        for subscriber in (*self.subscribers, *self.gone):
            came, sent = subscriber.handler.frames, subscriber.expected
            if subscriber.group is None and subscriber.handler.conduct != "slow":
                need(sorted(came) == sorted(sent), f"{subscriber.pattern} got {_differ(came, sent)}")
            need(not Counter(came) - Counter(sent), f"{subscriber.pattern} got {_differ(came, sent)}")
            need(
                not self.ordered or _in_order(came, sent),
                f"{subscriber.pattern} got {came}; {sent} were sent",
            )
        for members, frame in self._shares:
            times = sum(member.handler.frames.count(frame) for member in members)
            need(times == 1, f"{times} members of {members[0].group!r} got {frame!r}")

    def check_drained(self, subscriber: Subscriber) -> None:
        """Compare the handled and the dropped frames of a slow handler with the sent ones."""
        handled, dropped, sent = (
            len(subscriber.handler.done),
            subscriber.subscription.dropped,
            len(subscriber.expected),
        )
        need(
            handled + dropped == sent,
            f"{subscriber.pattern}: {sent} were sent, {handled} handled, {dropped} counted as dropped",
        )


def _differ(came: Iterable[bytes], sent: Iterable[bytes]) -> str:
    more, less = Counter(came) - Counter(sent), Counter(sent) - Counter(came)
    return f"{sorted(more)} in excess, and lacks {sorted(less)}"


def _in_order(came: list[bytes], sent: list[bytes]) -> bool:
    for publisher in {frame.partition(b":")[0] for frame in came}:
        mine = iter([frame for frame in sent if frame.startswith(publisher + b":")])
        if not all(frame in mine for frame in came if frame.startswith(publisher + b":")):
            return False
    return True


MOST_PEERS: Final = 4
MOST_FRAMES: Final = 5
"""The number of frames in one step: within the capacity of any Synapse."""
SUBJECTS: Final = ("m.a", "m.b", "m.a.b")
PATTERNS: Final = (*SUBJECTS, "m.*", "m.>", "*.a", "m.*.b")


@requirement(
    "synapse:model",
    "For any sequence of connects, subscribes, failures and closes, each handler MUST get the frames "
    "that the model predicts.",
)
async def check_model(under_test: SynapseUnderTest) -> None:
    """Run generated sequences of connects, subscribes, publishes, failures and closes."""
    from hypothesis import HealthCheck, Phase, settings
    from hypothesis.stateful import run_state_machine_as_test

    loop = asyncio.get_running_loop()
    often = settings(
        max_examples=max(1, settings().max_examples // 4),
        stateful_step_count=25,
        deadline=None,
        report_multiple_bugs=False,
        # Each failing attempt waits for a timeout: shrinking would take minutes.
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    # Hypothesis is synchronous: it runs in a thread of its own.
    await asyncio.to_thread(run_state_machine_as_test, _machine(under_test, loop), settings=often)


class Steps:
    """The actions of the machine, each a coroutine in the session."""

    def __init__(self, under_test: SynapseUnderTest, network: Network) -> None:
        self.capacity = under_test.capacity
        self.network = network
        self.peers: list[Synapse] = []
        self.model = Model(ordered=True)
        self._serial = 0

    async def join(self) -> None:
        """Connect one more peer."""
        self.peers.append(await self.network.peer())
        self.model.ordered = self.peers[0].guarantees.ordering != "none"

    async def leave(self, index: int) -> None:
        """Close a peer."""
        peer = self.peers.pop(index % len(self.peers))
        await self.network.close(peer)
        self.model.end(*(subscriber for subscriber in self.model.subscribers if subscriber.peer is peer))

    async def subscribe(self, index: int, pattern: str, conduct: Conduct, group: str | None) -> None:
        """Subscribe on a peer."""
        peer = self.peers[index % len(self.peers)]
        if peer.guarantees.durable or not peer.guarantees.queue_groups:
            # Frames that wait for a group without members have their own check, "synapse:durable-waits".
            group = None
        if group is not None:
            # A slow member would block the publisher, and a failed frame goes to another member.
            conduct = "prompt"
        handler = Handler(conduct)
        subscription = await listen(peer, pattern, handler, group)
        self.model.subscribers.append(Subscriber(peer, pattern, group, handler, subscription))

    async def unsubscribe(self, index: int) -> None:
        """End a subscription."""
        subscriber = self.model.subscribers[index % len(self.model.subscribers)]
        await bounded("unsubscribe()", subscriber.subscription.unsubscribe())
        self.model.end(subscriber)

    async def publish(self, index: int, subject: str, number: int) -> None:
        """Publish some frames from one peer, and wait for their delivery."""
        publisher = index % len(self.peers)
        for _ in range(number):
            self._serial += 1
            frame = b"%d:%d" % (id(self.peers[publisher]), self._serial)
            self.model.publish(subject, frame)
            await send(self.peers[publisher], subject, frame)
        await self.network.until("the delivery of what the model expects", self.model.arrived)
        await self.compare()

    async def release(self, index: int) -> None:
        """Let a slow handler finish, and account for every frame."""
        slow = [subscriber for subscriber in self.model.subscribers if subscriber.handler.conduct == "slow"]
        if not slow:
            return
        subscriber = slow[index % len(slow)]
        handler = subscriber.handler
        handler.gate.set()
        await self.network.until(
            "draining a slow handler",
            lambda: len(handler.done) + subscriber.subscription.dropped >= len(subscriber.expected),
        )
        await self.network.settle()
        self.model.check_drained(subscriber)
        handler.gate.clear()

    async def end(self) -> None:
        """Let every slow handler finish, also that of an ended subscription, which `close` may not cancel."""
        for subscriber in (*self.model.subscribers, *self.model.gone):
            subscriber.handler.gate.set()
        await self.network.settle(rounds=1)

    async def compare(self) -> None:
        """Compare with the model."""
        await self.network.settle(rounds=1)
        self.model.check()


def _machine(under_test: SynapseUnderTest, loop: asyncio.AbstractEventLoop) -> type[RuleBasedStateMachine]:
    from hypothesis import strategies as st
    from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

    any_index = st.integers(0, 20)
    conducts: Any = st.sampled_from(["prompt", "prompt", "raises", "fails", "slow"])

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.session = Session(running(under_test), loop)
            network, _ = self.session.given
            self.steps = Steps(under_test, network)
            self.session.run(self.steps.join())
            # One subscriber gets every frame, so that most steps have an effect.
            self.session.run(self.steps.subscribe(0, "m.>", "prompt", None))

        @precondition(lambda self: len(self.steps.peers) < MOST_PEERS)
        @rule()
        def join(self) -> None:
            self.session.run(self.steps.join())

        @precondition(lambda self: len(self.steps.peers) > 1)
        @rule(index=any_index)
        def leave(self, index: int) -> None:
            self.session.run(self.steps.leave(index))

        @rule(
            index=any_index,
            pattern=st.sampled_from(PATTERNS),
            conduct=conducts,
            group=st.sampled_from([None, None, "g", "h"]),
        )
        def subscribe(self, index: int, pattern: str, conduct: Conduct, group: str | None) -> None:
            self.session.run(self.steps.subscribe(index, pattern, conduct, group))

        @precondition(lambda self: self.steps.model.subscribers)
        @rule(index=any_index)
        def unsubscribe(self, index: int) -> None:
            self.session.run(self.steps.unsubscribe(index))

        @rule(index=any_index, subject=st.sampled_from(SUBJECTS), number=st.integers(1, MOST_FRAMES))
        def publish(self, index: int, subject: str, number: int) -> None:
            self.session.run(self.steps.publish(index, subject, number))

        @rule(index=any_index)
        def release(self, index: int) -> None:
            self.session.run(self.steps.release(index))

        def teardown(self) -> None:
            try:
                self.session.run(self.steps.end())
            finally:
                self.session.close()

    return Machine
