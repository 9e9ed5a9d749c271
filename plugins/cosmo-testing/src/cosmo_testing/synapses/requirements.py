"""What a Synapse must do: every requirement of the kit, by its id."""

from __future__ import annotations

from typing import Final

from cosmo_testing.conformance.requirements import Requirements

_CONNECTION: Final = {
    "synapse:shape": "It is a `Synapse` with `Guarantees` that fit together and that it can keep.",
    "synapse:connect-twice": "Connecting twice is not an error, and nothing comes twice.",
    "synapse:close-twice": "Closing twice is not an error, nor is unsubscribing afterwards.",
    "synapse:publish-closed": "Publishing on a closed Synapse raises a SynapseClosedError.",
    "synapse:subscribe-closed": "Subscribing on a closed Synapse raises a SynapseClosedError.",
    "synapse:connect-again": "A closed Synapse refuses to connect, or works again, with nothing of before.",
    "synapse:close-ends-deliveries": "Nothing is delivered to a closed Synapse.",
    "synapse:close-leaves-nothing": "A closed Synapse leaves no task, thread, socket or process behind.",
    "synapse:close-others": "A peer that closes in mid flight disturbs no other one.",
    "synapse:secrets": "No secret is in its repr, nor in an error.",
}

_FRAMES: Final = {
    "synapse:frame-bytes": "A frame arrives byte for byte, whatever is in it.",
    "synapse:frame-copy": "A handler gets `bytes`, which nobody else can change.",
    "synapse:frame-largest": "A frame of 0 bytes arrives, and so does the largest.",
    "synapse:frame-too-large": "A larger frame is refused with a FrameTooLargeError; nothing of it is sent.",
    "synapse:frame-once": "No frame is lost, and none comes twice.",
    "synapse:frame-strangers": "What a stranger puts on a subject arrives as it is.",
    "synapse:order": "The frames of one publisher arrive in the order in which it sent them.",
    "synapse:publish-concurrent": "What a hundred tasks publish at once arrives.",
    "synapse:cancel-publish": "A cancelled publish ends as cancelled, and the Synapse works on.",
    "synapse:cancel-subscribe": "A cancelled subscribe ends as cancelled, and the Synapse works on.",
    "synapse:thread-publish": "A ThreadPublisher publishes while its event loop is blocked.",
    "synapse:thread-elsewhere": "What it publishes so comes to other event loops meanwhile.",
}

_SUBJECTS: Final = {
    "synapse:fan-out": "Every subscriber of a subject gets its frames, on whatever peer it is.",
    "synapse:wildcards": "`*` stands for one token and a final `>` for one or more, and for nothing else.",
    "synapse:isolation": "No frame reaches a pattern of another namespace, however alike the names are.",
    "synapse:malformed-subject": "A malformed subject, or a pattern, is refused with a SynapseError.",
    "synapse:malformed-pattern": "A malformed pattern is refused with a SynapseError.",
    "synapse:malformed-group": "A queue group whose name is no token is refused with a SynapseError.",
}

_SUBSCRIPTIONS: Final = {
    "synapse:subscribe-confirmed": "What is published right after a subscribe returned arrives, every time.",
    "synapse:subscribe-many": "A thousand subscriptions work, and go away without leaving anything.",
    "synapse:subscribe-same": "A handler that is subscribed twice is called twice.",
    "synapse:unsubscribe": "Nothing is delivered once unsubscribe returned.",
    "synapse:unsubscribe-twice": "Unsubscribing twice is not an error.",
    "synapse:unsubscribe-others": "Other subscriptions to the subject go on.",
    "synapse:unsubscribe-working": "What a handler works on goes on when it is unsubscribed.",
}

_GROUPS: Final = {
    "synapse:group-one": "Each frame goes to one member of a queue group.",
    "synapse:group-fair": "Every member of a queue group gets some of the frames.",
    "synapse:group-beside-plain": "A queue group takes nothing from the other subscribers, nor they from it.",
    "synapse:group-each": "Of two queue groups on a subject, each gets every frame.",
    "synapse:group-patterns": "Members of a queue group share what all their patterns match.",
    "synapse:group-leaving": "What is published after a member left goes to the others.",
    "synapse:group-holds-back": "A full queue group holds the publisher back, and nothing is lost.",
}

