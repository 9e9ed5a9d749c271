"""The wire protocol between a hub and its peers: messages, and the commands inside them.

A message is one ZeroMQ frame, encoded as a msgpack array. Commands travel in `PeerData` and `HubData`. These
are numbered and kept until the other side acknowledges them, so a broken connection loses none. The other
messages open the session, keep it alive, or go outside of it.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec

from cosmo_core import Undelivered

VERSION: Final = 1
"""The version of this protocol. A hub rejects peers of another version."""

SESSION_BYTES: Final = 16
"""Bytes in a session id. It must be hard to guess: any peer that knows it can take over the session."""

MAX_BATCH: Final = 64 * 1024
"""Bytes of frames that are batched in one message; a larger frame gets its own message."""

MAX_COMMANDS: Final = 32
"""How many commands one message may have. With more, the other side would be idle while the batch fills."""

OVERHEAD: Final = 128 * 1024
"""Bytes that a message may have beyond the largest frame."""

MAX_ACKS: Final = 1000
"""How many deliveries one command may acknowledge."""

MAX_REASON: Final = 1000
"""Characters in the longest reason for a failed delivery. A longer one is cut."""


MAX_PREFETCH: Final = 10_000
"""How many deliveries of one subscription may be unacknowledged."""


class Command(msgspec.Struct, array_like=True, gc=False):
    """One command of a peer or of the hub."""


# --- from a peer to the hub -------------------------------------------------------------------------


class Subscribe(Command, tag=1):
    """Subscribe to a pattern.

    ``sub`` is the subscription's number, chosen by the peer. ``prefetch`` limits its unacknowledged
    deliveries. ``again`` is set if an earlier hub had confirmed the subscription.
    """

    sub: int
    pattern: str
    queue_group: str | None
    prefetch: int
    again: bool = False


class Unsubscribe(Command, tag=2):
    """End a subscription. The hub answers with `Unsubscribed` after all frames that it sent before."""

    sub: int


class Publish(Command, tag=3):
    """Publish a frame. ``callback`` is the number of the peer's ``undelivered`` callback, or 0 for none."""

    subject: str
    frame: bytes
    callback: int


class Ack(Command, tag=4):
    """Acknowledge deliveries of a subscription."""

    sub: int
    numbers: Annotated[list[int], msgspec.Meta(max_length=MAX_ACKS)]


class Nack(Command, tag=5):
    """Report a delivery on which the handler failed."""

    sub: int
    number: int
    reason: str


class Requeue(Command, tag=6):
    """Return a delivery that the handler did not start on."""

    sub: int
    number: int


class GetDeadLetters(Command, tag=8):
    """Ask for the dead letters. The hub answers with `DeadLetterItem` commands for the same ``request``."""

    request: int


class Leave(Command, tag=9):
    """End the session for good."""


# --- from the hub to a peer -------------------------------------------------------------------------


class Subscribed(Command, tag=21):
    """The subscription is active."""

    sub: int


class SubscribeRejected(Command, tag=22):
    """The hub does not accept the subscription."""

    sub: int
    reason: str


class Unsubscribed(Command, tag=23):
    """The subscription has ended; no more frames follow."""

    sub: int


class Deliver(Command, tag=24):
    """A frame.

    ``number`` is the number of its delivery, or 0. ``held_ms`` is the time that it waited in the hub, in
    milliseconds.
    """

    sub: int
    frame: bytes
    number: int
    held_ms: int


class Dropped(Command, tag=25):
    """How many frames of a subscription the hub has dropped so far."""

    sub: int
    total: int


class Undeliverable(Command, tag=26):
    """A frame that was not delivered, for the ``callback`` that it was published with."""

    callback: int
    frame: bytes
    cause: Undelivered


class PauseSubject(Command, tag=27):
    """Publish no frames without a callback on the subject until `ResumeSubject`."""

    subject: str


class ResumeSubject(Command, tag=28):
    """The subject's queue has space again."""

    subject: str


class DeadLetterItem(Command, tag=29):
    """One dead letter of an answer; ``subject`` is None at the end of the answer."""

    request: int
    subject: str | None
    frame: bytes
    deliveries: int
    reason: str


PeerCommand: TypeAlias = Subscribe | Unsubscribe | Publish | Ack | Nack | Requeue | GetDeadLetters | Leave
HubCommand: TypeAlias = (
    Subscribed
    | SubscribeRejected
    | Unsubscribed
    | Deliver
    | Dropped
    | Undeliverable
    | PauseSubject
    | ResumeSubject
    | DeadLetterItem
)

# --- messages ---------------------------------------------------------------------------------------


class Message(msgspec.Struct, array_like=True, gc=False):
    """One message."""


class Hello(Message, tag=1):
    """A peer opens or resumes a session.

    ``received`` is the number of the last message that it received. ``reconnecting`` is set if any hub at
    this address knew the peer before.
    """

    version: int
    session: bytes
    received: int
    reconnecting: bool = False


class Welcome(Message, tag=2):
    """The hub accepts a peer.

    ``resumed`` is set if the hub knows the session, and ``received`` is the number of the last message that
    it received.
    """

    resumed: bool
    received: int
    max_frame: int


class Rejection(Message, tag=3):
    """The hub does not accept the peer."""

    reason: str


class Heartbeat(Message, tag=4):
    """The sender is alive; ``received`` acknowledges all messages up to that number."""

    received: int


class Datagram(Message, tag=5):
    """A frame that is published outside of any session, by a peer whose event loop is blocked."""

    subject: str
    frame: bytes


class PeerData(Message, tag=6):
    """Commands of a peer; ``received`` acknowledges all messages up to that number."""

    number: int
    received: int
    commands: Annotated[list[PeerCommand], msgspec.Meta(max_length=MAX_COMMANDS)]


class HubData(Message, tag=7):
    """Commands of the hub; ``received`` acknowledges all messages up to that number."""

    number: int
    received: int
    commands: list[HubCommand]


class UnknownSession(Message, tag=8):
    """The hub knows no session of this peer; the peer must send `Hello` again."""


PEER_DATA: Final = b"\x94\x06"
"""The first two bytes of every encoded `PeerData`."""

# Bytes of an integer that does not fit into its first byte, by that byte.
_INTEGER_BYTES: Final = {0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9}


def count_commands(raw: bytes | memoryview) -> int:
    """Return how many commands an encoded `PeerData` has, without decoding it; at most `MAX_COMMANDS`.

    It is also `MAX_COMMANDS` for 16 commands or more, and if the message is not encoded as usual.
    """
    at = len(PEER_DATA)
    try:
        for _ in ("number", "received"):
            at += 1 if raw[at] < 0x80 else _INTEGER_BYTES[raw[at]]
        return raw[at] & 0x0F if raw[at] & 0xF0 == 0x90 else MAX_COMMANDS
    except LookupError:
        return MAX_COMMANDS


def _encode_other(value: object) -> bytes:
    """Return the bytes of a frame of a subclass of bytes: a frame that waited may be published again."""
    if isinstance(value, bytes):
        return bytes(value)
    raise TypeError(f"a frame must be bytes, not {type(value).__name__}")


encode: Final = msgspec.msgpack.Encoder(enc_hook=_encode_other).encode
decode_for_hub: Final = msgspec.msgpack.Decoder(Hello | Datagram | Heartbeat | PeerData).decode
decode_for_peer: Final = msgspec.msgpack.Decoder(
    Welcome | Rejection | Heartbeat | HubData | UnknownSession
).decode
