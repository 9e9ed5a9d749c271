"""What section 15 of the specification says of every Engram holds of the double, which claims all of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.conformance.engram_double import Double, under_test

from cosmo_testing import EngramUnderTest
from cosmo_testing.engrams.checks import KIT

# Scaled up, a clause takes as much longer as its checks.
pytestmark = pytest.mark.timeout(120 * EngramUnderTest.scale)

PAGE = (Path(__file__).parents[4] / "docs" / "protocol.md").read_text("utf-8")
CLAUSE = re.compile(r"^- \*\*(P-15\.\d+)\*\* (.+?)(?=\n\n|\n- |\n#|\Z)", re.MULTILINE | re.DOTALL)
CITED = {id: re.findall(r"`(engram:[a-z-]+)`", text) for id, text in CLAUSE.findall(PAGE)}


async def holds(clause: str) -> bool:
    """Check what a clause cites; tell whether all of that was claimed."""
    subject = under_test(Double)
    for requirement in CITED[clause]:
        error = await KIT.violation(subject, requirement)
        if error is not None:
            raise error
    return CITED[clause] != [] and all(subject.exemption(KIT[each]) is None for each in CITED[clause])


def test_every_requirement_is_cited_once_and_every_cited_one_exists() -> None:
    cited = [requirement for requirements in CITED.values() for requirement in requirements]
    assert sorted(cited) == sorted(KIT)


def test_no_other_section_cites_a_requirement() -> None:
    assert re.findall("`engram:", PAGE.partition("## 15 ")[0]) == []


@pytest.mark.clause("P-15.1")
async def test_engram_has_consistent_guarantees() -> None:
    assert await holds("P-15.1")


@pytest.mark.clause("P-15.2")
async def test_connect_and_close_twice_are_not_errors() -> None:
    assert await holds("P-15.2")


@pytest.mark.clause("P-15.3")
async def test_closing_engram_finishes_writes_and_leaves_nothing() -> None:
    assert await holds("P-15.3")


@pytest.mark.clause("P-15.4")
async def test_errors_name_the_engram_and_no_secret() -> None:
    assert await holds("P-15.4")


@pytest.mark.clause("P-15.5")
async def test_new_entries_are_added_or_appended() -> None:
    assert await holds("P-15.5")


@pytest.mark.clause("P-15.6")
async def test_entries_are_replaced_and_merged_under_their_key() -> None:
    assert await holds("P-15.6")


@pytest.mark.clause("P-15.7")
async def test_entries_are_deleted_one_by_one() -> None:
    assert await holds("P-15.7")


@pytest.mark.clause("P-15.8")
async def test_key_refers_to_the_entry_written_last() -> None:
    assert await holds("P-15.8")


@pytest.mark.clause("P-15.9")
async def test_repeated_write_is_written_once() -> None:
    assert await holds("P-15.9")


@pytest.mark.clause("P-15.10")
async def test_entries_and_names_come_back_as_they_were() -> None:
    assert await holds("P-15.10")


@pytest.mark.clause("P-15.11")
async def test_matching_entries_are_found_in_order() -> None:
    assert await holds("P-15.11")


@pytest.mark.clause("P-15.12")
async def test_words_find_their_texts() -> None:
    assert await holds("P-15.12")


@pytest.mark.clause("P-15.13")
async def test_vectors_find_embeddings_by_their_cosine() -> None:
    assert await holds("P-15.13")


@pytest.mark.clause("P-15.14")
async def test_writes_of_a_trace_are_undone_exactly() -> None:
    assert await holds("P-15.14")


@pytest.mark.clause("P-15.15")
async def test_later_writes_of_others_stand() -> None:
    assert await holds("P-15.15")


@pytest.mark.clause("P-15.16")
async def test_committed_writes_are_not_undone() -> None:
    assert await holds("P-15.16")


@pytest.mark.clause("P-15.17")
async def test_concurrent_calls_are_atomic() -> None:
    assert await holds("P-15.17")


@pytest.mark.clause("P-15.18")
async def test_reopened_store_has_everything() -> None:
    assert await holds("P-15.18")


@pytest.mark.clause("P-15.19")
async def test_engrams_on_one_store_share_it() -> None:
    assert await holds("P-15.19")


@pytest.mark.clause("P-15.20")
async def test_disconnected_and_unusable_stores_are_reported() -> None:
    assert await holds("P-15.20")


@pytest.mark.clause("P-15.21")
async def test_any_sequence_of_events_matches_the_model() -> None:
    assert await holds("P-15.21")
