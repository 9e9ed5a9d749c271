"""One peer, as the hub sees it: its subscriptions, and what it is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

from cosmo_core import SynapseError, Undelivered
from cosmo_core.routing import Consumer, Delivery, Router
from cosmo_synapse_zmq import wire
from cosmo_synapse_zmq.stream import Outgoing, Send

MAX_SUBSCRIPTIONS: Final = 10_000
"""How many subscriptions one peer may have."""

MAX_UNACKNOWLEDGED: Final = 10_000
"""How much a peer may leave unread. What comes then outside of queue groups is given up, and counted."""

MAX_BYTES: Final = 64 * 1024 * 1024
"""How many bytes of frames that may be."""


class Owner(Protocol):
    """What a session asks of its hub."""

    def publish(self, session: Session, command: wire.Publish) -> None:
        """Route a frame."""
        ...

    def came_back(self) -> None:
        """Route what came before a subscription that there was, and is again."""
        ...

    def leave(self, session: Session) -> None:
        """Forget a peer that went."""
        ...

    def speak_later(self, session: Session) -> None:
        """Flush what a peer is told, soon."""
        ...


class Session:
    """What a hub and one peer owe each other.

    Args:
        router: The hub's routing.
        owner: The hub.
        send: Sends the peer a message.

    Attributes:
        out: What the peer is told.
        held: The subjects on which the peer is to publish nothing now.
        returning: Whether another hub knew the peer before.
    """

    def __init__(self, router: Router, owner: Owner, send: Send) -> None:
        self.out = Outgoing(wire.HubData, send, self._schedule)
        self.held: set[str] = set()
        self.returning = False
        self._router = router
        self._owner = owner
        self._members: dict[int, Consumer] = {}
        self._dropped: dict[int, int] = {}
        self._told: dict[int, int] = {}
        self._tellers: dict[int, Callable[[bytes, Undelivered], None]] = {}

    def _schedule(self) -> None:
        self._owner.speak_later(self)

    # --- what the peer wants ------------------------------------------------------------------------

    def obey(self, command: wire.PeerCommand) -> None:
        """Do what the peer wants.

        Raises:
            SynapseError: It makes no sense.
        """
        match command:
            case wire.Publish():
                self._owner.publish(self, command)
            case wire.Subscribe():
                self._subscribe(command)
            case wire.AskDead():
                self._tell_dead(command.question)
            case wire.Leave():
                self._owner.leave(self)
            case _ if (member := self._members.get(command.sub)) is not None:
                self._obey(member, command)
            case _:
                # It ended meanwhile.
                pass

    def _obey(
        self,
        member: Consumer,
        command: wire.Settle | wire.Unsubscribe | wire.Fail | wire.GiveBack,
    ) -> None:
        match command:
            case wire.Settle():
                for number in command.numbers:
                    self._router.ack(member, number)
            case wire.Fail():
                self._router.nack(member, command.number, command.reason)
            case wire.GiveBack():
                self._router.requeue(member, command.number)
            case wire.Unsubscribe():
                self._router.remove_consumer(member)
                self.out.put(wire.Unsubscribed(command.sub))
        if member.closed and not member.unacked:
            # Until then it stays, for the letters it has in work.
            self._members.pop(command.sub, None)
            self._dropped.pop(command.sub, None)
            self._told.pop(command.sub, None)

    def _subscribe(self, wanted: wire.Subscribe) -> None:
        if wanted.sub in self._members or len(self._members) >= MAX_SUBSCRIPTIONS or wanted.credit < 1:
            self.out.put(
                wire.Refused(wanted.sub, f"{MAX_SUBSCRIPTIONS} subscriptions are the most, each with room")
            )
            return
        member = Consumer(
            wanted.pattern,
            self._sender(wanted.sub),
            queue_group=wanted.queue_group,
            prefetch=wanted.credit,
            max_pending=0,
        )
        try:
            # Said before anything is delivered.
            self.out.put(wire.Subscribed(wanted.sub))
            self._members[wanted.sub] = member
            self._router.add_consumer(member)
        except SynapseError as error:
            del self._members[wanted.sub]
            self.out.put(wire.Refused(wanted.sub, str(error)))
        else:
            if wanted.again:
                self._owner.came_back()

    def _sender(self, sub: int) -> Callable[[bytes, int, float], bool]:
        out, dropped = self.out, self._dropped

        def send(frame: bytes, number: int, since: float) -> bool:
            if number:
                held_ms = int((time.monotonic() - since) * 1000)
                out.put(wire.Deliver(sub, frame, number, held_ms), len(frame))
                return False
            if out.unacknowledged < MAX_UNACKNOWLEDGED and out.bytes < MAX_BYTES:
                out.put(wire.Deliver(sub, frame, 0, 0), len(frame))
            else:
                dropped[sub] = dropped.get(sub, 0) + 1
            return True

        return send

    def _tell_dead(self, question: int) -> None:
        for letter in self._router.dead_letters:
            dead = wire.Dead(question, letter.subject, letter.frame, letter.deliveries, letter.reason)
            self.out.put(dead, len(letter.frame))
        self.out.put(wire.Dead(question, None, b"", 0, ""))

    # --- what it is told ----------------------------------------------------------------------------

    def teller(self, tell: int) -> Callable[[bytes, Undelivered], None] | None:
        """Return what tells the peer that a frame was not delivered."""
        if not tell:
            return None
        teller = self._tellers.get(tell)
        if teller is None:
            if len(self._tellers) >= MAX_SUBSCRIPTIONS:
                self._tellers.clear()
            teller = self._tellers[tell] = self._returner(tell)
        return teller

    def _returner(self, tell: int) -> Callable[[bytes, Undelivered], None]:
        def returned(frame: bytes, why: Undelivered) -> None:
            self.out.put(wire.Returned(tell, frame, why), len(frame))

        return returned

    def hold(self, letter: Delivery) -> None:
        """Have the peer publish nothing on a letter's subject."""
        if letter.subject not in self.held:
            self.held.add(letter.subject)
            self.out.put(wire.Hold(letter.subject))

    def release(self, subject: str) -> None:
        """Let the peer publish again."""
        self.held.discard(subject)
        self.out.put(wire.Release(subject))

    def beat(self) -> None:
        """Say that the hub is there, and what the peer has missed."""
        for sub, total in self._dropped.items():
            if total != self._told.get(sub):
                self._told[sub] = total
                self.out.put(wire.Dropped(sub, total))
        self.out.beat()

    # --- the end ------------------------------------------------------------------------------------

    def end(self, reason: str) -> None:
        """Give what the peer has in work to others; nothing reaches it any more."""
        self.out.up = False
        # All of them first: they must not hand on to each other what they had.
        for member in self._members.values():
            self._router.remove_consumer(member)
        for member in self._members.values():
            self._router.remove_lost_consumer(member, reason)
        self._members.clear()
