"""`SeenIds`: the de-duplication window, bounded in time and size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core.protocol.ids import SeenIds

WINDOW_S, CAPACITY = 10.0, 5


@pytest.mark.clause("P-5.6")
@given(st.lists(st.tuples(st.floats(0, 12), st.integers(0, 12)), max_size=60))
def test_id_is_known_within_window_and_capacity_and_forgotten_later(
    events: list[tuple[float, int]],
) -> None:
    now = 0.0
    seen = SeenIds(lambda: now, window_s=WINDOW_S, capacity=CAPACITY)
    added: dict[str, tuple[float, int]] = {}
    count = 0
    for after, number in events:
        now += after
        id = f"id{number}"
        new = seen.add(id)
        if id in added:
            then, earlier = added[id]
            if now - then < WINDOW_S and count - earlier < CAPACITY:
                assert not new
            if now - then >= 3 * WINDOW_S:
                assert new
        else:
            assert new
        if new:
            count += 1
            added[id] = (now, count)
        assert len(seen._young) + len(seen._old) <= 2 * CAPACITY
