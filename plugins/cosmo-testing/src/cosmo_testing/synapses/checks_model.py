"""A state machine drives several peers against a plain model. Needs hypothesis."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from cosmo_testing.conformance.session import Session
from cosmo_testing.conformance.steps import bounded
from cosmo_testing.synapses.model import Conduct, Handler, Model, Place
from cosmo_testing.synapses.network import listen, running, send
from cosmo_testing.synapses.requirements import REQUIREMENTS

if TYPE_CHECKING:
    from hypothesis.stateful import RuleBasedStateMachine

    from cosmo_core.contracts.synapse import Synapse
    from cosmo_testing.synapses.network import Network
    from cosmo_testing.synapses.subject import SynapseUnderTest

MOST_PEERS: Final = 4
MOST_FRAMES: Final = 5
"""How many frames are published in one step: any Synapse has room for them."""
SUBJECTS: Final = ("m.a", "m.b", "m.a.b")
PATTERNS: Final = (*SUBJECTS, "m.*", "m.>", "*.a", "m.*.b")


@REQUIREMENTS.proves("synapse:model")
async def check_model(under_test: SynapseUnderTest) -> None:
    """Let Hypothesis make peers come, subscribe, publish, fail and go, and compare with the model."""
    from hypothesis import HealthCheck, Phase, settings
    from hypothesis.stateful import run_state_machine_as_test

    loop = asyncio.get_running_loop()
    often = settings(
        max_examples=max(1, settings().max_examples // 4),
        stateful_step_count=25,
        deadline=None,
        report_multiple_bugs=False,
        # Every try of a failing one waits for what does not come: shrinking would take minutes.
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    # Hypothesis is not async: it drives the machine from a thread of its own.
    await asyncio.to_thread(run_state_machine_as_test, _machine(under_test, loop), settings=often)


class Steps:
    """What the machine can do, each a coroutine in the session."""

    def __init__(self, under_test: SynapseUnderTest, network: Network) -> None:
        self.room = under_test.room
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
        self.model.end(*(place for place in self.model.places if place.peer is peer))

    async def subscribe(self, index: int, pattern: str, conduct: Conduct, group: str | None) -> None:
        """Subscribe on a peer."""
        peer = self.peers[index % len(self.peers)]
        if peer.guarantees.durable or not peer.guarantees.queue_groups:
            # What waits for a group that is gone is checked by itself: "synapse:durable-waits".
            group = None
        if group is not None:
            # A slow member would hold the publisher back, and what fails is given to another.
            conduct = "prompt"
        handler = Handler(conduct)
        subscription = await listen(peer, pattern, handler, group)
        self.model.places.append(Place(peer, pattern, group, handler, subscription))

    async def unsubscribe(self, index: int) -> None:
        """End a subscription."""
        place = self.model.places[index % len(self.model.places)]
        await bounded("unsubscribe()", place.subscription.unsubscribe())
        self.model.end(place)

    async def publish(self, index: int, subject: str, number: int) -> None:
        """Publish some frames from one peer, and see who gets them."""
        publisher = index % len(self.peers)
        for _ in range(number):
            self._serial += 1
            frame = b"%d:%d" % (id(self.peers[publisher]), self._serial)
            self.model.publish(subject, frame)
            await send(self.peers[publisher], subject, frame)
        await self.network.until("the delivery of what the model expects", self.model.arrived)
        await self.compare()

    async def release(self, index: int) -> None:
        """Let a slow handler finish, and see that every frame is accounted for."""
        slow = [place for place in self.model.places if place.handler.conduct == "slow"]
        if not slow:
            return
        place = slow[index % len(slow)]
        handler = place.handler
        handler.gate.set()
        await self.network.until(
            "draining a slow handler",
            lambda: len(handler.done) + place.subscription.dropped >= len(place.expected),
        )
        await self.network.settle()
        self.model.check_drained(place)
        handler.gate.clear()

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
            # Somebody sees everything, so that hardly a step is without a consequence.
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

        @precondition(lambda self: self.steps.model.places)
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
            self.session.close()

    return Machine