_HANDLERS: Final = {
    "synapse:handler-loop": "A handler is called in the event loop of its subscriber.",
    "synapse:handler-raises": "A handler that raises, at once or later, disturbs nobody.",
    "synapse:handler-publishes": "A handler can publish.",
    "synapse:handler-unsubscribes": "A handler can end its own subscription.",
    "synapse:slow-bounded": "What one slow handler keeps is bounded, and its publisher does not wait.",
    "synapse:slow-counted": "What was sent is what was handled and the drops that were counted, exactly.",
    "synapse:slow-others": "A slow handler costs the others no frame.",
}

_UNDELIVERED: Final = {
    "synapse:undelivered-nobody": "`undelivered` is told `no_consumers` when none subscribes.",
    "synapse:undelivered-overloaded": "`undelivered` is told `overloaded` when none has room; nobody waits.",
    "synapse:undelivered-once": "`undelivered` is called in the event loop, and at most once per frame.",
    "synapse:undelivered-silent": "`undelivered` is not called for what was delivered.",
}

_AT_LEAST_ONCE: Final = {
    "synapse:again-failed": "A frame whose handler failed is given to a member again.",
    "synapse:again-done": "A frame that a member is done with is not given to any again.",
    "synapse:again-dead": "What always fails is given `max_deliveries` times, then is a dead letter.",
    "synapse:again-closed": "What a closing member had not finished, another has within `takeover_s`.",
    "synapse:again-held": "A frame that is given again says for how long it was held.",
    "synapse:again-lost": "`undelivered` is told `lost` when no other member is there to take over.",
    "synapse:durable-waits": "On a durable Synapse, frames for a group without members wait for one.",
    "synapse:durable-held": "On a durable Synapse, a frame that waited says for how long it was held.",
    "synapse:durable-once": "On a durable Synapse, frames with the same `message_id` are stored once.",
}

_FAULTS: Final = {
    "synapse:sever-recovers": "After a broken connection, subscriptions and publishing work again.",
    "synapse:sever-takeover": "A severed member finishes its work, or another has it within `takeover_s`.",
    "synapse:restart-recovers": "After the server died and came back, both work again.",
    "synapse:congest-others": "A congested peer holds nobody else back.",
    "synapse:model": "However peers come, subscribe, fail and go: each handler gets what the model says.",
}

_DENDRITES: Final = {
    "synapse:dendrite-round-trip": "A Dendrite on one peer gets the answer of a Neuron on another.",
    "synapse:dendrite-no-route": "A Neuron that nobody hosts is an error at once.",
    "synapse:dendrite-duplicates": "A TASK that comes a thousand times runs once, and has one answer.",
    "synapse:dendrite-malformed": "Frames that are no Signals call no Neuron, and each is counted.",
    "synapse:dendrite-tokens": "What is no token is no name of a namespace, a Neuron or a capability.",
    "synapse:dendrite-namespaces": "A TASK reaches no Neuron of another namespace.",
    "synapse:dendrite-too-large": "A TASK that is too large fails where it is sent; the next is answered.",
    "synapse:dendrite-cancel": "A cancelled caller cancels the Neuron, and nothing is left behind.",
    "synapse:dendrite-storm": "A stuck Neuron refuses what is too much, others answer, and all drains.",
    "synapse:dendrite-stop": "A Dendrite that stops under load loses no TASK, and says goodbye.",
}

_TEXTS_0_1: Final = {
    **_CONNECTION,
    **_FRAMES,
    **_SUBJECTS,
    **_SUBSCRIPTIONS,
    **_GROUPS,
    **_HANDLERS,
    **_UNDELIVERED,
    **_AT_LEAST_ONCE,
    **_FAULTS,
    **_DENDRITES,
}

REQUIREMENTS: Final = Requirements(prefix="synapse:", kind="Synapse", levels={"0.1": _TEXTS_0_1})
"""Every requirement, by id."""
