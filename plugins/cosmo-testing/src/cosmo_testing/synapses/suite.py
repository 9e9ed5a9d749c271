"""The pytest class that proves a Synapse right. Needs pytest and hypothesis, and no plugin of either."""

from __future__ import annotations

import cosmo_testing.synapses.checks  # noqa: F401 - fills the list of what proves the requirements
from cosmo_testing.synapses.subject import SynapseUnderTest

try:
    import hypothesis  # noqa: F401 - some checks need it, and it is better said now than then

    from cosmo_testing.conformance.suite import Conformance
except ImportError as error:
    raise ImportError(
        "SynapseConformance needs pytest and hypothesis: pip install pytest hypothesis"
    ) from error


class SynapseConformance(Conformance, SynapseUnderTest):
    """What every Synapse must do, one test per requirement.

    Subclass it as ``class TestMySynapse(SynapseConformance)`` and fill in what `SynapseUnderTest` asks for.
    A requirement that has no meaning for the Synapse gets its reason in ``not_applicable``. One that it does
    not meet yet is overridden, marked ``@pytest.mark.xfail(reason=…)``.
    """

    def test_shape(self) -> None:
        """It is a `Synapse` with `Guarantees` that fit together and that it can keep."""
        self.prove("synapse:shape")

    def test_connect_twice(self) -> None:
        """Connecting twice is not an error, and nothing comes twice."""
        self.prove("synapse:connect-twice")

    def test_close_twice(self) -> None:
        """Closing twice is not an error, nor is unsubscribing afterwards."""
        self.prove("synapse:close-twice")

    def test_publish_closed(self) -> None:
        """Publishing on a closed Synapse raises a SynapseClosedError."""
        self.prove("synapse:publish-closed")

    def test_subscribe_closed(self) -> None:
        """Subscribing on a closed Synapse raises a SynapseClosedError."""
        self.prove("synapse:subscribe-closed")

    def test_connect_again(self) -> None:
        """A closed Synapse refuses to connect, or works again, with nothing of before."""
        self.prove("synapse:connect-again")

    def test_close_ends_deliveries(self) -> None:
        """Nothing is delivered to a closed Synapse."""
        self.prove("synapse:close-ends-deliveries")

    def test_close_leaves_nothing(self) -> None:
        """A closed Synapse leaves no task, thread, socket or process behind."""
        self.prove("synapse:close-leaves-nothing")

    def test_close_others(self) -> None:
        """A peer that closes in mid flight disturbs no other one."""
        self.prove("synapse:close-others")

    def test_secrets(self) -> None:
        """No secret is in its repr, nor in an error."""
        self.prove("synapse:secrets")

    def test_frame_bytes(self) -> None:
        """A frame arrives byte for byte, whatever is in it."""
        self.prove("synapse:frame-bytes")

    def test_frame_copy(self) -> None:
        """A handler gets `bytes`, which nobody else can change."""
        self.prove("synapse:frame-copy")

    def test_frame_largest(self) -> None:
        """A frame of 0 bytes arrives, and so does the largest."""
        self.prove("synapse:frame-largest")

    def test_frame_too_large(self) -> None:
        """A larger frame is refused with a FrameTooLargeError; nothing of it is sent."""
        self.prove("synapse:frame-too-large")

    def test_frame_once(self) -> None:
        """No frame is lost, and none comes twice."""
        self.prove("synapse:frame-once")

    def test_frame_strangers(self) -> None:
        """What a stranger puts on a subject arrives as it is."""
        self.prove("synapse:frame-strangers")

    def test_order(self) -> None:
        """The frames of one publisher arrive in the order in which it sent them."""
        self.prove("synapse:order")

    def test_publish_concurrent(self) -> None:
        """What a hundred tasks publish at once arrives."""
        self.prove("synapse:publish-concurrent")

    def test_cancel_publish(self) -> None:
        """A cancelled publish ends as cancelled, and the Synapse works on."""
        self.prove("synapse:cancel-publish")

    def test_cancel_subscribe(self) -> None:
        """A cancelled subscribe ends as cancelled, and the Synapse works on."""
        self.prove("synapse:cancel-subscribe")

    def test_thread_publish(self) -> None:
        """A ThreadPublisher publishes while its event loop is blocked."""
        self.prove("synapse:thread-publish")

    def test_thread_elsewhere(self) -> None:
        """What it publishes so comes to other event loops meanwhile."""
        self.prove("synapse:thread-elsewhere")

    def test_fan_out(self) -> None:
        """Every subscriber of a subject gets its frames, on whatever peer it is."""
        self.prove("synapse:fan-out")

    def test_wildcards(self) -> None:
        """`*` stands for one token and a final `>` for one or more, and for nothing else."""
        self.prove("synapse:wildcards")

    def test_isolation(self) -> None:
        """No frame reaches a pattern of another namespace, however alike the names are."""
        self.prove("synapse:isolation")

    def test_malformed_subject(self) -> None:
        """A malformed subject, or a pattern, is refused with a SynapseError."""
        self.prove("synapse:malformed-subject")

    def test_malformed_pattern(self) -> None:
        """A malformed pattern is refused with a SynapseError."""
        self.prove("synapse:malformed-pattern")

    def test_malformed_group(self) -> None:
        """A queue group whose name is no token is refused with a SynapseError."""
        self.prove("synapse:malformed-group")

    def test_subscribe_confirmed(self) -> None:
        """What is published right after a subscribe returned arrives, every time."""
        self.prove("synapse:subscribe-confirmed")

    def test_subscribe_many(self) -> None:
        """A thousand subscriptions work, and go away without leaving anything."""
        self.prove("synapse:subscribe-many")

    def test_subscribe_same(self) -> None:
        """A handler that is subscribed twice is called twice."""
        self.prove("synapse:subscribe-same")

    def test_unsubscribe(self) -> None:
        """Nothing is delivered once unsubscribe returned."""
        self.prove("synapse:unsubscribe")

    def test_unsubscribe_twice(self) -> None:
        """Unsubscribing twice is not an error."""
        self.prove("synapse:unsubscribe-twice")

    def test_unsubscribe_others(self) -> None:
        """Other subscriptions to the subject go on."""
        self.prove("synapse:unsubscribe-others")

    def test_unsubscribe_working(self) -> None:
        """What a handler works on goes on when it is unsubscribed."""
        self.prove("synapse:unsubscribe-working")

    def test_group_one(self) -> None:
        """Each frame goes to one member of a queue group."""
        self.prove("synapse:group-one")

    def test_group_fair(self) -> None:
        """Every member of a queue group gets some of the frames."""
        self.prove("synapse:group-fair")

    def test_group_beside_plain(self) -> None:
        """A queue group takes nothing from the other subscribers, nor they from it."""
        self.prove("synapse:group-beside-plain")

    def test_group_each(self) -> None:
        """Of two queue groups on a subject, each gets every frame."""
        self.prove("synapse:group-each")

    def test_group_patterns(self) -> None:
        """Members of a queue group share what all their patterns match."""
        self.prove("synapse:group-patterns")

    def test_group_leaving(self) -> None:
        """What is published after a member left goes to the others."""
        self.prove("synapse:group-leaving")

    def test_group_holds_back(self) -> None:
        """A full queue group holds the publisher back, and nothing is lost."""
        self.prove("synapse:group-holds-back")

    def test_handler_loop(self) -> None:
        """A handler is called in the event loop of its subscriber."""
        self.prove("synapse:handler-loop")

    def test_handler_raises(self) -> None:
        """A handler that raises, at once or later, disturbs nobody."""
        self.prove("synapse:handler-raises")

    def test_handler_publishes(self) -> None:
        """A handler can publish."""
        self.prove("synapse:handler-publishes")

    def test_handler_unsubscribes(self) -> None:
        """A handler can end its own subscription."""
        self.prove("synapse:handler-unsubscribes")

    def test_slow_bounded(self) -> None:
        """What one slow handler keeps is bounded, and its publisher does not wait."""
        self.prove("synapse:slow-bounded")

    def test_slow_counted(self) -> None:
        """What was sent is what was handled and the drops that were counted, exactly."""
        self.prove("synapse:slow-counted")

    def test_slow_others(self) -> None:
        """A slow handler costs the others no frame."""
        self.prove("synapse:slow-others")

    def test_undelivered_nobody(self) -> None:
        """`undelivered` is told `no_consumers` when none subscribes."""
        self.prove("synapse:undelivered-nobody")

    def test_undelivered_overloaded(self) -> None:
        """`undelivered` is told `overloaded` when none has room; nobody waits."""
        self.prove("synapse:undelivered-overloaded")

    def test_undelivered_once(self) -> None:
        """`undelivered` is called in the event loop, and at most once per frame."""
        self.prove("synapse:undelivered-once")

    def test_undelivered_silent(self) -> None:
        """`undelivered` is not called for what was delivered."""
        self.prove("synapse:undelivered-silent")

    def test_again_failed(self) -> None:
        """A frame whose handler failed is given to a member again."""
        self.prove("synapse:again-failed")

    def test_again_done(self) -> None:
        """A frame that a member is done with is not given to any again."""
        self.prove("synapse:again-done")

    def test_again_dead(self) -> None:
        """What always fails is given `max_deliveries` times, then is a dead letter."""
        self.prove("synapse:again-dead")

    def test_again_closed(self) -> None:
        """What a closing member had not finished, another has within `takeover_s`."""
        self.prove("synapse:again-closed")

    def test_again_held(self) -> None:
        """A frame that is given again says for how long it was held."""
        self.prove("synapse:again-held")

    def test_again_lost(self) -> None:
        """`undelivered` is told `lost` when no other member is there to take over."""
        self.prove("synapse:again-lost")

    def test_durable_waits(self) -> None:
        """On a durable Synapse, frames for a group without members wait for one."""
        self.prove("synapse:durable-waits")

    def test_durable_held(self) -> None:
        """On a durable Synapse, a frame that waited says for how long it was held."""
        self.prove("synapse:durable-held")

    def test_durable_once(self) -> None:
        """On a durable Synapse, frames with the same `message_id` are stored once."""
        self.prove("synapse:durable-once")

    def test_sever_recovers(self) -> None:
        """After a broken connection, subscriptions and publishing work again."""
        self.prove("synapse:sever-recovers")

    def test_sever_takeover(self) -> None:
        """A severed member finishes its work, or another has it within `takeover_s`."""
        self.prove("synapse:sever-takeover")

    def test_restart_recovers(self) -> None:
        """After the server died and came back, both work again."""
        self.prove("synapse:restart-recovers")

    def test_congest_others(self) -> None:
        """A congested peer holds nobody else back."""
        self.prove("synapse:congest-others")

    def test_model(self) -> None:
        """However peers come, subscribe, fail and go: each handler gets what the model says."""
        self.prove("synapse:model")

    def test_dendrite_round_trip(self) -> None:
        """A Dendrite on one peer gets the answer of a Neuron on another."""
        self.prove("synapse:dendrite-round-trip")

    def test_dendrite_no_route(self) -> None:
        """A Neuron that nobody hosts is an error at once."""
        self.prove("synapse:dendrite-no-route")

    def test_dendrite_duplicates(self) -> None:
        """A TASK that comes a thousand times runs once, and has one answer."""
        self.prove("synapse:dendrite-duplicates")

    def test_dendrite_malformed(self) -> None:
        """Frames that are no Signals call no Neuron, and each is counted."""
        self.prove("synapse:dendrite-malformed")

    def test_dendrite_tokens(self) -> None:
        """What is no token is no name of a namespace, a Neuron or a capability."""
        self.prove("synapse:dendrite-tokens")

    def test_dendrite_namespaces(self) -> None:
        """A TASK reaches no Neuron of another namespace."""
        self.prove("synapse:dendrite-namespaces")

    def test_dendrite_too_large(self) -> None:
        """A TASK that is too large fails where it is sent; the next is answered."""
        self.prove("synapse:dendrite-too-large")

    def test_dendrite_cancel(self) -> None:
        """A cancelled caller cancels the Neuron, and nothing is left behind."""
        self.prove("synapse:dendrite-cancel")

    def test_dendrite_storm(self) -> None:
        """A stuck Neuron refuses what is too much, others answer, and all drains."""
        self.prove("synapse:dendrite-storm")

    def test_dendrite_stop(self) -> None:
        """A Dendrite that stops under load loses no TASK, and says goodbye."""
        self.prove("synapse:dendrite-stop")
