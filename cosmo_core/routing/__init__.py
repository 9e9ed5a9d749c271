"""Routing, written once: who gets a frame, when there is room, and what becomes of it when they are lost.

It has no socket, no clock and no event loop. The memory Synapse calls it directly, the ZeroMQ hub puts it
behind one socket, and a Synapse of yours may do likewise.
"""

from cosmo_core.routing.leases import Leases
from cosmo_core.routing.member import Letter, Member
from cosmo_core.routing.router import Router
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
    "Leases",
    "Letter",
    "Member",
    "QueueGroup",
    "Route",
    "Router",
    "SubjectTable",
    "check_pattern",
    "check_subject",
]
