"""A peer of a ZeroMQ hub, as a Synapse."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import attrs
import msgspec

from cosmo_core import (
    DeadLetter,
    FrameHandler,
    FrameTooLargeError,
    Guarantees,
    SynapseClosedError,
    SynapseError,
    UndeliveredHandler,
)
from cosmo_core.contracts.delivery import DEFAULT_MAX_FRAME
from cosmo_core.routing import check_pattern, check_subject
from cosmo_synapse_zmq import wire
from cosmo_synapse_zmq.address import Address
from cosmo_synapse_zmq.connection import dealer
from cosmo_synapse_zmq.keys import PeerKeys
from cosmo_synapse_zmq.line import Line
from cosmo_synapse_zmq.questions import Questions
from cosmo_synapse_zmq.subscription import ZmqSubscription
from cosmo_synapse_zmq.tellers import Tellers

WINDOW: Final = 1024
"""How many things may be said to a hub that it has not acknowledged; then `publish` waits."""

WINDOW_BYTES: Final = 64 * 1024 * 1024
"""How many bytes of frames may be in them."""

LINGER_MS: Final = 1000
"""For how long what was published may still leave after `close`."""

logger = logging.getLogger("cosmo_synapse_zmq")


class ZmqSynapse:
    """Carries frames between processes, through the hub at ``address``.

    A connection that breaks is made again, and nothing is lost by that. A hub that dies loses what it had in
    work; what it had not acknowledged is sent to the next one.

    Args:
        address: Where the hub is.
        keys: This peer's keys, and the hub's. Required off loopback.
        insecure: Go off loopback without keys.
        max_in_flight: How many frames a handler may work on at once.
        max_pending: How many more may wait for it; for a queue group, the hub says how many.
        connect_timeout_s: For how many seconds a hub may be out of reach until whoever waits for it gives up.
        lease_s: Seconds after which either side counts the other one as gone; as the hub's.

    Raises:
        SynapseError: The address is not loopback, and there are no keys.
        ValueError: A limit makes no sense.
    """

    def __init__(
        self,
        address: Address,
        *,
        keys: PeerKeys | None = None,
        insecure: bool = False,
        max_in_flight: int = 1000,
        max_pending: int = 1000,
        connect_timeout_s: float = 5.0,
        lease_s: float = 3.0,
    ) -> None:
        if max_in_flight < 1 or max_pending < 0 or connect_timeout_s <= 0 or lease_s <= 0:
            raise ValueError("max_in_flight starts at 1, max_pending at 0; the seconds are positive")
        address.check_keys(keys is not None, insecure)
        self.guarantees = Guarantees(
            delivery="at-least-once", takeover_s=lease_s + 1, max_deliveries=3, max_frame=DEFAULT_MAX_FRAME
        )
        self._address = address
        self._keys = keys
        self._max_in_flight = max_in_flight
        self._max_pending = max_pending
        self._connect_timeout_s = connect_timeout_s
        self._lease_s = lease_s
        self._line: Line | None = None
        self._max_frame = 0
        self._room: asyncio.Event | None = None
        self._subscriptions: dict[int, ZmqSubscription] = {}
        self._ending: dict[int, asyncio.Future[None]] = {}
        self._held: dict[str, asyncio.Event] = {}
        self._tellers = Tellers()
        self._questions = Questions()
        self._numbers = 0
        self._turn = asyncio.Lock()

    # --- life ---------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Reach the hub. Doing it twice is not an error.

        Raises:
            SynapseAuthError: The hub does not let this peer in.
            SynapseError: No hub can be reached.
        """
        async with self._turn:
            if self._line is None:
                line = Line(
                    self._address, self._keys, self, timeout_s=self._connect_timeout_s, lease_s=self._lease_s
                )
                await line.open()
                self._line = line

    async def close(self) -> None:
        """End every subscription, cancel what handlers work on, and let go of the hub."""
        async with self._turn:
            line = self._line
            if line is None:
                return
            for subscription in list(self._subscriptions.values()):
                self.put(wire.Unsubscribe(subscription.wanted.sub))
                subscription.end()
            for subscription in list(self._subscriptions.values()):
                await subscription.close()
            self._subscriptions.clear()
            self.put(wire.Leave())
            line.out.flush()
            self._line = None
            self._let_go()
            await line.close(LINGER_MS)

    def _let_go(self) -> None:
        """Let nobody wait for a hub any more."""
        for ending in self._ending.values():
            if not ending.done():
                ending.set_result(None)
        self._ending.clear()
        self._questions.give_up(self._closed("ask for dead letters"))
        self._release_all()
        self._make_room()

    def _closed(self, what: str) -> SynapseClosedError:
        return SynapseClosedError(f"cannot {what}: this ZmqSynapse is not connected; await connect() first")

    # --- what the line tells ------------------------------------------------------------------------

    def welcomed(self, max_frame: int) -> None:
        """Carry frames as large as the hub does."""
        self.guarantees = attrs.evolve(self.guarantees, max_frame=max_frame)
        self._max_frame = max_frame

    def begin_anew(self, unsent: list[wire.Publish]) -> None:
        """Tell a hub that knows nothing of this peer what it has to know."""
        self._release_all()
        for sub, subscription in self._subscriptions.items():
            subscription.forget()
            if sub not in self._ending:
                again = subscription.confirmed.done()
                self.put(msgspec.structs.replace(subscription.wanted, again=again))
        for ending in self._ending.values():
            if not ending.done():
                ending.set_result(None)
        for question in self._questions.again():
            self.put(wire.AskDead(question))
        for command in unsent:
            self.put(command, len(command.frame))

    def heard(self) -> None:
        """Let those publish who wait for room."""
        if self._room is not None and self._line is not None and not _is_full(self._line):
            self._make_room()

    def _release_all(self) -> None:
        for held in self._held.values():
            held.set()
        self._held.clear()

    def _make_room(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.set()

    def obey(self, command: wire.HubCommand) -> None:
        """Do what the hub wants."""
        match command:
            case wire.Deliver():
                subscription = self._subscriptions.get(command.sub)
                if subscription is not None:
                    subscription.deliver(command)
                elif command.number:
                    self.put(wire.GiveBack(command.sub, command.number))
            case wire.Subscribed():
                self._confirm(command.sub, None)
            case wire.Refused():
                self._confirm(command.sub, SynapseError(command.reason))
            case wire.Unsubscribed():
                if (ending := self._ending.get(command.sub)) is not None and not ending.done():
                    ending.set_result(None)
            case wire.Dropped():
                if (slow := self._subscriptions.get(command.sub)) is not None:
                    slow.count(command.total)
            case wire.Returned():
                self._tellers.tell(command)
            case wire.Hold():
                self._held.setdefault(command.subject, asyncio.Event())
            case wire.Release():
                if (held := self._held.pop(command.subject, None)) is not None:
                    held.set()
            case wire.Dead():
                self._questions.collect(command)

    def _confirm(self, sub: int, error: SynapseError | None) -> None:
        subscription = self._subscriptions.get(sub)
        if subscription is None or subscription.confirmed.done():
            return
        if error is None:
            subscription.confirmed.set_result(None)
        else:
            subscription.confirmed.set_exception(error)

    # --- publishing ---------------------------------------------------------------------------------

    async def publish(
        self,
        subject: str,
        frame: bytes,
        *,
        undelivered: UndeliveredHandler | None = None,
        message_id: str | None = None,
    ) -> None:
        """Hand ``frame`` to the hub, for whoever subscribes to ``subject``.

        It returns when the frame is on its way, and waits while too much is.
        ``message_id`` means nothing here, as nothing is stored.

        Raises:
            SynapseClosedError: The Synapse is not connected.
            FrameTooLargeError: The frame is larger than ``guarantees.max_frame``; nothing was sent.
            SynapseError: The subject is malformed, or the hub is out of reach for too long.
        """
        line = self._line
        if line is None:
            raise self._closed(f"publish on {subject}")
        if len(frame) > self._max_frame:
            raise FrameTooLargeError(
                f"{len(frame)} bytes on {subject} are more than the {self._max_frame} this Synapse carries"
            )
        check_subject(subject)
        if _is_full(line) or (undelivered is None and subject in self._held):
            await self._wait_to_publish(line, subject, undelivered is None)
        tell = 0 if undelivered is None else self._tellers.number(undelivered)
        line.out.put(wire.Publish(subject, frame, tell), len(frame))

    async def _wait_to_publish(self, line: Line, subject: str, held_back: bool) -> None:
        while self._line is line:
            if held_back and (held := self._held.get(subject)) is not None:
                await held.wait()
            elif _is_full(line):
                await self._wait_for_room(line, subject)
            else:
                return
        raise self._closed(f"publish on {subject}")

    async def _wait_for_room(self, line: Line, subject: str) -> None:
        if self._room is None:
            self._room = asyncio.Event()
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await self._room.wait()
        except TimeoutError:
            if not line.out.up:
                raise SynapseError(
                    f"the hub at {self._address} is out of reach for {self._connect_timeout_s} s,"
                    f" and {WINDOW} frames wait for it; {subject} was not sent"
                ) from None

    def _next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def publish_from_thread(self, subject: str, frame: bytes) -> None:
        """Hand ``frame`` to the hub from any thread, over a connection of its own."""
        shout = wire.encode(wire.Shout(check_subject(subject), frame))
        socket = dealer(self._address, self._keys)
        socket.connect(self._address.endpoint)
        socket.send(shout)
        socket.close(LINGER_MS)

    # --- subscribing --------------------------------------------------------------------------------

    async def subscribe(
        self, pattern: str, handler: FrameHandler, *, queue_group: str | None = None
    ) -> ZmqSubscription:
        """Call ``handler`` with every frame that matches ``pattern``, once the hub has confirmed it.

        Raises:
            SynapseClosedError: The Synapse is not connected.
            SynapseError: The pattern or the queue group is malformed, or the hub refuses or is out of reach.
        """
        if self._line is None:
            raise self._closed(f"subscribe to {pattern}")
        check_pattern(pattern, queue_group)
        sub = self._next_number()
        wanted = wire.Subscribe(sub, pattern, queue_group, self._max_in_flight)
        subscription = self._subscriptions[sub] = ZmqSubscription(self, wanted, handler, self._max_pending)
        self.put(wanted)
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await subscription.confirmed
        except BaseException as error:
            self._subscriptions.pop(sub, None)
            self.put(wire.Unsubscribe(sub))
            if isinstance(error, TimeoutError):
                raise SynapseError(
                    f"the hub at {self._address} did not confirm {pattern} within {self._connect_timeout_s} s"
                ) from None
            raise
        return subscription

    def put(self, command: wire.Command, size: int = 0) -> None:
        """Say something to the hub, for a subscription."""
        if self._line is not None:
            self._line.out.put(command, size)

    async def end(self, subscription: ZmqSubscription) -> None:
        """Have the hub deliver nothing more to a subscription, and return when it does not."""
        sub = subscription.wanted.sub
        if sub not in self._subscriptions or self._line is None:
            return
        ending = self._ending.get(sub)
        if ending is None:
            ending = self._ending[sub] = asyncio.get_running_loop().create_future()
            self.put(wire.Unsubscribe(sub))
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                # Shielded: it may be asked for twice at once.
                await asyncio.shield(ending)
        except (TimeoutError, SynapseClosedError):
            logger.warning("the hub at %s did not confirm the end of a subscription", self._address)
        finally:
            subscription.end()
            self._subscriptions.pop(sub, None)
            self._ending.pop(sub, None)

    # --- dead letters -------------------------------------------------------------------------------

    async def dead_letters(self) -> list[DeadLetter]:
        """Return the newest dead letters that the hub keeps, oldest first.

        Raises:
            SynapseClosedError: The Synapse is not connected.
            SynapseError: The hub is out of reach.
        """
        if self._line is None:
            raise self._closed("ask for dead letters")
        question, answer = self._questions.ask()
        self.put(wire.AskDead(question))
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                return await answer
        except TimeoutError:
            raise SynapseError(f"the hub at {self._address} did not say what it could not deliver") from None
        finally:
            self._questions.forget(question)

    def __repr__(self) -> str:
        state = "closed" if self._line is None else "connected"
        return f"<ZmqSynapse {state} to {self._address}>"


def _is_full(line: Line) -> bool:
    return line.out.unacknowledged >= WINDOW or line.out.bytes >= WINDOW_BYTES
