"""Every check of a context Neuron, for whatever runs coroutines: no pytest, and hypothesis for one only.

A check takes a `ContextNeuronUnderTest`. It proves the requirement that `CHECKS` has it under, or raises a
`ConformanceError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cosmo_context.testing.checks_conduct import (
    check_any_loop,
    check_cancel_prompt,
    check_concurrent,
    check_usable_after_cancel,
)
from cosmo_context.testing.checks_data import (
    check_data_marked,
    check_data_tags,
    check_data_variables,
)
from cosmo_context.testing.checks_fragment import (
    check_examples,
    check_nothing_to_say,
    check_text,
    check_trailing_newline,
    check_unknown_option,
)
from cosmo_context.testing.checks_identity import (
    check_entry_point,
    check_name,
    check_placement,
    check_read_only,
    check_shape,
)
from cosmo_context.testing.checks_shorten import (
    check_shorten_fits,
    check_shorten_shorter,
)
from cosmo_context.testing.checks_state import (
    check_any_state,
    check_fork,
    check_reads,
    check_same_twice,
    check_state_untouched,
    check_wrong_shape,
)
from cosmo_context.testing.requirements import REQUIREMENTS
from cosmo_testing.conformance.checking import violation, violations

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cosmo_context.testing.subject import ContextNeuronUnderTest
    from cosmo_testing.conformance.requirements import Check

__all__ = [
    "CHECKS",
    "check_any_loop",
    "check_any_state",
    "check_cancel_prompt",
    "check_concurrent",
    "check_data_marked",
    "check_data_tags",
    "check_data_variables",
    "check_entry_point",
    "check_examples",
    "check_fork",
    "check_name",
    "check_nothing_to_say",
    "check_placement",
    "check_read_only",
    "check_reads",
    "check_same_twice",
    "check_shape",
    "check_shorten_fits",
    "check_shorten_shorter",
    "check_state_untouched",
    "check_text",
    "check_trailing_newline",
    "check_unknown_option",
    "check_usable_after_cancel",
    "check_wrong_shape",
    "violation",
    "violations",
]

CHECKS: Final[Mapping[str, Check[[ContextNeuronUnderTest]]]] = REQUIREMENTS.checks
"""The check of every requirement, by its id."""
