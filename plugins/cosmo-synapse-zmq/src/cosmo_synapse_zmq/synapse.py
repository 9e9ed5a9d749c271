"""The ZeroMQ Synapse: a peer of one hub."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable
from typing import Any, Final

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
from cosmo_core.arguments import check_count, check_options, check_seconds
from cosmo_core.contracts.delivery import DEFAULT_MAX_FRAME, DONE, failed
from cosmo_core.routing import check_pattern, check_subject
from cosmo_synapse_zmq import wire
from cosmo_synapse_zmq.address import Address, check_lease
from cosmo_synapse_zmq.callbacks import DeadLetterClient, UndeliveredCallbacks
from cosmo_synapse_zmq.keys import PeerKeys
from cosmo_synapse_zmq.reliable_link import ReliableLink, make_dealer
from cosmo_synapse_zmq.subscription import ZmqSubscription
from cosmo_synapse_zmq.wire import MAX_PREFETCH

WINDOW: Final = 1024
"""How many commands may be unacknowledged by the hub before `publish` waits."""

WINDOW_BYTES: Final = 256 * 1024
"""How many bytes of frames these commands may have; a larger frame is sent alone. The hub closes programs
that have much on their way to it, so this must be little."""

LINGER_MS: Final = 1000
"""For how many milliseconds published frames may still leave after `close`."""

UNRESPONSIVE_S: Final = 0.75
"""Seconds without a heartbeat of the hub after which the end of a subscription does not wait for it. It is
one limit for all subscriptions together: the next one that ends does not wait at all."""

logger = logging.getLogger("cosmo_synapse_zmq")


class ZmqSynapse:
    """Carries frames between processes, through the hub at ``address``.

    A broken connection is made again, and nothing is lost by that. When a hub dies, its unacknowledged
    deliveries are lost. Frames that it had not acknowledged to their publisher are sent to the next hub.

    Args:
        address: Where the hub is.
        keys: This peer's keys, and the hub's public key. Required off loopback.
        insecure: Connect off loopback without keys.
        max_in_flight: How many frames a handler may work on at once.
        max_pending: How many more may wait for it. In a queue group, the hub sets this limit.
        connect_timeout_s: For how many seconds an operation waits for a hub that cannot be reached.
        lease_s: Seconds after which either side counts the other as gone. Use the same value as the hub.

    Raises:
        SynapseError: The address is not on loopback, and there are no keys.
        TypeError: A limit is not a number, or ``insecure`` is not True or False.
        ValueError: A limit is out of range.
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
        check_count("max_in_flight", max_in_flight, most=MAX_PREFETCH)
        check_count("max_pending", max_pending, 0)
        check_seconds("connect_timeout_s", connect_timeout_s, positive=True)
        check_lease(lease_s)
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
        self._link: ReliableLink | None = None
        self._max_frame = 0
        # Set while the hub does not accept this peer.
        self._rejection: SynapseError | None = None
        # Set when fewer commands are unacknowledged than `WINDOW`; None while no publisher waits for that.
        self._window_space: asyncio.Event | None = None
        self._subscriptions: dict[int, ZmqSubscription] = {}
        self._unsubscribing: dict[int, asyncio.Future[None]] = {}
        self._paused: dict[str, asyncio.Event] = {}
        self._callbacks = UndeliveredCallbacks()
        self._dead_letter_client = DeadLetterClient()
        self._last_sub = 0
        self._connecting = asyncio.Lock()

    # --- life cycle ---------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Connect to the hub. Connecting twice is not an error.

        Raises:
            SynapseAuthError: The hub does not accept this peer.
            SynapseError: No hub can be reached.
        """
        async with self._connecting:
            if self._link is None:
                link = ReliableLink(
                    self._address, self._keys, self, timeout_s=self._connect_timeout_s, lease_s=self._lease_s
                )
                await link.open()
                self._link = link

    async def close(self) -> None:
        """End every subscription, cancel running handlers, and disconnect from the hub."""
        async with self._connecting:
            link = self._link
            if link is None:
                return
            for subscription in list(self._subscriptions.values()):
                self.send(wire.Unsubscribe(subscription.request.sub))
                subscription.stop()
            for subscription in list(self._subscriptions.values()):
                await subscription.close()
            self._subscriptions.clear()
            self.send(wire.Leave())
            link.stream.flush()
            self._link = None
            self._wake_waiters()
            await link.close(LINGER_MS)

    def _wake_waiters(self) -> None:
        """Wake all operations that wait for the hub."""
        for confirmed in self._unsubscribing.values():
            if not confirmed.done():
                confirmed.set_result(None)
        self._unsubscribing.clear()
        self._dead_letter_client.fail_all(self._closed("read the dead letters"))
        self._resume_all_subjects()
        self._wake_publishers()

    def _closed(self, action: str) -> SynapseClosedError:
        return SynapseClosedError(f"cannot {action}: this ZmqSynapse is not connected; await connect() first")

    # --- events and commands of the link ------------------------------------------------------------

    def welcomed(self, max_frame: int) -> None:
        """Adopt the frame limit of the hub."""
        self.guarantees = msgspec.structs.replace(self.guarantees, max_frame=max_frame)
        self._max_frame = max_frame
        self._rejection = None

    def rejected(self, error: SynapseError) -> None:
        """Let all operations fail with ``error`` until the hub accepts this peer again."""
        self._rejection = error
        # `publish` compares this first, so that it needs no other check for each frame.
        self._max_frame = -1
        for subscription in self._subscriptions.values():
            if not subscription.confirmed.done():
                subscription.confirmed.set_exception(error)
        self._dead_letter_client.fail_all(error)
        self._resume_all_subjects()
        self._wake_publishers()

    def session_lost(self, unsent: list[wire.Publish]) -> None:
        """Tell a hub that does not know this peer about its subscriptions, requests and unsent frames."""
        self._resume_all_subjects()
        for sub, subscription in self._subscriptions.items():
            subscription.reset()
            if sub not in self._unsubscribing:
                again = subscription.confirmed.done()
                self.send(msgspec.structs.replace(subscription.request, again=again))
        for confirmed in self._unsubscribing.values():
            if not confirmed.done():
                confirmed.set_result(None)
        for request in self._dead_letter_client.restart():
            self.send(wire.GetDeadLetters(request))
        for command in unsent:
            self.send(command, len(command.frame))

    def message_handled(self) -> None:
        """Wake publishers if the hub has acknowledged enough commands."""
        if self._window_space is not None and self._link is not None and not _is_full(self._link):
            self._wake_publishers()

    def _resume_all_subjects(self) -> None:
        for resumed in self._paused.values():
            resumed.set()
        self._paused.clear()

    def _wake_publishers(self) -> None:
        space, self._window_space = self._window_space, None
        if space is not None:
            space.set()

    def execute(self, command: wire.HubCommand) -> None:
        """Execute a command of the hub."""
        match command:
            case wire.Deliver():
                subscription = self._subscriptions.get(command.sub)
                if subscription is not None:
                    subscription.deliver(command)
                elif command.number:
                    self.send(wire.Requeue(command.sub, command.number))
            case wire.Subscribed():
                self._confirm(command.sub, None)
            case wire.SubscribeRejected():
                self._confirm(command.sub, SynapseError(command.reason))
            case wire.Unsubscribed():
                confirmed = self._unsubscribing.get(command.sub)
                if confirmed is not None and not confirmed.done():
                    confirmed.set_result(None)
            case wire.Dropped():
                if (slow := self._subscriptions.get(command.sub)) is not None:
                    slow.set_dropped_by_hub(command.total)
            case wire.Undeliverable():
                self._callbacks.call(command)
            case wire.PauseSubject():
                self._paused.setdefault(command.subject, asyncio.Event())
            case wire.ResumeSubject():
                if (resumed := self._paused.pop(command.subject, None)) is not None:
                    resumed.set()
            case wire.DeadLetterItem():
                self._dead_letter_client.receive(command)

    def _confirm(self, sub: int, error: SynapseError | None) -> None:
        subscription = self._subscriptions.get(sub)
        if subscription is None or subscription.confirmed.done():
            return
        if error is None:
            subscription.confirmed.set_result(None)
        else:
            subscription.confirmed.set_exception(error)

    # --- publishing ---------------------------------------------------------------------------------

    def publish(
        self,
        subject: str,
        frame: bytes,
        *,
        undelivered: UndeliveredHandler | None = None,
        message_id: str | None = None,
    ) -> Awaitable[None]:
        """Send ``frame`` to the hub, for all subscribers of ``subject``, in the call if it need not wait.

        The awaitable is done when the frame is queued to be sent. It waits while too many are unacknowledged,
        or while the queue of the subject is full. ``message_id`` is ignored, because nothing is stored.

        Raises:
            SynapseClosedError: The Synapse is not connected.
            SynapseAuthError: The hub does not accept this peer any more; the Synapse goes on trying.
            FrameTooLargeError: The frame is larger than ``guarantees.max_frame``; nothing was sent.
            SynapseError: The subject is malformed, or the hub cannot be reached in time.
        """
        link = self._link
        if link is None or len(frame) > self._max_frame:
            return failed(self._refusal(subject, frame))
        try:
            check_subject(subject)
        except SynapseError as error:
            return failed(error)
        if _is_full(link) or (undelivered is None and subject in self._paused):
            return self._publish_later(link, subject, frame, undelivered)
        callback = 0 if undelivered is None else self._callbacks.number(undelivered)
        link.stream.write(wire.Publish(subject, frame, callback), len(frame))
        return DONE

    def _refusal(self, subject: str, frame: bytes) -> SynapseError:
        if self._link is None:
            return self._closed(f"publish on {subject}")
        return self._rejection or FrameTooLargeError(
            f"a frame of {len(frame)} bytes on {subject} exceeds the limit of {self._max_frame} bytes"
        )

    async def _publish_later(
        self, link: ReliableLink, subject: str, frame: bytes, undelivered: UndeliveredHandler | None
    ) -> None:
        await self._wait_to_publish(link, subject, undelivered is None)
        callback = 0 if undelivered is None else self._callbacks.number(undelivered)
        link.stream.write(wire.Publish(subject, frame, callback), len(frame))

    async def _wait_to_publish(self, link: ReliableLink, subject: str, may_be_paused: bool) -> None:
        while self._link is link:
            if self._rejection is not None:
                raise self._rejection
            if may_be_paused and (resumed := self._paused.get(subject)) is not None:
                await self._wait_for_hub(link, subject, resumed)
            elif _is_full(link):
                if self._window_space is None:
                    self._window_space = asyncio.Event()
                await self._wait_for_hub(link, subject, self._window_space)
            else:
                return
        raise self._closed(f"publish on {subject}")

    async def _wait_for_hub(self, link: ReliableLink, subject: str, event: asyncio.Event) -> None:
        """Wait for ``event``, however long the hub takes, but not longer for a hub that is out of reach."""
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await event.wait()
        except TimeoutError:
            if not link.stream.connected:
                raise SynapseError(
                    f"cannot publish on {subject}: the hub at {self._address} could not be reached for"
                    f" {self._connect_timeout_s} s, and {link.stream.unacknowledged} commands are waiting"
                    " for it"
                ) from None

    def publish_from_thread(self, subject: str, frame: bytes) -> None:
        """Send ``frame`` to the hub from any thread, over a new connection."""
        datagram = wire.encode(wire.Datagram(check_subject(subject), frame))
        socket = make_dealer(self._address, self._keys)
        socket.connect(self._address.endpoint)
        socket.send(datagram)
        socket.close(LINGER_MS)

    # --- subscribing --------------------------------------------------------------------------------

    async def subscribe(
        self, pattern: str, handler: FrameHandler, *, queue_group: str | None = None
    ) -> ZmqSubscription:
        """Call ``handler`` with every frame that matches ``pattern``, once the hub has confirmed it.

        Raises:
            SynapseClosedError: The Synapse is not connected.
            SynapseError: The pattern or the name of the queue group is malformed, or the hub rejects the
                subscription or cannot be reached.
        """
        if self._link is None:
            raise self._closed(f"subscribe to {pattern}")
        if self._rejection is not None:
            raise self._rejection
        check_pattern(pattern, queue_group)
        self._last_sub += 1
        sub = self._last_sub
        request = wire.Subscribe(sub, pattern, queue_group, self._max_in_flight)
        subscription = self._subscriptions[sub] = ZmqSubscription(self, request, handler, self._max_pending)
        self.send(request)
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await subscription.confirmed
        except BaseException as error:
            self._subscriptions.pop(sub, None)
            self.send(wire.Unsubscribe(sub))
            if isinstance(error, TimeoutError):
                raise SynapseError(
                    f"the hub at {self._address} did not confirm the subscription to {pattern} within"
                    f" {self._connect_timeout_s} s"
                ) from None
            raise
        return subscription

    def send(self, command: wire.Command, size: int = 0) -> None:
        """Send a command to the hub; do nothing if the Synapse is closed."""
        if self._link is not None:
            self._link.stream.write(command, size)

    async def unsubscribe(self, subscription: ZmqSubscription) -> None:
        """Unsubscribe at the hub, and wait until it has confirmed that or does not respond."""
        sub, link = subscription.request.sub, self._link
        if sub not in self._subscriptions or link is None:
            return
        confirmed = self._unsubscribing.get(sub)
        if confirmed is None:
            confirmed = self._unsubscribing[sub] = asyncio.get_running_loop().create_future()
            self.send(wire.Unsubscribe(sub))
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._connect_timeout_s
        try:
            while not confirmed.done():
                wait_s = min(give_up_at, link.heard_at + UNRESPONSIVE_S) - loop.time()
                # Two calls may wait for it at once: waiting does not cancel it.
                await asyncio.wait((confirmed,), timeout=max(0.0, wait_s))
                if not confirmed.done() and loop.time() >= min(give_up_at, link.heard_at + UNRESPONSIVE_S):
                    logger.warning("the hub at %s did not confirm the end of a subscription", self._address)
                    break
        finally:
            subscription.stop()
            self._subscriptions.pop(sub, None)
            self._unsubscribing.pop(sub, None)

    # --- dead letters -------------------------------------------------------------------------------

    async def dead_letters(self) -> list[DeadLetter]:
        """Return the newest dead letters that the hub keeps, oldest first.

        Raises:
            SynapseClosedError: The Synapse is not connected.
            SynapseError: The hub cannot be reached.
        """
        if self._link is None:
            raise self._closed("read the dead letters")
        if self._rejection is not None:
            raise self._rejection
        request, answer = self._dead_letter_client.start()
        self.send(wire.GetDeadLetters(request))
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                return await answer
        except TimeoutError:
            raise SynapseError(
                f"the hub at {self._address} did not send its dead letters within {self._connect_timeout_s} s"
            ) from None
        finally:
            self._dead_letter_client.finish(request)

    def __repr__(self) -> str:
        state = "closed" if self._link is None else "connected"
        return f"<ZmqSynapse {state} to {self._address}>"


def _is_full(link: ReliableLink) -> bool:
    return link.stream.unacknowledged >= WINDOW or link.stream.unacknowledged_bytes >= WINDOW_BYTES


def from_url(
    url: str,
    *,
    key_file: str | None = None,
    server_key: str | None = None,
    **options: Any,
) -> ZmqSynapse:
    """Return the Synapse for ``zmq://host:port`` or ``zmq+ipc://path``.

    Args:
        url: The hub's URL. With ``zmq+ipc://path?hub=auto`` this process runs the hub if no other does.
        key_file: The file with this peer's secret key.
        server_key: The hub's public key, or the file with it.
        **options: As for `ZmqSynapse`.

    Raises:
        SynapseError: The URL is invalid, keys cannot be read, or keys are required and missing.
        TypeError: An option is unknown.
    """
    check_options("a ZeroMQ Synapse", options, inspect.signature(ZmqSynapse).parameters)
    if (key_file is None) is not (server_key is None):
        raise SynapseError("key_file and server_key must be given together: this peer's key, and the hub's")
    keys = None if key_file is None or server_key is None else PeerKeys.load(key_file, server_key)
    return ZmqSynapse(Address.parse(url), keys=keys, **options)
