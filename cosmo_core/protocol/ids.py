"""Identifiers and time stamps.

An id is a prefix and a ULID: 48 bits of milliseconds, then 80 bits that start at random in every
millisecond and count up within it. Ids made in one process therefore sort in the order they were made,
and making one costs a counter, not 80 bits of randomness.
"""

from __future__ import annotations

import itertools
import re
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import attrs

from cosmo_core.errors import MalformedSignalError

ULID_PATTERN: Final = "[0-7][0-9A-HJKMNP-TV-Z]{25}"
TOKEN_PATTERN: Final = "[A-Za-z0-9_-]{1,64}"  # noqa: S105 - a name, not a password

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = [a + b for a in _ALPHABET for b in _ALPHABET]
_PAIR_BITS: Final = 10
_COUNTER_BITS: Final = 2 * _PAIR_BITS
# The counter starts in the lower half, so at least 2**19 ids fit into a millisecond.
_COUNTER_START_BITS: Final = _COUNTER_BITS - 1
# Of the bits before the counter: eleven pairs, the first of which are the time.
_RANDOM_BITS: Final = 60
_PREFIX_SHIFTS: Final = range(10 * _PAIR_BITS, -1, -_PAIR_BITS)
_NS_PER_MS: Final = 1_000_000

# The same few names come with every Signal.
_token = lru_cache(maxsize=10_000)(re.compile(TOKEN_PATTERN).fullmatch)


@attrs.frozen
class _Tick:
    """What all ids of one millisecond share. Replaced as a whole, so threads never see half of one."""

    ms: int
    ends_ns: int
    prefix: str
    counter: itertools.count[int]
    ts: str


def _encode(value: int) -> str:
    return "".join([_PAIRS[value >> shift & 1023] for shift in _PREFIX_SHIFTS])


def _new_tick(ms: int) -> _Tick:
    ts = datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
    # Drawn at once: each time asks the system.
    drawn = secrets.randbits(_RANDOM_BITS + _COUNTER_START_BITS)
    prefix = "evt_" + _encode(ms << _RANDOM_BITS | drawn >> _COUNTER_START_BITS)
    counter = itertools.count(drawn & (1 << _COUNTER_START_BITS) - 1)
    return _Tick(ms, (ms + 1) * _NS_PER_MS, prefix, counter, ts.removesuffix("+00:00") + "Z")


_tick = _new_tick(time.time_ns() // _NS_PER_MS)


def new_event() -> tuple[str, str]:
    """Return a fresh Signal id (``evt_`` + ULID) and its RFC 3339 time stamp, read from one clock."""
    global _tick
    tick = _tick
    now_ns = time.time_ns()
    if now_ns >= tick.ends_ns:
        tick = _tick = _new_tick(now_ns // _NS_PER_MS)
    n = next(tick.counter)
    if n >> _COUNTER_BITS:
        # The millisecond is used up, or the clock stands still: go on in the next one.
        _tick = _new_tick(tick.ms + 1)
        return new_event()
    return tick.prefix + _PAIRS[n >> _PAIR_BITS] + _PAIRS[n & 1023], tick.ts


def new_ulid() -> str:
    """Return a fresh 26-character ULID, greater than every one this process made before.

    A clock that is set back does not undo that: ids then go on from the latest time seen.
    """
    return new_event()[0].removeprefix("evt_")


def new_trace_id() -> str:
    """Return a fresh trace id: ``trc_`` + ULID."""
    return "trc_" + new_ulid()


def is_token(value: object) -> bool:
    """Tell whether ``value`` is a token: 1 to 64 ASCII letters, digits, ``_`` or ``-`` (P-3.1)."""
    return isinstance(value, str) and _token(value) is not None


def check_token(field: str, value: str) -> str:
    """Return ``value`` if it may name something on the bus (see `is_token`).

    Raises:
        MalformedSignalError: It may not; a dot or a star would reach other subjects than its own.
    """
    if not is_token(value):
        raise MalformedSignalError(field, f"{value!r} is not a name: use 1 to 64 of A-Z a-z 0-9 _ -")
    return value


class SeenIds:
    """A set that forgets: an id is known for ``window_s`` seconds or ``capacity`` further ids at least.

    It is the window of P-5.6. Two generations take turns, so nothing is stored or swept per id. It holds
    twice ``capacity`` ids at most, and none for longer than three windows.

    Args:
        clock: Monotonic seconds.
        window_s: For how long an id is remembered.
        capacity: How many ids a generation holds.

    Attributes:
        repeated: How many ids were not new.
    """

    def __init__(
        self, clock: Callable[[], float], *, window_s: float = 120.0, capacity: int = 10_000
    ) -> None:
        self.repeated = 0
        self._clock = clock
        self._window_s = window_s
        self._capacity = capacity
        self._young: set[str] = set()
        self._old: set[str] = set()
        self._turns_at = clock() + window_s

    def __contains__(self, id: str) -> bool:
        return id in self._young or id in self._old

    def add(self, id: str) -> bool:
        """Remember ``id``; tell whether it is new."""
        now = self._clock()
        if now >= self._turns_at or len(self._young) >= self._capacity:
            self._turn(now)
        young = self._young
        if id in young or id in self._old:  # not `in self`: that is a call, for every TASK
            self.repeated += 1
            return False
        young.add(id)
        return True

    def _turn(self, now: float) -> None:
        idle = now >= self._turns_at + self._window_s
        self._old = set() if idle else self._young
        self._young = set()
        self._turns_at = now + self._window_s
