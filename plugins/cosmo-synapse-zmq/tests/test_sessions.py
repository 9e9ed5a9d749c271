"""A session belongs to who knows its name, and a hub bounds what it gives anybody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core import FrameTooLargeError, SynapseError
from cosmo_synapse_zmq import wire

if TYPE_CHECKING:
    from tests.conftest import Join, RunningHub, StartHub, Stranger, Taken

    Connect = Callable[..., Stranger]


def subscribe(number: int = 1, sub: int = 1, pattern: str = "a", credit: int = 10) -> wire.PeerData:
    return wire.PeerData(number, 0, [wire.Subscribe(sub, pattern, "g", credit)])


async def commands(stranger: Stranger, count: int) -> list[Any]:
    """Return the next commands that the hub tells a stranger."""
    heard: list[Any] = []
    while len(heard) < count:
        message = await stranger.hear()
        assert isinstance(message, wire.HubData)
        heard += message.commands
    return heard


async def test_another_version_is_refused_with_the_reason(hub: RunningHub, stranger: Connect) -> None:
    answer = await stranger(hub.url).greet(version=99)
    assert isinstance(answer, wire.Refusal)
    assert "version 1" in answer.reason
    assert "99" in answer.reason


async def test_a_name_that_could_be_guessed_is_refused(hub: RunningHub, stranger: Connect) -> None:
    answer = await stranger(hub.url).greet(b"fifteen bytes!!")
    assert isinstance(answer, wire.Refusal)
    assert "cannot be guessed" in answer.reason


async def test_who_said_no_hello_is_told_that_nobody_knows_him(hub: RunningHub, stranger: Connect) -> None:
    one = stranger(hub.url)
    await one.say(subscribe())
    assert isinstance(await one.hear(), wire.Lost)


async def test_who_knows_the_name_resumes_where_the_session_was(hub: RunningHub, stranger: Connect) -> None:
    one, again = stranger(hub.url), stranger(hub.url)
    assert await one.greet() == wire.Welcome(False, 0, 1024 * 1024 - 4096)
    await one.say(subscribe())
    assert await commands(one, 1) == [wire.Subscribed(1)]
    # What was not acknowledged comes again, here.
    assert await again.greet(received=0) == wire.Welcome(True, 1, 1024 * 1024 - 4096)
    assert await commands(again, 1) == [wire.Subscribed(1)]
    await one.say(subscribe(number=2))
    assert isinstance(await one.hear(), wire.Lost)


async def test_nobody_gets_what_is_meant_for_a_session_whose_name_he_does_not_know(
    hub: RunningHub, stranger: Connect, join: Join
) -> None:
    one, thief, publisher = stranger(hub.url), stranger(hub.url), await join(hub.url)
    await one.greet(b"one, 16 bytes ok")
    await thief.greet(b"two, 16 bytes ok")
    await one.say(subscribe())
    await commands(one, 1)
    # Numbers are a peer's own: these are of no subscription, and of no letter.
    theft: list[wire.PeerCommand] = [
        wire.Settle(1, [1, 2]),
        wire.Unsubscribe(1),
        wire.Fail(1, 1, "mine"),
        wire.GiveBack(1, 1),
    ]
    await thief.say(wire.PeerData(1, 0, theft))
    await thief.say(wire.PeerData(2, 0, [wire.AskDead(7)]))
    assert await commands(thief, 1) == [wire.Dead(7, None, b"", 0, "")]
    await publisher.publish("a", b"mine")
    (delivered,) = await commands(one, 1)
    assert isinstance(delivered, wire.Deliver)
    assert delivered.frame == b"mine"


async def test_a_second_hello_goes_on_with_the_session(hub: RunningHub, stranger: Connect) -> None:
    one = stranger(hub.url)
    assert not (await one.greet()).resumed
    assert (await one.greet()).resumed


async def test_who_begins_another_session_gives_up_the_first(
    hub: RunningHub, stranger: Connect, join: Join, taken: Callable[[], Taken]
) -> None:
    one, other, told = stranger(hub.url), await join(hub.url), taken()
    await one.greet(b"one, 16 bytes ok")
    await one.say(subscribe())
    await commands(one, 1)
    await other.publish("a", b"x", undelivered=told.told)
    await commands(one, 1)
    assert not (await one.greet(b"two, 16 bytes ok")).resumed
    assert await told.until(1) == [b"lost: x"]
    # Of the first one, nothing is left to be resumed.
    assert not (await one.greet(b"one, 16 bytes ok")).resumed


async def test_what_was_said_already_is_not_obeyed_again(
    hub: RunningHub, stranger: Connect, join: Join, taken: Callable[[], Taken]
) -> None:
    one, watcher, got = stranger(hub.url), await join(hub.url), taken()
    await watcher.subscribe("a", got)
    await one.greet()
    for number in (1, 1, 3, 2**63, 2, 1):
        await one.say(wire.PeerData(number, 0, [wire.Publish("a", b"%d" % number, 0)]))
    assert (await one.greet()).received == 2
    await watcher.publish("a", b"end")
    assert await got.until(3) == [b"1", b"2", b"end"]


async def test_who_left_wants_nothing_any_more(
    hub: RunningHub, stranger: Connect, join: Join, taken: Callable[[], Taken]
) -> None:
    one, publisher, told = stranger(hub.url), await join(hub.url), taken()
    await one.greet()
    subscribe = wire.Subscribe(1, "a", "g", 10)
    await one.say(wire.PeerData(1, 0, [wire.Leave(), wire.Leave(), subscribe, wire.Publish("b", b"", 0)]))
    await one.say(wire.PeerData(2, 0, [subscribe]))
    assert isinstance(await one.hear(), wire.Lost)
    await publisher.publish("a", b"x", undelivered=told.told)
    assert await told.until(1) == [b"no_consumers: x"]
    assert not (await one.greet()).resumed


async def test_a_hub_has_so_many_sessions_and_no_more(
    hub: RunningHub, stranger: Connect, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cosmo_synapse_zmq.hub.MAX_SESSIONS", 2)
    await join(hub.url)
    leaving = await join(hub.url)
    with pytest.raises(SynapseError, match="peers are connected, which is the most"):
        await join(hub.url)
    await leaving.close()
    async with asyncio.timeout(5):
        # It goes when the hub hears of it.
        while not await came_in(join, hub.url):
            pass


async def came_in(join: Join, url: str) -> bool:
    try:
        await join(url)
    except SynapseError:
        return False
    return True


async def test_a_peer_has_so_many_subscriptions_and_no_more(
    hub: RunningHub, join: Join, taken: Callable[[], Taken], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cosmo_synapse_zmq.session.MAX_SUBSCRIPTIONS", 2)
    synapse, got = await join(hub.url), taken()
    subscriptions = [await synapse.subscribe("a", got) for _ in range(2)]
    with pytest.raises(SynapseError, match="2 subscriptions are the most"):
        await synapse.subscribe("a", got)
    await subscriptions[0].unsubscribe()
    await synapse.subscribe("a", got)
    await synapse.publish("a", b"x")
    assert await got.until(2) == [b"x", b"x"]


async def test_the_hub_says_how_large_a_frame_may_be(start_hub: StartHub, join: Join) -> None:
    running = await start_hub(max_frame=100)
    synapse = await join(running.url)
    assert synapse.guarantees.max_frame == 100
    await synapse.publish("a", bytes(100))
    with pytest.raises(FrameTooLargeError, match="101 bytes on a"):
        await synapse.publish("a", bytes(101))
