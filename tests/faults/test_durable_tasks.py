"""Durable TASKs end in their own output through kills of the server and of workers: a small proof.

``tests/soak/durable_nats.py`` is the whole one.
"""

from __future__ import annotations

import pytest

from cosmo_synapse_nats.testing import find_nats_server
from tests.soak.durable_nats import prove


@pytest.mark.skipif(find_nats_server() is None, reason="nats-server is not installed")
async def test_durable_tasks_end_in_their_own_output_through_kills() -> None:
    outcome = await prove(tasks=300, server_kills=2, worker_kills=2)
    assert outcome.ended == {"answered": 300}
    assert outcome.disturbances.total() == 4
