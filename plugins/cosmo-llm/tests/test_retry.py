from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cosmo_llm.http import transport


@given(st.integers(1, transport.MAX_ATTEMPTS - 1))
def test_the_back_off_doubles_and_is_bounded(attempt: int) -> None:
    delay = transport.retry_delay_s(attempt, None)
    longest = min(transport.MAX_DELAY_S, transport.FIRST_DELAY_S * 2.0 ** (attempt - 1))
    assert delay is not None
    assert longest / 2 <= delay <= longest


@given(st.integers(1, transport.MAX_ATTEMPTS - 1), st.floats(0, 1e9))
def test_a_provider_that_names_a_delay_gets_it(attempt: int, asked_s: float) -> None:
    assert transport.retry_delay_s(attempt, asked_s) == asked_s


@given(st.integers(transport.MAX_ATTEMPTS, 1_000), st.none() | st.floats(0, 1))
def test_there_is_no_delay_after_the_last_attempt(attempt: int, asked_s: float | None) -> None:
    assert transport.retry_delay_s(attempt, asked_s) is None
