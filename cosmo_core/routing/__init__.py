"""Routing for Synapses: subjects, wildcards, queue groups, limits and redelivery.

The package has no socket and no clock. The memory Synapse calls it directly, and the ZeroMQ hub puts it
behind one socket. A third-party Synapse can use it in the same way.
"""

from cosmo_core.routing.leases import Leases
from cosmo_core.routing.router import Consumer, Delivery, Router
from cosmo_core.routing.table import (
    MAX_CACHED_ROUTES,
    MAX_SUBJECT,
    QueueGroup,
    Route,
    SubjectTable,
    check_pattern,
    check_subject,
)

__all__ = [
    "MAX_CACHED_ROUTES",
    "MAX_SUBJECT",
    "Consumer",
    "Delivery",
    "Leases",
    "QueueGroup",
    "Route",
    "Router",
    "SubjectTable",
    "check_pattern",
    "check_subject",
]
