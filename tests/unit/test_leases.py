"""Leases against the plainest model there is: when each holder was renewed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cosmo_core.routing import Leases

LEASE_S = 3.0

# Quarters of seconds: they add up without rounding, so that "just in time" is tried too.
STEPS = st.tuples(
    st.sampled_from(("renew", "end", "expire")),
    st.sampled_from("abcd"),
    st.integers(0, 16).map(lambda n: n / 4),
)


@given(st.lists(STEPS, max_size=60))
def test_a_lease_ends_when_it_was_not_renewed_in_time(steps: list[tuple[str, str, float]]) -> None:
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
            assert leases.expire(now) == [], "a lease ends once"
    assert set(leases.expire(now + LEASE_S)) == set(renewed)


def test_a_lease_holds_up_to_its_end_and_not_beyond() -> None:
    leases: Leases[str] = Leases(LEASE_S)
    leases.renew("a", 10.0)
    assert leases.expire(12.999) == []
    assert leases.expire(13.0) == ["a"]


def test_whoever_comes_back_after_the_end_begins_anew() -> None:
    leases: Leases[str] = Leases(LEASE_S)
    leases.renew("a", 0.0)
    assert leases.expire(5.0) == ["a"]
    leases.renew("a", 5.0)
    assert leases.expire(7.0) == []
    leases.end("a")
    leases.end("a")
    assert leases.expire(100.0) == []
