"""The limits of a hub, which protect it and its peers from any peer: for each peer, and for all together.

A peer that exceeds a limit is closed, and the log says which one and why. It may connect again.

The limits are chosen so that 1,000 hostile peers take less than 256 MB in a process that runs only a hub:

=============================================================  =====
what                                                             MiB
=============================================================  =====
buffers of ZeroMQ and the state of 1,000 peers, 40 KiB each       39
`MAX_BACKLOG_BYTES`, and as much between two looks                32
`MAX_INBOX_BYTES`                                                  8
`MAX_TOTAL_BYTES` unacknowledged                                  36
`MAX_TRANSIT_BYTES`, and 1,000 times `FREE_TRANSIT_BYTES`         16
twice `MAX_WAITING_BYTES`                                         32
twice `MAX_LENT_BYTES`                                            48
`MAX_DEAD_BYTES`                                                   8
`MAX_PATTERN_TOKENS`, 100 bytes each                              10
`MAX_GONE` connections                                             5
together, which is 245 MB                                        234
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

MAX_BACKLOG_BYTES: Final = 16 * MIB
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

WILDCARD_TOKENS: Final = 49
"""How many tokens more a pattern with a wildcard counts for, because it may match each frame."""

MAX_REFUSED: Final = 2048
"""How many frames a peer may publish on a subject that the hub has paused."""

# --- from the hub to a peer -------------------------------------------------------------------------

MAX_UNACKNOWLEDGED: Final = 10_000
"""How many commands a peer may leave unacknowledged. Beyond that, frames outside of queue groups are
dropped; beyond twice as many the peer is closed."""

MAX_BYTES: Final = 64 * MIB
"""How many bytes of frames these commands may have."""

MAX_TOTAL_BYTES: Final = 36 * MIB
"""How many bytes of frames all peers together may leave unacknowledged. Beyond that, frames outside of queue
groups are dropped for peers with more than `FREE_TRANSIT_BYTES`, and for other frames the peer is closed that
has the most, and for the longest time."""

FREE_TRANSIT_BYTES: Final = 8 * KIB
"""How many bytes may be on their way to each peer in any case."""

MAX_TRANSIT_BYTES: Final = 8 * MIB
"""How many more bytes may be on their way to all peers together. More wait for acknowledgements."""

# --- in the hub -------------------------------------------------------------------------------------

MAX_WAITING_BYTES: Final = 16 * MIB
"""Bytes of frames that may wait for queue groups, in all. Beyond that, publishers are paused on subjects on
which frames wait, up to twice as many, and frames on other subjects are discarded."""

MAX_WAITING_SUBJECTS: Final = 1000
"""On how many subjects frames may wait for queue groups, in all."""

MAX_LENT_BYTES: Final = 24 * MIB
"""Bytes of frames that members of queue groups may work on, in all. Beyond that, peers with more than
`FREE_LENT_BYTES` get no more; beyond twice as many the peer with the most is closed."""

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
