"""Every requirement on a Synapse, in `KIT`. Each module defines some, with their checks.

A check takes a `SynapseUnderTest`: ``await check_order(subject)`` raises a `ConformanceError` if the subject
does not meet ``synapse:order``.
"""

from typing import Final

from cosmo_testing.conformance.kit import Kit
from cosmo_testing.synapses.checks import (
    connection,
    dendrites,
    faults,
    groups,
    model,
    publishing,
    redelivery,
    subjects,
    subscriptions,
)

KIT: Final = Kit(
    connection, publishing, subjects, subscriptions, groups, redelivery, faults, model, dendrites
)
"""The requirements on a Synapse."""
