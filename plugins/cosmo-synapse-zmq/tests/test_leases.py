"""Leases against a simple model: when each holder last renewed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cosmo_synapse_zmq.leases import Leases

LEASE_S = 3.0

# Quarters of seconds add up without rounding, so that exact expiry times are tested too.
STEPS = st.tuples(
    st.sampled_from(("renew", "end", "expire")),
    st.sampled_from("abcd"),
    st.integers(0, 16).map(lambda n: n / 4),
)


@given(st.lists(STEPS, max_size=60))
def test_a_lease_that_is_not_renewed_in_time_expires(steps: list[tuple[str, str, float]]) -> None:
    leases: Leases[str] = Leases(LEASE_S)
    renewed: dict[str, float] = {}
    now = 100.0
    for what, holder, later in steps:
        now += later
        if what == "renew":
            leases.renew(holder, now)
            renewed.pop(holder, None)
            renewed[holder] = now
        elif what == "end":
            leases.end(holder)
            renewed.pop(holder, None)
        else:
            late = [holder for holder, then in renewed.items() if now - then >= LEASE_S]
            assert leases.expire(now) == late
            for holder in late:
                del renewed[holder]
            assert leases.expire(now) == [], "a lease expires once"
    assert set(leases.expire(now + LEASE_S)) == set(renewed)


def test_a_lease_is_valid_until_exactly_its_end() -> None:
    leases: Leases[str] = Leases(LEASE_S)
    leases.renew("a", 10.0)
    assert leases.expire(12.999) == []
    assert leases.expire(13.0) == ["a"]


def test_a_holder_may_renew_after_its_lease_expired() -> None:
    leases: Leases[str] = Leases(LEASE_S)
    leases.renew("a", 0.0)
    assert leases.expire(5.0) == ["a"]
    leases.renew("a", 5.0)
    assert leases.expire(7.0) == []
    leases.end("a")
    leases.end("a")
    assert leases.expire(100.0) == []
