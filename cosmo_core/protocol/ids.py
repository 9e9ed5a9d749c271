"""Identifiers, time stamps and tokens.

An id is a prefix and a ULID: 48 bits of milliseconds, then 80 bits that start at a random value in every
millisecond and count up within it. Ids of one process therefore sort in the order of their creation, and
a new id costs one step of a counter instead of 80 random bits.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import msgspec

from cosmo_core.errors import MalformedSignalError

ULID_PATTERN: Final = "[0-7][0-9A-HJKMNP-TV-Z]{25}"
TOKEN_PATTERN: Final = "[A-Za-z0-9_-]{1,64}"  # noqa: S105 - a name, not a password

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = [a + b for a in _ALPHABET for b in _ALPHABET]
_PAIR_BITS: Final = 10
_COUNTER_BITS: Final = 2 * _PAIR_BITS
# The counter starts in the lower half of its range, so at least 2**19 ids fit into a millisecond.
_COUNTER_START_BITS: Final = _COUNTER_BITS - 1
# The bits before the counter are eleven pairs of characters; the first of them encode the time.
_RANDOM_BITS: Final = 60
_DRAWN_BYTES: Final = -(-(_RANDOM_BITS + _COUNTER_START_BITS) // 8)
_PREFIX_SHIFTS: Final = range(10 * _PAIR_BITS, -1, -_PAIR_BITS)
_NS_PER_MS: Final = 1_000_000

# Every Signal repeats the same few tokens.
_token = lru_cache(maxsize=10_000)(re.compile(TOKEN_PATTERN).fullmatch)


class _Tick(msgspec.Struct, frozen=True):
    """The state that all ids of one millisecond share; replaced as a whole, for other threads."""

    ms: int
    ends_ns: int
    prefix: str
    counter: Iterator[int]
    ts: str


def _encode(value: int) -> str:
    return "".join([_PAIRS[value >> shift & 1023] for shift in _PREFIX_SHIFTS])


def _new_tick(ms: int) -> _Tick:
    ts = datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
    # One call for both values: each call is a system call. `secrets` would load a module for hashes first.
    drawn = int.from_bytes(os.urandom(_DRAWN_BYTES))
    prefix = "evt_" + _encode(ms << _RANDOM_BITS | drawn >> _COUNTER_START_BITS & (1 << _RANDOM_BITS) - 1)
    counter = itertools.count(drawn & (1 << _COUNTER_START_BITS) - 1)
    return _Tick(ms, (ms + 1) * _NS_PER_MS, prefix, counter, ts.removesuffix("+00:00") + "Z")


_tick = _new_tick(time.time_ns() // _NS_PER_MS)


def new_event() -> tuple[str, str]:
    """Return a new Signal id (``evt_`` + ULID) and its RFC 3339 time stamp, from one reading of the clock."""
    global _tick
    tick = _tick
    now_ns = time.time_ns()
    if now_ns >= tick.ends_ns:
        tick = _tick = _new_tick(now_ns // _NS_PER_MS)
    n = next(tick.counter)
    if n >> _COUNTER_BITS:
        # The counter of this millisecond is exhausted, or the clock stands still: continue in the next one.
        _tick = _new_tick(tick.ms + 1)
        return new_event()
    return tick.prefix + _PAIRS[n >> _PAIR_BITS] + _PAIRS[n & 1023], tick.ts


def new_ulid() -> str:
    """Return a new 26-character ULID, greater than every earlier one of this process.

    This also holds when the clock is set back: new ids then continue from the latest time seen.
    """
    return new_event()[0].removeprefix("evt_")


def new_trace_id() -> str:
    """Return a new trace id: ``trc_`` + ULID."""
    return "trc_" + new_ulid()


def is_token(value: object) -> bool:
    """Return whether ``value`` is a token: 1 to 64 ASCII letters, digits, ``_`` or ``-`` (P-3.1)."""
    return isinstance(value, str) and _token(value) is not None


def check_token(field: str, value: str) -> str:
    """Return ``value`` if it is a token (see `is_token`): a dot or a star in it would match other subjects.

    Raises:
        MalformedSignalError: ``value`` is not a token; the error names ``field``.
    """
    if not is_token(value):
        raise MalformedSignalError(field, f"{value!r} is not a valid name: use 1 to 64 of A-Z a-z 0-9 _ -")
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
