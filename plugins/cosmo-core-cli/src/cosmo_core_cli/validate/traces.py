"""Holding traces against their life cycle; needs the extra ``cosmo-core[testing]``."""

from __future__ import annotations

from collections.abc import Iterable

from cosmo_core import Signal
from cosmo_testing.life_cycle import PRESENCE
from cosmo_testing.traces import InvalidTraceError, assert_valid_trace


def first_wrong(signals: Iterable[Signal]) -> tuple[Signal, str, str] | None:
    """Return the first Signal that breaks a rule, the rule, and how; None if none does.

    Announcements are passed over: a dump of all that passed has them, and they are on no trace.
    """
    try:
        assert_valid_trace(signal for signal in signals if signal.type not in PRESENCE)
    except InvalidTraceError as error:
        return error.signal, error.rule, str(error).removeprefix(f"{error.rule}: ")
    return None
