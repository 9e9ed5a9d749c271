"""What section 13 of the specification says of every Synapse holds of the memory Synapse and of the double.

The double is there for what the memory Synapse does not claim: redelivery, durability, and faults.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.conformance.synapse_double import Double, DurableDouble, under_test

from cosmo_synapse_memory import MemoryBus, MemorySynapse
from cosmo_testing import SynapseUnderTest
from cosmo_testing.synapses.checks import KIT

# Scaled up, a clause takes as much longer as its checks.
pytestmark = pytest.mark.timeout(120 * SynapseUnderTest.scale)

PAGE = (Path(__file__).parents[4] / "docs" / "protocol.md").read_text("utf-8")
CLAUSE = re.compile(r"^- \*\*(P-13\.\d+)\*\* (.+?)(?=\n\n|\n- |\n#|\Z)", re.MULTILINE | re.DOTALL)
CITED = {id: re.findall(r"`(synapse:[a-z-]+)`", text) for id, text in CLAUSE.findall(PAGE)}


class MemoryUnderTest(SynapseUnderTest):
    capacity = 32

    @asynccontextmanager
    async def bus(self) -> AsyncIterator[None]:
        self._bus = MemoryBus(max_waiting=16)
        yield

    async def connect(self) -> MemorySynapse:
        synapse = MemorySynapse(self._bus, max_in_flight=8, max_pending=8)
        await synapse.connect()
        return synapse

    async def inject(self, subject: str, raw: bytes) -> None:
        stranger = await self.connect()
        await stranger.publish(subject, raw)
        await stranger.close()


async def holds(clause: str) -> bool:
    """Check what a clause cites on every Synapse that claims it; tell whether each was claimed by one."""
    proved = set()
    for subject in (MemoryUnderTest(), under_test(Double), under_test(DurableDouble)):
        for requirement in CITED[clause]:
            if subject.exemption(KIT[requirement]) is None:
                error = await KIT.violation(subject, requirement)
                if error is not None:
                    raise error
                proved.add(requirement)
    return proved == {*CITED[clause]} != set()


def test_every_requirement_is_cited_once_and_every_cited_one_exists() -> None:
    cited = [requirement for requirements in CITED.values() for requirement in requirements]
    assert sorted(cited) == sorted(KIT)


def test_no_other_section_cites_a_requirement() -> None:
    assert re.findall("synapse:", PAGE.partition("## 13 ")[0]) == []


@pytest.mark.clause("P-13.1")
async def test_synapse_has_consistent_guarantees() -> None:
    assert await holds("P-13.1")


@pytest.mark.clause("P-13.2")
async def test_connect_and_close_twice_are_not_errors() -> None:
    assert await holds("P-13.2")


@pytest.mark.clause("P-13.3")
async def test_closed_synapse_leaves_nothing_and_affects_no_peer() -> None:
    assert await holds("P-13.3")


@pytest.mark.clause("P-13.4")
async def test_secrets_are_not_shown() -> None:
    assert await holds("P-13.4")


@pytest.mark.clause("P-13.5")
async def test_frames_arrive_as_they_were_sent() -> None:
    assert await holds("P-13.5")


@pytest.mark.clause("P-13.6")
async def test_frames_of_every_size_that_is_allowed_arrive() -> None:
    assert await holds("P-13.6")


@pytest.mark.clause("P-13.7")
async def test_frames_of_one_publisher_arrive_in_order() -> None:
    assert await holds("P-13.7")


@pytest.mark.clause("P-13.8")
async def test_frames_reach_only_subscribers() -> None:
    assert await holds("P-13.8")


@pytest.mark.clause("P-13.9")
async def test_malformed_names_are_refused() -> None:
    assert await holds("P-13.9")


@pytest.mark.clause("P-13.10")
async def test_subscriptions_begin_and_end_as_confirmed() -> None:
    assert await holds("P-13.10")


@pytest.mark.clause("P-13.11")
async def test_members_of_a_queue_group_share_its_frames() -> None:
    assert await holds("P-13.11")


@pytest.mark.clause("P-13.12")
async def test_handlers_do_not_affect_each_other() -> None:
    assert await holds("P-13.12")


@pytest.mark.clause("P-13.13")
async def test_slow_handlers_are_bounded_and_their_drops_counted() -> None:
    assert await holds("P-13.13")


@pytest.mark.clause("P-13.14")
async def test_publishers_learn_of_undelivered_frames() -> None:
    assert await holds("P-13.14")


@pytest.mark.clause("P-13.15")
async def test_frames_are_redelivered_until_handled() -> None:
    assert await holds("P-13.15")


@pytest.mark.clause("P-13.16")
async def test_frames_wait_on_a_durable_synapse() -> None:
    assert await holds("P-13.16")


@pytest.mark.clause("P-13.17")
async def test_broken_connections_recover() -> None:
    assert await holds("P-13.17")


@pytest.mark.clause("P-13.18")
async def test_synapse_works_after_cancelled_and_blocked_calls() -> None:
    assert await holds("P-13.18")


@pytest.mark.clause("P-13.19")
async def test_any_sequence_of_events_matches_the_model() -> None:
    assert await holds("P-13.19")


@pytest.mark.clause("P-13.20")
async def test_dendrites_work_together_over_a_synapse() -> None:
    assert await holds("P-13.20")


@pytest.mark.clause("P-13.21")
async def test_foreign_frames_cannot_misuse_a_neuron() -> None:
    assert await holds("P-13.21")
