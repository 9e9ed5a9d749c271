"""Routing for Synapses: subjects, wildcards, queue groups, limits and redelivery.

The package has no socket and no clock. The memory Synapse calls it directly, and the ZeroMQ hub puts it
behind one socket. A third-party Synapse can use it in the same way.
"""

from cosmo_core.routing.router import Consumer as Consumer
from cosmo_core.routing.router import Delivery as Delivery
from cosmo_core.routing.router import Router as Router
from cosmo_core.routing.table import MAX_CACHED_ROUTES as MAX_CACHED_ROUTES
from cosmo_core.routing.table import MAX_SUBJECT as MAX_SUBJECT
from cosmo_core.routing.table import QueueGroup as QueueGroup
from cosmo_core.routing.table import Route as Route
from cosmo_core.routing.table import SubjectTable as SubjectTable
from cosmo_core.routing.table import Turn as Turn
from cosmo_core.routing.table import check_pattern as check_pattern
from cosmo_core.routing.table import check_subject as check_subject
