"""Subscriptions of a Dendrite: several are made together or not at all, and each ends at a constant cost."""

from __future__ import annotations

import pytest

from cosmo_core import Axon, Dendrite, SignalType, Subscription, SynapseError
from cosmo_core.dendrite.discovery.directory import Directory
from cosmo_core.dendrite.transport.link import Link
from cosmo_engram_sqlite import SqliteEngram
from cosmo_synapse_memory import MemorySynapse


async def _echo(input: dict[str, object], context: list[object]) -> object:
    return input


def _fail_once(synapse: MemorySynapse, monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    """Refuse the next subscription to a pattern."""
    refused: list[str] = []
    subscribe = synapse.subscribe

    async def faulty(subject: str, *args: object, **options: object) -> Subscription:
        if subject == pattern and not refused:
            refused.append(subject)
            raise SynapseError("refused")
        return await subscribe(subject, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(synapse, "subscribe", faulty)


async def test_neuron_that_cannot_be_bid_for_leaves_no_subscription(
    synapse: MemorySynapse, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Dendrite(synapse=synapse) as dendrite:
        _fail_once(synapse, monkeypatch, dendrite._link.subjects.broadcast(SignalType.TASK_DECLINED))
        with pytest.raises(SynapseError):
            await dendrite.add_axon(Axon(neuron_id="echo", neuron_fn=_echo))
        offers = dendrite._link.subjects.broadcast(SignalType.TASK_OFFER)
        assert offers not in [each._consumer.pattern for each in synapse._subscriptions]
        await dendrite.add_axon(Axon(neuron_id="echo", neuron_fn=_echo))
        assert [each._consumer.pattern for each in synapse._subscriptions].count(offers) == 1


async def test_engram_that_cannot_be_served_leaves_no_subscription(
    synapse: MemorySynapse, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Dendrite(synapse=synapse) as dendrite:
        subjects = dendrite._link.subjects
        _fail_once(synapse, monkeypatch, subjects.addressed_pattern(SignalType.FINAL))
        with pytest.raises(SynapseError):
            await dendrite.attach_engram(SqliteEngram(engram_id="ctx"))
        finals = subjects.broadcast(SignalType.FINAL)
        assert finals not in [each._consumer.pattern for each in synapse._subscriptions]


async def test_ending_a_subscription_compares_it_with_no_other(synapse: MemorySynapse) -> None:
    class Counted:
        dropped = 0
        compared = 0

        def __eq__(self, other: object) -> bool:
            Counted.compared += 1
            return self is other

        __hash__ = None  # type: ignore[assignment]

        async def unsubscribe(self) -> None:
            return

    link = Link(synapse, "default", "worker")
    subscriptions = [Counted() for _ in range(100)]
    link._subscriptions = {id(each): each for each in subscriptions}
    await link.unsubscribe(*subscriptions[:50])
    assert list(link._subscriptions.values()) == subscriptions[50:]
    Counted.compared = 0
    await link.close()
    assert (link._subscriptions, Counted.compared) == ({}, 0)


async def test_task_to_a_neuron_that_left_meanwhile_is_not_counted_as_load() -> None:
    class Followed:
        neuron = "gone"

        def when_settled(self, call: object) -> None:
            raise AssertionError("no load is counted")

    directory = Directory(lambda: 0.0, 30.0)
    directory.count_dispatch(Followed())  # type: ignore[arg-type]
    assert not directory._neurons
