"""What the durable subscriptions of one Synapse share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from cosmo_synapse_nats.connection import Connection
    from cosmo_synapse_nats.durable.clock import ServerClock
    from cosmo_synapse_nats.durable.graves import Graves
    from cosmo_synapse_nats.durable.outgoing import Outgoing
    from cosmo_synapse_nats.keeper import Keeper
    from cosmo_synapse_nats.options import Durability


@attrs.frozen
class Desk:
    """What it takes to serve stored frames."""

    connection: Connection
    outgoing: Outgoing
    keeper: Keeper
    clock: ServerClock
    graves: Graves
    durability: Durability
