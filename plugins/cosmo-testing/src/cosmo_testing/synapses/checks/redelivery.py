"""Requirements on at-least-once delivery and on durable Synapses."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable
from typing import Final

from cosmo_core.arguments import satisfies
from cosmo_core.contracts.delivery import DeadLetter, HeldFrame
from cosmo_core.contracts.synapse import DeadLetters, Synapse
from cosmo_testing.conformance.steps import bounded, need
from cosmo_testing.synapses.checks.groups import ask
from cosmo_testing.synapses.network import (
    Inbox,
    Network,
    Reports,
    Worker,
    for_peers,
    listen,
    numbered,
    send,
)
from cosmo_testing.synapses.subject import (
    AT_LEAST_ONCE,
    DURABLE,
    NOT_DURABLE,
    QUEUE_GROUPS,
    TAKEOVER,
)

SLACK_S: Final = 2.0
"""Seconds by which a busy machine may be late."""


class Failing(Inbox):
    """A handler that fails for some of its calls, in turn at once and in its awaitable.

    Attributes:
        calls: The number of deliveries of each frame.
        done: The frames that it handled.
    """

    def __init__(self, *, always: bytes | None = None) -> None:
        super().__init__()
        self.calls: Counter[bytes] = Counter()
        self.done: list[bytes] = []
        self._always = always

    async def _work(self, frame: bytes, *, fails: bool) -> None:
        await asyncio.sleep(0)
        if fails:
            raise RuntimeError("a handler of the conformance kit fails on purpose")
        self.done.append(frame)
        self.note(frame)

    def __call__(self, frame: bytes) -> asyncio.Future[None] | None:
        """Fail the first time, or always; otherwise handle the frame."""
        self.calls[frame] += 1
        self._came.set()
        fails = self.calls[frame] == 1 or frame == self._always
        if fails and sum(self.calls.values()) % 2:
            raise RuntimeError("a handler of the conformance kit fails on purpose")
        return asyncio.ensure_future(self._work(frame, fails=fails))


def within(synapse: Synapse, slack_s: float = SLACK_S) -> float:
    """Return the seconds until another member must have taken over."""
    return (synapse.guarantees.takeover_s or 0.0) + slack_s


async def dead(synapse: Synapse, frame: bytes) -> list[DeadLetter]:
    """Return the dead letters with this frame."""
    assert satisfies(synapse, DeadLetters)  # noqa: S101 - "synapse:shape" says so, too
    letters = await bounded("dead_letters()", synapse.dead_letters())
    return [letter for letter in letters if letter.frame == frame]


@for_peers(
    "synapse:again-failed",
    "A frame whose handler failed MUST be delivered to a member again.",
    when=[AT_LEAST_ONCE, QUEUE_GROUPS],
)
async def check_again_failed(network: Network, sender: Synapse, one: Synapse, two: Synapse) -> None:
    """Let every frame fail once."""
    reports, member, frames = Reports(), Failing(), numbered(10)
    for peer in (one, two):
        await listen(peer, "kit.again", member, "g")
    for number, frame in enumerate(frames):
        await ask(sender, "kit.again", reports, frame)
        await member.until(number + 1)
    await network.settle()
    need(sorted(member.done) == frames, f"{len(member.done)} of {len(frames)} frames were handled")
    need({*member.calls.values()} == {2}, f"each frame failed once, and the calls were {dict(member.calls)}")
    need(not reports.reasons, f"all frames were handled in the end, and undelivered got {reports.reasons}")


@for_peers(
    "synapse:again-done",
    "An acknowledged frame MUST NOT be delivered again.",
    when=[AT_LEAST_ONCE, QUEUE_GROUPS],
)
async def check_again_done(network: Network, sender: Synapse, leaving: Synapse, staying: Synapse) -> None:
    """Close a member that has handled some frames, and check the frames of another member."""
    worker, other, frames = Worker(), Inbox(), numbered(3)
    await listen(leaving, "kit.done", worker, "g")
    worker.gate.set()
    await send(sender, "kit.done", *frames)
    await worker.finished(len(frames))
    await network.settle()
    await listen(staying, "kit.done", other, "g")
    await network.close(leaving)
    await send(sender, "kit.done", b"next")
    await other.until(1)
    await network.settle()
    need(other.frames == [b"next"], f"another member got {other.frames[:-1]}, which had been handled")


@for_peers(
    "synapse:again-dead",
    "A frame that always fails MUST be delivered `max_deliveries` times, and then be a dead letter.",
    when=[AT_LEAST_ONCE, QUEUE_GROUPS],
)
async def check_again_dead(network: Network, sender: Synapse, one: Synapse, two: Synapse) -> None:
    """Publish one frame that always fails, and one that does not."""
    reports, member, poison = Reports(), Failing(always=b"poison"), b"poison"
    most = sender.guarantees.max_deliveries
    for peer in (one, two):
        await listen(peer, "kit.dead", member, "g")
    await ask(sender, "kit.dead", reports, poison, b"good")
    await reports.until(1)
    await bounded("the frame beside it", member.when(lambda: b"good" in member.done))
    await network.settle()
    need(reports.reasons == ["failed"], f"the frame always fails, and undelivered got {reports.reasons}")
    need(
        member.calls[poison] == most,
        f"the frame was delivered {member.calls[poison]} times; max_deliveries is {most}",
    )
    if most > 1:
        letters = await dead(sender, poison)
        need(len(letters) == 1, f"the frame is {len(letters)} times among the dead letters")
        reported = (letters[0].subject, letters[0].deliveries, bool(letters[0].reason))
        need(reported == ("kit.dead", most, True), f"the dead letter says {letters[0]}")


@for_peers(
    "synapse:again-closed",
    "The unacknowledged frames of a closing member MUST reach another member within `takeover_s`.",
    when=[TAKEOVER, QUEUE_GROUPS],
)
async def check_again_closed(network: Network, sender: Synapse, leaving: Synapse, staying: Synapse) -> None:
    """Close a member that is processing frames, while there is another member."""
    worker, other, frames = Worker(), Inbox(), numbered(3)
    await listen(leaving, "kit.over", worker, "g")
    await ask(sender, "kit.over", Reports(), *frames)
    await worker.until(1)
    await listen(staying, "kit.over", other, "g")
    await network.close(leaving)
    await other.until(len(frames), within(sender))
    need({*other.frames} == {*frames}, f"the other member got {sorted({*other.frames})}")


@for_peers(
    "synapse:again-lost",
    "`undelivered` MUST be called with `lost` when no other member can take over.",
    when=[TAKEOVER, QUEUE_GROUPS, NOT_DURABLE],
)
async def check_again_lost(network: Network, sender: Synapse, leaving: Synapse) -> None:
    """Close the only member while it is processing a frame."""
    reports, worker = Reports(), Worker()
    await listen(leaving, "kit.lost", worker, "g")
    await ask(sender, "kit.lost", reports, b"1")
    await worker.until(1)
    await network.close(leaving)
    reasons = await reports.until(1, within(sender))
    need(reasons == ["lost"], f"there is no other member, and undelivered got {reasons}")


@for_peers(
    "synapse:durable-waits",
    "A durable Synapse MUST keep the frames of a queue group without members until a member joins.",
    when=[DURABLE, QUEUE_GROUPS],
)
async def check_durable_waits(network: Network, sender: Synapse, first: Synapse, second: Synapse) -> None:
    """Publish after the last member left; then let a member join."""
    reports, inbox, frames = Reports(), Inbox(), numbered(10)
    await listen(first, "kit.wait", Inbox(), "g")
    await network.close(first)
    await ask(sender, "kit.wait", reports, *frames)
    await network.settle()
    need(not reports.reasons, f"the frames wait, and undelivered got {reports.reasons[:3]}")
    await listen(second, "kit.wait", inbox, "g")
    await inbox.until(len(frames), within(sender))
    need({*inbox.frames} == {*frames}, f"{frames} waited, and {inbox.frames} came")


HOLD_S: Final = 0.3
"""The least number of seconds that a frame is held."""
EXACT_S: Final = 0.1
"""The largest error of `held_s`, in seconds: two clocks may differ, and a server may round."""
DUPLICATES: Final = 1000


class Stamped(Inbox):
    """A handler that records when a frame arrived, and its `held_s`.

    Args:
        failures: The number of calls that fail, each when ``gate`` is set.
    """

    def __init__(self, failures: int = 0) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.stamps: list[tuple[float, float]] = []
        self._failures = failures

    def __call__(self, frame: bytes) -> Awaitable[None] | None:
        """Record the frame; fail later, or handle it."""
        held_s = frame.held_s if isinstance(frame, HeldFrame) else 0.0
        self.stamps.append((asyncio.get_running_loop().time(), held_s))
        self.note(frame)
        return self._fail() if len(self.stamps) <= self._failures else None

    async def _fail(self) -> None:
        await self.gate.wait()
        raise RuntimeError("a handler of the conformance kit fails on purpose")


def _need_honest(stamp: tuple[float, float], *, least: float, began: float) -> None:
    """Compare `held_s` with the time that the Synapse held a frame.

    Args:
        stamp: When the frame arrived, and its `held_s`.
        least: Seconds that it was held for certain, however late this program or a server was.
        began: When its publish began.

    Raises:
        UnmetError: It reports less, or more than the time since it was published.
    """
    came, said = stamp
    most = came - began
    need(
        said <= most + EXACT_S,
        f"a frame that was held for at most {most:.2f} s reports {said:.2f} s",
    )
    need(
        said >= least - EXACT_S,
        f"a frame that was held for at least {least:.2f} s reports {said:.2f} s",
    )


async def _held() -> float:
    """Wait `HOLD_S`; return the seconds that it took."""
    held, loop = asyncio.Event(), asyncio.get_running_loop()
    began = loop.time()
    loop.call_later(HOLD_S, held.set)
    await held.wait()
    return loop.time() - began


@for_peers(
    "synapse:again-held",
    "A redelivered frame MUST report how long it was held.",
    when=[AT_LEAST_ONCE, QUEUE_GROUPS],
)
async def check_again_held(network: Network, sender: Synapse, receiver: Synapse) -> None:
    """Let a handler fail after some time; compare `held_s` of each delivery with the clock."""
    member = Stamped(failures=1)
    await listen(receiver, "kit.held", member, "g")
    began = asyncio.get_running_loop().time()
    await ask(sender, "kit.held", Reports(), b"1")
    await member.until(1)
    least = await _held()
    member.gate.set()
    await member.until(2)
    first, again = member.stamps[:2]
    _need_honest(again, least=least, began=began)
    _need_honest(first, least=0.0, began=began)


@for_peers(
    "synapse:durable-held",
    "A durable Synapse MUST report how long it held a frame.",
    when=[DURABLE, QUEUE_GROUPS],
)
async def check_durable_held(network: Network, sender: Synapse, first: Synapse, second: Synapse) -> None:
    """Publish without a member, and let one join after some time."""
    member = Stamped()
    await listen(first, "kit.held", Inbox(), "g")
    await network.close(first)
    began = asyncio.get_running_loop().time()
    await ask(sender, "kit.held", Reports(), b"1")
    # It is stored now, and cannot be delivered before the member joins.
    least = await _held()
    await listen(second, "kit.held", member, "g")
    await member.until(1, within(sender))
    _need_honest(member.stamps[0], least=least, began=began)


@for_peers(
    "synapse:durable-once",
    "A durable Synapse MUST store frames with the same `message_id` once.",
    when=[DURABLE, QUEUE_GROUPS],
)
async def check_durable_once(network: Network, sender: Synapse, first: Synapse, second: Synapse) -> None:
    """Publish a frame many times under one id, with a member and without one."""
    reports, before, after = Reports(), Inbox(), Inbox()

    async def publish(message_id: str) -> None:
        step = sender.publish("kit.same", b"same", undelivered=reports, message_id=message_id)
        await bounded("publish(message_id=…)", step)

    await listen(first, "kit.same", before, "g")
    for _ in range(DUPLICATES // 2):
        await publish("one")
    await before.until(1)
    await network.settle()
    await network.close(first)
    for _ in range(DUPLICATES // 2):
        await publish("one")
    # An equal frame with another id is another frame.
    await publish("another")
    await listen(second, "kit.same", after, "g")
    await after.until(1, within(sender))
    await network.settle()
    came = (len(before.frames), len(after.frames))
    need(came == (1, 1), f"{DUPLICATES} were sent under one id, 1 under another; {sum(came)} came")
    need(not reports.reasons, f"both were handled, and undelivered got {reports.reasons[:3]}")
