"""RECALLs and IMPRINTs of a Dendrite, to one Engram or to all of a kind."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from cosmo_core import EngramError, EngramNotBound, EngramTimeout, MalformedSignalError, UnencodableError
from cosmo_core.contracts.engram import MAX_ENTRY


async def test_imprinted_entry_is_recalled(engram: Any, host: Any) -> None:
    await host(engram())
    asker = await host()
    first = await asker.imprint("ctx", op="upsert", merge_key="k", entry={"text": "the bus", "tags": ["a"]})
    again = await asker.imprint("ctx", op="merge", merge_key="k", entry={"tags": ["b"]})
    assert (first.version, again.version, again.id) == (1, 2, first.id)
    for query in ({"merge_key": "k"}, {"id": first.id}, {"text": "BUS"}, {"tags": ["a", "b"]}, {}):
        (hit,) = (await asker.recall("ctx", query)).hits
        assert (hit.id, hit.entry) == (first.id, {"text": "the bus", "tags": ["a", "b"]})
    gone = await asker.imprint("ctx", op="delete", merge_key="k")
    assert (gone.id, gone.version) == (first.id, None)
    assert (await asker.recall("ctx", {})).hits == []


async def test_repeated_write_is_done_once(engram: Any, host: Any) -> None:
    await host(engram())
    asker = await host()
    receipts = [await asker.imprint("ctx", op="append", imprint_id="one", entry={}) for _ in range(3)]
    assert len({receipt.id for receipt in receipts}) == 1
    assert len((await asker.recall("ctx", {})).hits) == 1


async def test_result_larger_than_a_frame_is_truncated(engram: Any, host: Any) -> None:
    await host(engram())
    asker = await host()
    for number in range(5):
        await asker.imprint("ctx", op="append", entry={"text": "x" * 300_000, "number": number})
    result = await asker.recall("ctx", {})
    assert [hit.entry["number"] for hit in result.hits] == [4, 3]
    assert result.truncated


async def test_largest_entry_is_returned(engram: Any, host: Any) -> None:
    await host(engram())
    asker = await host()
    largest = {"a": "x" * (MAX_ENTRY - len('{"a":""}'))}
    await asker.imprint("ctx", op="append", entry=largest)
    (hit,) = (await asker.recall("ctx", {})).hits
    assert hit.entry == largest


async def test_entry_that_is_not_json_is_refused_before_sending(engram: Any, host: Any) -> None:
    await host(engram())
    asker = await host()
    with pytest.raises(UnencodableError):
        await asker.imprint("ctx", op="append", entry={"a": object()})
    with pytest.raises(EngramError) as caught:
        await asker.imprint("ctx", op="append", entry=[1])
    assert caught.value.code == "ENGRAM_INVALID"
    assert (await asker.recall("ctx", {})).hits == []


async def test_invalid_arguments_are_refused(host: Any) -> None:
    asker = await host()
    with pytest.raises(TypeError, match="pass either the id"):
        await asker.recall("ctx", {}, kind="context")
    with pytest.raises(TypeError, match="pass either the id"):
        await asker.recall(None, {})
    with pytest.raises(MalformedSignalError, match="directed_id"):
        await asker.recall("a.b", {})
    with pytest.raises(MalformedSignalError, match="trace_id"):
        await asker.recall("ctx", {}, trace_id="x")
    with pytest.raises(MalformedSignalError, match="parent_id"):
        await asker.imprint("ctx", op="append", parent_id="x")
    for wrong in ({"op": "replace"}, {"merge_key": 5}, {"imprint_id": b"x"}):
        with pytest.raises(EngramError, match="is") as caught:
            await asker.imprint("ctx", **{"op": "append", **wrong})
        assert caught.value.code == "ENGRAM_INVALID"
    with pytest.raises(EngramError, match="first, merge, all"):
        await asker.recall("ctx", {}, mode="some")
    with pytest.raises(EngramTimeout, match="time limit of"):
        await asker.recall("ctx", {}, timeout_s=0)


async def test_message_of_an_engrams_exception_is_not_sent(
    engram: Any, host: Any, caplog: pytest.LogCaptureFixture
) -> None:
    kept = engram()
    kept.error = RuntimeError("password=secret")
    await host(kept)
    asker = await host()
    with caplog.at_level(logging.ERROR), pytest.raises(EngramError, match="RuntimeError") as caught:
        await asker.recall("ctx", {})
    assert "secret" not in str(caught.value)
    assert "secret" in caplog.text


async def test_unsupported_query_is_refused(engram: Any, host: Any) -> None:
    kept = engram()
    kept.promises = {"text": False, "vectors": False}
    await host(kept)
    asker = await host()
    for query in ({"text": "a"}, {"vector": [1.0]}):
        with pytest.raises(EngramError, match="use an Engram that can") as caught:
            await asker.recall("ctx", query)
        assert caught.value.code == "ENGRAM_UNSUPPORTED"


async def test_slow_engram_times_out_and_keeps_working(engram: Any, host: Any) -> None:
    kept = engram()
    kept.gate = asyncio.Event()
    await host(kept)
    asker = await host()
    with pytest.raises(EngramTimeout):
        await asker.recall("ctx", {}, timeout_s=0.02)
    kept.gate.set()
    assert (await asker.recall("ctx", {})).hits == []


async def test_cancelled_caller_leaves_no_waiting_request(engram: Any, host: Any) -> None:
    kept = engram()
    kept.gate = asyncio.Event()
    await host(kept)
    asker = await host()
    asking = asyncio.create_task(asker.recall("ctx", {}))
    await kept.asked.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    kept.gate.set()
    assert asker.extension("memory")._requests._waiting == {}


# --- several of a kind ------------------------------------------------------------------------------


async def fill(asker: Any, **texts: str) -> None:
    for engram_id, text in texts.items():
        for word in text.split(","):
            await asker.imprint(engram_id, op="append", entry={"text": word})


async def test_modes_merge_and_all_combine_engrams_of_a_kind(engram: Any, host: Any) -> None:
    await host(engram("a", "notes"), engram("b", "notes"), engram("c", "other"))
    asker = await host()
    for engram_id, vector in (("a", [1, 0]), ("b", [0.6, 0.8]), ("a", [0, 1]), ("c", [1, 0])):
        await asker.imprint(engram_id, op="append", entry={"embedding": vector, "at": vector})
    merged = await asker.recall(None, {"vector": [1, 0], "limit": 2}, kind="notes", mode="merge")
    assert [(hit.engram_id, hit.entry["at"]) for hit in merged.hits] == [("a", [1, 0]), ("b", [0.6, 0.8])]
    assert (merged.truncated, merged.partial, merged.engrams) == (True, False, ("a", "b"))
    every = await asker.recall(None, {"vector": [1, 0], "limit": 2}, kind="notes", mode="all")
    assert [(hit.engram_id, hit.entry["at"]) for hit in every.hits] == [
        ("a", [1, 0]),
        ("a", [0, 1]),
        ("b", [0.6, 0.8]),
    ]
    assert not every.truncated


async def test_mode_first_does_not_wait_for_other_answers(engram: Any, host: Any) -> None:
    slow, quick = engram("a", "notes"), engram("b", "notes")
    slow.gate = asyncio.Event()
    await host(slow, quick)
    asker = await host()
    await fill(asker, b="here")
    first = await asker.recall(None, {}, kind="notes")
    assert (first.engrams, len(first.hits)) == (("b",), 1)
    slow.gate.set()


async def test_mode_first_prefers_an_answer_to_an_error(engram: Any, host: Any) -> None:
    broken, sound = engram("a", "notes"), engram("b", "notes")
    broken.error = EngramError("broken")
    await host(broken, sound)
    asker = await host()
    assert (await asker.recall(None, {}, kind="notes")).engrams == ("b",)


@pytest.mark.parametrize("mode", ["merge", "all"])
async def test_partial_result_names_failed_engrams(engram: Any, host: Any, mode: Any) -> None:
    broken, slow, sound = engram("broken", "notes"), engram("slow", "notes"), engram("sound", "notes")
    await host(broken, slow, sound)
    asker = await host()
    await fill(asker, sound="here")
    broken.error = EngramError("out of order")
    slow.gate = asyncio.Event()
    result = await asker.recall(None, {}, kind="notes", mode=mode, timeout_s=0.3)
    assert (result.engrams, len(result.hits), result.partial) == (("sound",), 1, True)
    assert result.failed["broken"] == "out of order"
    assert "0.3 s" in result.failed["slow"] or "300 ms" in result.failed["slow"]
    slow.gate.set()


@pytest.mark.parametrize("mode", ["first", "merge", "all"])
async def test_recall_fails_if_all_engrams_fail(engram: Any, host: Any, mode: Any) -> None:
    engrams = [engram(name, "notes") for name in "ab"]
    for each in engrams:
        each.error = EngramError("out of order")
    await host(*engrams)
    asker = await host()
    with pytest.raises(EngramError, match="out of order"):
        await asker.recall(None, {}, kind="notes", mode=mode)


async def test_kind_without_engrams_is_no_route(engram: Any, host: Any) -> None:
    await host(engram("a", "notes"))
    asker = await host()
    with pytest.raises(EngramError, match="known: notes") as caught:
        await asker.recall(None, {}, kind="other")
    assert caught.value.code == "ENGRAM_NO_ROUTE"


async def test_imprint_to_a_kind_needs_exactly_one_engram_or_an_id(engram: Any, host: Any) -> None:
    from cosmo_core import EngramBinding
    from cosmo_core.extensions.memory.client import Cause, EngramClient

    dendrite = await host(engram("a", "notes"))
    asker = await host()
    await asker.wait_until_ready(engram="a")
    one_of_kind = EngramBinding("one", directed_type="notes")
    b_of_kind = EngramBinding("b", "b", directed_type="notes")
    bindings = {binding.name: binding for binding in (one_of_kind, b_of_kind)}
    client = EngramClient(asker.extension("memory")._requests, bindings, Cause)
    assert (await client.imprint("one", op="append", entry={})).engram_id == "a"
    await dendrite.attach_engram(engram("b", "notes"))
    await asker.wait_until_ready(engram="b")
    with pytest.raises(EngramNotBound, match="a, b"):
        await client.imprint("one", op="append", entry={})
    assert (await client.imprint("b", op="append", entry={})).engram_id == "b"


async def test_malformed_answer_is_an_error(host: Any, synapse: Any) -> None:
    from cosmo_core import Signal, SignalType, decode, encode

    async def answer(frame: bytes) -> None:
        asked = decode(frame)
        told = {"engram_id": "odd", "hits": [{"text": "no id"}], "truncated": False}
        reply = Signal.new(SignalType.RECALLED, told, trace_id=asked.trace_id, parent_id=asked.id)
        await synapse.publish(f"cosmonapse.test.RECALLED.inbox.{asked.meta['reply_to']}", encode(reply))

    await synapse.subscribe("cosmonapse.test.RECALL.engram.odd", answer, queue_group="odd")
    asker = await host()
    with pytest.raises(EngramError, match="'odd' answered with hits"):
        await asker.recall("odd", {})
