from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from cosmo_core import Dendrite, LifecycleError, UnknownPluginError, connect_synapse
from cosmo_core.protocol.ids import new_trace_id

import cosmo_extension_notes
from cosmo_extension_notes import NotesExtension

Pair = tuple[Dendrite, Dendrite]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """Two running Dendrites on one bus, with no other extension."""
    synapse = await connect_synapse("memory://")
    first, second = (Dendrite(synapse=synapse, extensions=[NotesExtension]) for _ in range(2))
    async with first, second:
        yield first, second
    await synapse.close()


def notes_of(dendrite: Dendrite) -> NotesExtension:
    extension = dendrite.extension("notes")
    assert isinstance(extension, NotesExtension)
    return extension


async def test_notes_reach_every_dendrite(pair: Pair) -> None:
    first, second = map(notes_of, pair)
    trace_id = new_trace_id()
    await first.append(trace_id, "plan", ["read", "write"])
    assert await second.wait_for_note(trace_id, "plan") == ["read", "write"]
    assert await first.wait_for_note(trace_id, "plan") == ["read", "write"]
    assert second.notes(trace_id) == {"plan": ["read", "write"]}
    assert second.notes(new_trace_id()) == {}
    assert pair[1].counters["notes_received"] == 1


async def test_latest_note_of_a_key_counts(pair: Pair) -> None:
    first, second = map(notes_of, pair)
    trace_id = new_trace_id()
    for value in (1, 2):
        await first.append(trace_id, "tries", value)
    await first.append(trace_id, "done", True)
    await second.wait_for_note(trace_id, "done")
    assert second.notes(trace_id) == {"tries": 2, "done": True}


async def test_note_has_the_trace_and_the_parent(pair: Pair) -> None:
    notes = notes_of(pair[0])
    trace_id = new_trace_id()
    cause = await notes.append(trace_id, "a", 1)
    note = await notes.append(trace_id, "b", 2, parent_id=cause.id)
    assert (note.trace_id, note.parent_id) == (trace_id, cause.id)


async def test_oldest_trace_is_forgotten_first(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cosmo_extension_notes, "MAX_TRACES", 2)
    notes = notes_of(pair[0])
    traces = [new_trace_id() for _ in range(3)]
    for trace_id in traces:
        await notes.append(trace_id, "key", trace_id)
        await notes.wait_for_note(trace_id, "key")
    assert [notes.notes(trace_id) != {} for trace_id in traces] == [False, True, True]


async def test_stop_of_the_dendrite_ends_a_wait(pair: Pair) -> None:
    waiting = asyncio.ensure_future(notes_of(pair[0]).wait_for_note(new_trace_id(), "never"))
    await asyncio.sleep(0)
    await pair[0].stop()
    with pytest.raises(LifecycleError, match="'never'"):
        await waiting


async def test_append_needs_a_running_dendrite(pair: Pair) -> None:
    await pair[0].stop()
    with pytest.raises(LifecycleError):
        await notes_of(pair[0]).append(new_trace_id(), "late", 1)


async def test_dendrite_without_the_extension_names_it() -> None:
    synapse = await connect_synapse("memory://")
    with pytest.raises(UnknownPluginError, match="'notes'"):
        Dendrite(synapse=synapse, extensions=()).extension("notes")
    await synapse.close()
