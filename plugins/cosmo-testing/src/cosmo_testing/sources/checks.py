"""Every check of a source, for whatever runs coroutines: no pytest, and hypothesis for one of them only.

A check takes a `SourceUnderTest`; those about failing providers take the name of a fault as well. Each
proves the requirement that `CHECKS` has it under, or raises a `ConformanceError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cosmo_testing.conformance.checking import cases, violation, violations
from cosmo_testing.sources.checks_conduct import (
    check_cancel_prompt,
    check_concurrent_answers,
    check_concurrent_cancel,
    check_no_task_left,
    check_nothing_left_open,
    check_usable_after_cancel,
)
from cosmo_testing.sources.checks_construction import (
    check_construction_offline,
    check_import_offline,
    check_unknown_option,
)
from cosmo_testing.sources.checks_contract import (
    check_aclose_idempotent,
    check_any_input,
    check_input_untouched,
    check_invalid_input,
    check_llm_output,
    check_neuron_shape,
    check_output_json,
    check_stream_abandoned,
    check_stream_joined,
    check_stream_order,
    check_usable_after_aclose,
)
from cosmo_testing.sources.checks_failures import (
    check_failure_code,
    check_failure_recoverable,
    check_failure_signal,
    check_retry_after,
    check_usable_after_failure,
)
from cosmo_testing.sources.checks_secrets import (
    check_secret_errors,
    check_secret_logs,
    check_secret_repr,
    check_secret_signals,
)
from cosmo_testing.sources.requirements import REQUIREMENTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cosmo_testing.conformance.requirements import Check

__all__ = [
    "CHECKS",
    "cases",
    "check_aclose_idempotent",
    "check_any_input",
    "check_cancel_prompt",
    "check_concurrent_answers",
    "check_concurrent_cancel",
    "check_construction_offline",
    "check_failure_code",
    "check_failure_recoverable",
    "check_failure_signal",
    "check_import_offline",
    "check_input_untouched",
    "check_invalid_input",
    "check_llm_output",
    "check_neuron_shape",
    "check_no_task_left",
    "check_nothing_left_open",
    "check_output_json",
    "check_retry_after",
    "check_secret_errors",
    "check_secret_logs",
    "check_secret_repr",
    "check_secret_signals",
    "check_stream_abandoned",
    "check_stream_joined",
    "check_stream_order",
    "check_unknown_option",
    "check_usable_after_aclose",
    "check_usable_after_cancel",
    "check_usable_after_failure",
    "violation",
    "violations",
]

CHECKS: Final[Mapping[str, Check[...]]] = REQUIREMENTS.checks
"""The check of every requirement, by its id."""
