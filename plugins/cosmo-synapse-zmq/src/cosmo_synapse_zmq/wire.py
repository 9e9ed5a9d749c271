"""What a hub and its peers say to each other: messages, and the commands inside them.

A message is one ZeroMQ frame: msgpack, as arrays. What either side means travels in `PeerData` or `HubData`,
numbered, and kept until it was acknowledged: a connection that breaks loses nothing. The other messages make
the connection, and keep it.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from cosmo_core import Undelivered

VERSION: Final = 1
"""Of this protocol. A hub refuses peers of another one."""

SESSION_BYTES: Final = 16
"""How long the name of a session is: it must not be guessed: whoever knows it gets what is meant for it."""

MAX_BATCH: Final = 64 * 1024
"""Bytes of frames in a message; a larger frame has one of its own."""

OVERHEAD: Final = MAX_BATCH + 64 * 1024
"""Bytes that a message may have beyond the largest frame."""


class Command(msgspec.Struct, array_like=True, gc=False):
    """One thing that a peer or the hub wants."""


# --- from a peer to the hub -------------------------------------------------------------------------


class Subscribe(Command, tag=1):
    """``sub`` is the peer's own number of the subscription; ``credit`` bounds the letters it has in work.

    ``again`` says that a hub before this one had confirmed it.
    """

    sub: int
    pattern: str
    queue_group: str | None
    credit: int
    again: bool = False


class Unsubscribe(Command, tag=2):
    """Answered with `Unsubscribed`, after everything that was sent for the subscription before."""

    sub: int


class Publish(Command, tag=3):
    """``tell`` is the peer's number of who is told when the frame is not delivered; 0 if nobody is."""

    subject: str
    frame: bytes
    tell: int


class Settle(Command, tag=4):
    """Letters that a handler is done with, by subscription."""

    sub: int
    numbers: list[int]


class Fail(Command, tag=5):
    """A letter on which a handler failed."""

    sub: int
    number: int
    reason: str


class GiveBack(Command, tag=6):
    """A letter that came too late for its handler."""

    sub: int
    number: int


class AskDead(Command, tag=8):
    """Answered with `Dead`, which has the same ``question``."""

    question: int


class Leave(Command, tag=9):
    """The peer goes for good."""


# --- from the hub to a peer -------------------------------------------------------------------------


class Subscribed(Command, tag=21):
    """The subscription holds from now on."""

    sub: int


class Refused(Command, tag=22):
    """The subscription cannot be had."""

    sub: int
    reason: str


class Unsubscribed(Command, tag=23):
    """Nothing more comes for the subscription."""

    sub: int


class Deliver(Command, tag=24):
    """``number`` is that of the letter, or 0; ``held_ms`` says for how long it waited."""

    sub: int
    frame: bytes
    number: int
    held_ms: int


class Dropped(Command, tag=25):
    """How many frames of a subscription the hub has given up so far."""

    sub: int
    total: int


class Returned(Command, tag=26):
    """A frame that was not delivered, to whom it was published with ``tell``."""

    tell: int
    frame: bytes
    why: Undelivered


class Hold(Command, tag=27):
    """Publish nothing on the subject until `Release`, but for what is to be told."""

    subject: str


class Release(Command, tag=28):
    """There is room again."""

    subject: str


class Dead(Command, tag=29):
    """One dead letter; the last one of an answer has no subject."""

    question: int
    subject: str | None
    frame: bytes
    deliveries: int
    reason: str


PeerCommand: TypeAlias = Subscribe | Unsubscribe | Publish | Settle | Fail | GiveBack | AskDead | Leave
HubCommand: TypeAlias = (
    Subscribed | Refused | Unsubscribed | Deliver | Dropped | Returned | Hold | Release | Dead
)

# --- messages ---------------------------------------------------------------------------------------


class Message(msgspec.Struct, array_like=True, gc=False):
    """One message."""


class Hello(Message, tag=1):
    """A peer begins a session, or resumes it; ``received`` is the last number that it has.

    ``again`` says that a hub knew it before, be it this one or one that died.
    """

    version: int
    session: bytes
    received: int
    again: bool = False


class Welcome(Message, tag=2):
    """``resumed`` says whether the hub knows the session; ``received`` is the last number that it has."""

    resumed: bool
    received: int
    max_frame: int


class Refusal(Message, tag=3):
    """The hub does not talk to this peer."""

    reason: str


class Beat(Message, tag=4):
    """The hub is there, and has received so much."""

    received: int


class Shout(Message, tag=5):
    """A frame outside of any session: from a peer whose event loop is blocked."""

    subject: str
    frame: bytes


class PeerData(Message, tag=6):
    """What a peer wants. ``received`` acknowledges everything up to that number."""

    number: int
    received: int
    commands: list[PeerCommand]


class HubData(Message, tag=7):
    """What the hub wants. ``received`` acknowledges everything up to that number."""

    number: int
    received: int
    commands: list[HubCommand]


class Lost(Message, tag=8):
    """The hub knows no session of this peer: it has to begin anew."""


encode: Final = msgspec.msgpack.Encoder().encode
decode_for_hub: Final = msgspec.msgpack.Decoder(Hello | Shout | Beat | PeerData).decode
decode_for_peer: Final = msgspec.msgpack.Decoder(Welcome | Refusal | Beat | HubData | Lost).decode
