"""Ids are unique, sorted, and encode their time; tokens are validated."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core import MalformedSignalError
from cosmo_core.protocol import ids

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@pytest.mark.clause("P-1.3")
def test_ulids_sort_by_creation_and_never_repeat() -> None:
    made = [ids.new_ulid() for _ in range(100_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


@pytest.mark.clause("P-1.3")
def test_threads_make_distinct_ids() -> None:
    made: list[list[str]] = [[] for _ in range(4)]

    def make(into: list[str]) -> None:
        into.extend(ids.new_ulid() for _ in range(20_000))

    threads = [threading.Thread(target=make, args=(into,)) for into in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len({id for into in made for id in into}) == 80_000


@pytest.mark.clause("P-1.6")
def test_ulid_encodes_its_time_stamp() -> None:
    before = datetime.now(UTC)
    id, ts = ids.new_event()
    ms = 0
    for char in id.removeprefix("evt_")[:10]:
        ms = ms * 32 + ALPHABET.index(char)
    assert ts.endswith("Z")
    stamped = datetime.fromisoformat(ts)
    assert stamped == datetime.fromtimestamp(ms // 1000, UTC) + timedelta(milliseconds=ms % 1000)
    assert abs(stamped - before) < timedelta(seconds=60)


def test_ids_increase_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first = ids.new_ulid()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    made = [ids.new_ulid() for _ in range(1000)]
    assert first < made[0]
    assert made == sorted(made)


def test_ids_increase_when_the_counter_is_exhausted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now)
    made = [ids.new_ulid() for _ in range((1 << 20) + 1)]
    assert all(one < other for one, other in pairwise(made))


@pytest.mark.clause("P-3.1")
@given(st.text(alphabet=st.sampled_from("abcXYZ019_-"), min_size=1, max_size=64))
def test_valid_token_is_accepted(name: str) -> None:
    assert ids.check_token("namespace", name) == name


@pytest.mark.clause("P-3.1")
@given(
    st.text().filter(lambda name: not (name.isascii() and name.replace("_", "a").replace("-", "a").isalnum()))
    | st.text(alphabet="ab", min_size=65)
)
def test_invalid_token_is_rejected(name: str) -> None:
    with pytest.raises(MalformedSignalError, match=r"namespace: .* is not a valid name"):
        ids.check_token("namespace", name)
