"""The limits of a hub, which protect it and its peers from any peer: for each peer, and for all together.

A peer that exceeds a limit is closed, and the log says which one and why. It may connect again.

The limits are chosen so that 1,000 hostile peers take less than 256 MB in a process that runs only a hub:

=============================================================  =====
what                                                             MiB
=============================================================  =====
buffers of ZeroMQ and the state of 1,000 peers, 40 KiB each       39
`MAX_BACKLOG_BYTES`, and as much between two looks                24
`MAX_INBOX_BYTES`                                                  8
`MAX_TOTAL_BYTES` unacknowledged                                  32
`MAX_TRANSIT_BYTES`, and 1,000 times `FREE_TRANSIT_BYTES`         16
`MAX_QUEUED_BYTES`                                                40
twice `MAX_LENT_BYTES`                                            40
`MAX_DEAD_BYTES`                                                   8
`MAX_PATTERN_TOKENS`, 240 bytes each                              23
`MAX_GONE` connections                                             5
together, which is 246 MB                                        235
=============================================================  =====

`MAX_EARLY_BYTES` is in use in the first second of a hub only, before frames wait elsewhere.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# --- connections ------------------------------------------------------------------------------------

HELLO_S: Final = 5.0
"""Within how many seconds a connection must say Hello. Connections that only send a datagram end sooner."""

MAX_BEFORE_HELLO: Final = 3000
"""How many messages a connection may send outside of a session. After a restart of the hub, its peers send
what was on its way to the previous one."""

MAX_DATAGRAMS: Final = 32
"""How many datagrams one connection may send: an honest peer opens one for each."""

MAX_HELLOS: Final = 16
"""How many times one connection may say Hello."""

MAX_UNWELCOMED: Final = 1000
"""How many connections may not have said Hello yet. Beyond that the oldest is closed."""

MAX_GONE: Final = 10_000
"""How many closed connections are remembered, so that what they have sent before is discarded unread."""

MAX_SESSIONS: Final = 10_000
"""How many peers may be connected."""

# --- from a peer to the hub -------------------------------------------------------------------------

RECEIVE_BUFFER: Final = 64 * KIB
"""Bytes that the system keeps of each connection. It is also the most that is read of one at a time, so that
no connection keeps ZeroMQ's thread from others."""

MAX_BACKLOG_BYTES: Final = 12 * MIB
"""Bytes of messages that wait in ZeroMQ for the hub, complete or not, in all. Beyond that, those connections
are closed that have sent the most. Connections without Hello that send more then are closed, and their
messages are discarded. The bytes are known on Linux and for TCP only."""

MIN_BACKLOG_BYTES: Final = 4 * KIB
"""A connection with less than that is not closed for it."""

MAX_INBOX_BYTES: Final = 8 * MIB
"""Bytes of messages that wait to be executed while the hub is busy, in all. Beyond that the peer with the
most is closed."""

MAX_INBOX: Final = 1200
"""How many messages of one peer may wait. An honest peer waits for acknowledgements before that."""

MAX_SUBSCRIPTIONS: Final = 10_000
"""How many subscriptions one peer may have."""

MAX_PATTERN_TOKENS: Final = 100_000
"""How many tokens the patterns of all subscriptions may have, in all. Beyond that the peer with the most is
closed."""

FREE_PATTERN_TOKENS: Final = 200
"""How many tokens the patterns of each peer may have in any case."""

SUBSCRIPTION_TOKENS: Final = 6
"""How many tokens more each subscription counts for."""

WILDCARD_TOKENS: Final = 49
"""How many tokens more a pattern counts for that makes a frame go to more receivers: with a wildcard, or one
that its peer has subscribed to already."""

MAX_REFUSED: Final = 2048
"""How many frames a peer may publish on a subject that the hub has paused."""

# --- from the hub to a peer -------------------------------------------------------------------------

MAX_UNACKNOWLEDGED: Final = 10_000
"""How many commands a peer may leave unacknowledged. Beyond that, frames outside of queue groups are
dropped; beyond twice as many the peer is closed."""

MAX_BYTES: Final = 64 * MIB
"""How many bytes of frames these commands may have."""

MAX_TOTAL_BYTES: Final = 32 * MIB
"""How many bytes all peers together may leave unacknowledged. Beyond that, frames outside of queue groups are
dropped for peers with more than `FREE_TRANSIT_BYTES`, and for other commands the peer is closed that has the
most, and for the longest time. It is more than `MAX_LENT_BYTES`, so that members which get frames faster than
they are sent to them come to that limit first."""

FREE_TRANSIT_BYTES: Final = 8 * KIB
"""How many bytes may be on their way to each peer in any case."""

MAX_TRANSIT_BYTES: Final = 8 * MIB
"""How many more bytes may be on their way to all peers together. More wait for acknowledgements."""

# --- in the hub -------------------------------------------------------------------------------------

MAX_WAITING_BYTES: Final = 16 * MIB
"""Bytes of frames that may wait for queue groups, in all. Beyond that their publishers are paused; half as
many more may wait that come before a publisher pauses, and other frames are discarded."""

MAX_PEER_WAITING_BYTES: Final = 4 * MIB
"""Bytes of frames of one publisher that may wait for queue groups. Beyond that it is paused; as many more may
wait that come before it pauses, and other frames of it are discarded."""

FREE_WAITING_BYTES: Final = 8 * KIB
"""Bytes of frames of each publisher that may wait for queue groups in any case."""

WAITING_BYTES: Final = 384
"""Bytes that each frame which waits is counted with beside its content."""

QUEUE_BYTES: Final = 1280
"""The same for the first frame that waits on a subject."""

MAX_WAITING_SUBJECTS: Final = 1000
"""On how many subjects frames may wait for one queue group. Twice as many for publishers with at most
`FREE_WAITING_BYTES`."""

MAX_QUEUED_BYTES: Final = 40 * MIB
"""Bytes of all frames that wait for queue groups, with those that wait to be redelivered. Beyond that, the
newest on the newest subject are given up."""

MAX_LENT_BYTES: Final = 20 * MIB
"""Bytes of frames that members of queue groups may work on, in all. Beyond that, peers with more than
`FREE_LENT_BYTES` get no more; beyond twice as many the peer with the most is closed."""

DELIVERY_BYTES: Final = 256
"""Bytes that each of these frames is counted with beside its content."""

FREE_LENT_BYTES: Final = 64 * KIB
"""Bytes of frames that the members in one peer may work on in any case."""

MAX_DEAD_BYTES: Final = 8 * MIB
"""Bytes of dead letters. Beyond that the oldest are discarded."""

MAX_DEAD_ANSWERS: Final = 16
"""How many requests for the dead letters are answered within one heartbeat; others wait for the next."""

MAX_DEAD_REQUESTS: Final = 32
"""How many requests for the dead letters a peer may have open."""

MAX_EARLY: Final = 10_000
"""How many frames a new hub keeps for subscribers that may reconnect."""

MAX_EARLY_BYTES: Final = 16 * MIB
"""Bytes of these frames."""

MAX_CALLBACKS: Final = 64
"""For how many callbacks of each peer the hub keeps a function to report with. It makes others again."""
