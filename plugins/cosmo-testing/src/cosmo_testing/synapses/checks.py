"""Every check of a Synapse, for whatever runs coroutines: no pytest, and hypothesis for some of them.

A check takes a `SynapseUnderTest`. Each proves the requirement that `CHECKS` has it under, or raises a
`ConformanceError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cosmo_testing.conformance.checking import violation, violations
from cosmo_testing.synapses.checks_again import (
    check_again_closed,
    check_again_dead,
    check_again_done,
    check_again_failed,
    check_again_lost,
    check_durable_waits,
)
from cosmo_testing.synapses.checks_connection import (
    check_close_ends_deliveries,
    check_close_leaves_nothing,
    check_close_others,
    check_close_twice,
    check_connect_again,
    check_connect_twice,
    check_publish_closed,
    check_secrets,
    check_shape,
    check_subscribe_closed,
)
from cosmo_testing.synapses.checks_dendrite import (
    check_dendrite_duplicates,
    check_dendrite_malformed,
    check_dendrite_namespaces,
    check_dendrite_no_route,
    check_dendrite_round_trip,
    check_dendrite_tokens,
    check_dendrite_too_large,
)
from cosmo_testing.synapses.checks_dendrite_load import (
    check_dendrite_cancel,
    check_dendrite_stop,
    check_dendrite_storm,
)
from cosmo_testing.synapses.checks_faults import (
    check_congest_others,
    check_restart_recovers,
    check_sever_recovers,
    check_sever_takeover,
)
from cosmo_testing.synapses.checks_frames import (
    check_frame_bytes,
    check_frame_copy,
    check_frame_largest,
    check_frame_once,
    check_frame_strangers,
    check_frame_too_large,
    check_order,
    check_publish_concurrent,
)
from cosmo_testing.synapses.checks_groups import (
    check_group_beside_plain,
    check_group_each,
    check_group_fair,
    check_group_holds_back,
    check_group_leaving,
    check_group_one,
    check_group_patterns,
)
from cosmo_testing.synapses.checks_handlers import (
    check_handler_loop,
    check_handler_publishes,
    check_handler_raises,
    check_handler_unsubscribes,
    check_slow_bounded,
    check_slow_counted,
    check_slow_others,
)
from cosmo_testing.synapses.checks_held import (
    check_again_held,
    check_durable_held,
    check_durable_once,
)
from cosmo_testing.synapses.checks_interrupted import (
    check_cancel_publish,
    check_cancel_subscribe,
)
from cosmo_testing.synapses.checks_model import (
    check_model,
)
from cosmo_testing.synapses.checks_subjects import (
    check_fan_out,
    check_isolation,
    check_malformed_group,
    check_malformed_pattern,
    check_malformed_subject,
    check_wildcards,
)
from cosmo_testing.synapses.checks_subscriptions import (
    check_subscribe_confirmed,
    check_subscribe_many,
    check_subscribe_same,
    check_unsubscribe,
    check_unsubscribe_others,
    check_unsubscribe_twice,
    check_unsubscribe_working,
)
from cosmo_testing.synapses.checks_threads import (
    check_thread_elsewhere,
    check_thread_publish,
)
from cosmo_testing.synapses.checks_undelivered import (
    check_undelivered_nobody,
    check_undelivered_once,
    check_undelivered_overloaded,
    check_undelivered_silent,
)
from cosmo_testing.synapses.requirements import REQUIREMENTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cosmo_testing.conformance.requirements import Check

__all__ = [
    "CHECKS",
    "check_again_closed",
    "check_again_dead",
    "check_again_done",
    "check_again_failed",
    "check_again_held",
    "check_again_lost",
    "check_cancel_publish",
    "check_cancel_subscribe",
    "check_close_ends_deliveries",
    "check_close_leaves_nothing",
    "check_close_others",
    "check_close_twice",
    "check_congest_others",
    "check_connect_again",
    "check_connect_twice",
    "check_dendrite_cancel",
    "check_dendrite_duplicates",
    "check_dendrite_malformed",
    "check_dendrite_namespaces",
    "check_dendrite_no_route",
    "check_dendrite_round_trip",
    "check_dendrite_stop",
    "check_dendrite_storm",
    "check_dendrite_tokens",
    "check_dendrite_too_large",
    "check_durable_held",
    "check_durable_once",
    "check_durable_waits",
    "check_fan_out",
    "check_frame_bytes",
    "check_frame_copy",
    "check_frame_largest",
    "check_frame_once",
    "check_frame_strangers",
    "check_frame_too_large",
    "check_group_beside_plain",
    "check_group_each",
    "check_group_fair",
    "check_group_holds_back",
    "check_group_leaving",
    "check_group_one",
    "check_group_patterns",
    "check_handler_loop",
    "check_handler_publishes",
    "check_handler_raises",
    "check_handler_unsubscribes",
    "check_isolation",
    "check_malformed_group",
    "check_malformed_pattern",
    "check_malformed_subject",
    "check_model",
    "check_order",
    "check_publish_closed",
    "check_publish_concurrent",
    "check_restart_recovers",
    "check_secrets",
    "check_sever_recovers",
    "check_sever_takeover",
    "check_shape",
    "check_slow_bounded",
    "check_slow_counted",
    "check_slow_others",
    "check_subscribe_closed",
    "check_subscribe_confirmed",
    "check_subscribe_many",
    "check_subscribe_same",
    "check_thread_elsewhere",
    "check_thread_publish",
    "check_undelivered_nobody",
    "check_undelivered_once",
    "check_undelivered_overloaded",
    "check_undelivered_silent",
    "check_unsubscribe",
    "check_unsubscribe_others",
    "check_unsubscribe_twice",
    "check_unsubscribe_working",
    "check_wildcards",
    "violation",
    "violations",
]

CHECKS: Final[Mapping[str, Check[...]]] = REQUIREMENTS.checks
"""The check of every requirement, by its id."""
