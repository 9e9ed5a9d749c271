"""Neurons with memory: the keywords ``recall`` and ``imprint``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from cosmo_core import Axon, EngramBinding, EngramError, EngramNotBound, ImprintFn, RecallFn
from cosmo_core.contracts.engram import RecallResult
from cosmo_core.plugins import PluginManager, hookimpl
from cosmo_core.protocol.ids import new_trace_id

CTX = EngramBinding("ctx")


async def researcher(
    input: dict[str, Any], context: list[Any], *, recall: RecallFn, imprint: ImprintFn
) -> Any:
    prior = await recall("ctx", query={"text": input["question"]})
    if prior.hits:
        return {"answer": prior.hits[0].entry["answer"], "source": "cache"}
    entry = {"question": input["question"], "answer": "42"}
    await imprint("ctx", op="upsert", merge_key=f"q:{input['question']}", entry=entry)
    return {"answer": "42", "source": "computed"}


async def streams(
    input: dict[str, Any], context: list[Any], *, recall: Any, imprint: Any
) -> AsyncIterator[Any]:
    yield "a"
    yield await researcher(input, context, recall=recall, imprint=imprint)


def plain(input: dict[str, Any], context: list[Any], *, recall: Any, imprint: Any) -> Any:
    prior = recall("ctx", query={"text": input["question"]})
    if prior.hits:
        return {"answer": prior.hits[0].entry["answer"], "source": "cache"}
    imprint("ctx", op="append", entry={"question": input["question"], "answer": "42"})
    return {"answer": "42", "source": "computed"}


class Remembers:
    async def __call__(self, input: dict[str, Any], context: list[Any], *, recall: Any, imprint: Any) -> Any:
        return await researcher(input, context, recall=recall, imprint=imprint)


async def with_more(
    more: str, input: dict[str, Any], context: list[Any], *, recall: Any, imprint: Any
) -> Any:
    return await researcher(input, context, recall=recall, imprint=imprint)


@pytest.mark.parametrize(
    "neuron",
    [researcher, streams, plain, Remembers(), partial(with_more, "more"), Remembers().__call__],
    ids=["function", "stream", "plain", "object", "partial", "method"],
)
async def test_neuron_computes_once_and_recalls_the_second_time(
    engram: Any, host: Any, start: Any, neuron: Any
) -> None:
    await host(engram())
    await start(Axon(neuron_id="researcher", neuron_fn=neuron, engrams=[CTX]), role="worker")
    asker = await host()
    sources = []
    for _ in range(2):
        reply = await asker.dispatch_and_wait(neuron="researcher", input={"question": "What is it?"})
        sources.append(reply.payload["output"]["source"])
    assert sources == ["computed", "cache"]


async def test_neuron_gets_only_declared_keywords(engram: Any, host: Any, start: Any) -> None:
    async def only(input: dict[str, Any], context: list[Any], *, recall: Any, other: int = 5) -> Any:
        return len((await recall("ctx", {})).hits) + other

    await host(engram())
    await start(Axon(neuron_id="only", neuron_fn=only, engrams=[CTX]))
    reply = await (await host()).dispatch_and_wait(neuron="only", input={})
    assert reply.payload == {"output": {"value": 5}}


async def test_neuron_without_memory_keywords_is_not_changed(start: Any, host: Any) -> None:
    async def none(input: dict[str, Any], context: list[Any]) -> Any:
        return 1

    await start(Axon(neuron_id="none", neuron_fn=none, engrams=[CTX]))
    reply = await (await host()).dispatch_and_wait(neuron="none", input={})
    assert reply.payload == {"output": {"value": 1}}


def test_neuron_that_needs_memory_needs_a_binding() -> None:
    with pytest.raises(EngramNotBound, match="recall and imprint"):
        Axon(neuron_id="researcher", neuron_fn=researcher)

    async def may(input: dict[str, Any], context: list[Any], *, recall: Any = None) -> Any:
        return recall

    Axon(neuron_id="may", neuron_fn=may)


def test_two_bindings_with_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="have the same name"):
        Axon(neuron_id="researcher", neuron_fn=researcher, engrams=[CTX, CTX])


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"directed_id": "a.b"}, "directed_id"),
        ({"directed_type": "a b"}, "directed_type"),
        ({"name": "a b"}, "directed_id"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"recall_mode": "some"}, "recall_mode"),
    ],
)
def test_invalid_binding_is_refused(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        EngramBinding(**{"name": "ctx", **arguments})


async def test_binding_maps_a_name_to_an_engram(engram: Any, host: Any, start: Any) -> None:
    await host(engram("store-7"))
    binding = EngramBinding("ctx", directed_id="store-7")
    await start(Axon(neuron_id="researcher", neuron_fn=researcher, engrams=[binding]))
    asker = await host()
    await asker.dispatch_and_wait(neuron="researcher", input={"question": "a"})
    assert len((await asker.recall("store-7", {})).hits) == 1


async def test_unbound_name_ends_the_task_with_an_error(engram: Any, host: Any, start: Any) -> None:
    async def lost(input: dict[str, Any], context: list[Any], *, recall: Any) -> Any:
        await recall("memory", {})

    await start(Axon(neuron_id="lost", neuron_fn=lost, engrams=[CTX]))
    reply = await (await host()).dispatch_and_wait(neuron="lost", input={})
    assert reply.payload["code"] == "ENGRAM_NOT_BOUND"
    assert "no EngramBinding named 'memory'; it has 'ctx'" in reply.payload["message"]


async def test_engram_error_ends_the_task_with_its_code(engram: Any, host: Any, start: Any) -> None:
    broken = engram()
    broken.error = EngramError("the disk is gone", code="ENGRAM_UNAVAILABLE", recoverable=True)
    await host(broken)
    await start(Axon(neuron_id="researcher", neuron_fn=researcher, engrams=[CTX]))
    reply = await (await host()).dispatch_and_wait(neuron="researcher", input={"question": "a"})
    assert reply.payload == {"code": "ENGRAM_UNAVAILABLE", "message": "the disk is gone", "recoverable": True}


async def test_neuron_wrappers_do_not_see_the_memory_keywords(engram: Any, host: Any, start: Any) -> None:
    seen: list[str] = []

    class Counting:
        @hookimpl
        def cosmo_neuron_wrappers(self, axon: Axon) -> Any:
            def wrap(neuron: Any) -> Any:
                async def counted(input: dict[str, Any], context: list[Any]) -> Any:
                    seen.append(axon.neuron_id)
                    return await neuron(input, context)

                return counted

            return wrap

    plugins = PluginManager()
    plugins.register(Counting(), name="counting")
    await host(engram())
    await start(Axon(neuron_id="researcher", neuron_fn=researcher, engrams=[CTX]), plugins=plugins)
    reply = await (await host()).dispatch_and_wait(neuron="researcher", input={"question": "a"})
    assert (reply.payload["output"]["source"], seen) == ("computed", ["researcher"])


async def test_concurrent_tasks_write_on_their_own_traces(engram: Any, host: Any, start: Any) -> None:
    async def notes(input: dict[str, Any], context: list[Any], *, imprint: Any) -> Any:
        await asyncio.sleep(0)
        return (await imprint("ctx", op="append", entry=input)).version

    await host(engram())
    await start(Axon(neuron_id="notes", neuron_fn=notes, engrams=[CTX]))
    asker = await host()
    traces = [new_trace_id() for _ in range(20)]
    await asyncio.gather(
        *(
            asker.dispatch_and_wait(neuron="notes", input={"n": n}, trace_id=trace)
            for n, trace in enumerate(traces)
        )
    )
    (stopped, *_) = [
        answer for answer in await asker.stop_trace(traces[7], rollback=True) if answer.payload["rolled_back"]
    ]
    assert stopped.payload["rolled_back"] == 1
    left = {hit.entry["n"] for hit in (await asker.recall("ctx", {"limit": 100})).hits}
    assert left == set(range(20)) - {7}


async def test_final_commits_the_writes_of_a_trace(engram: Any, host: Any, start: Any) -> None:
    await host(engram())
    await start(Axon(neuron_id="researcher", neuron_fn=researcher, engrams=[CTX]))
    asker = await host()
    trace_id = new_trace_id()
    question = {"question": "a"}
    await asker.dispatch_and_wait(neuron="researcher", input=question, trace_id=trace_id, finalize=True)
    # Sent after the FINAL on the same connection, so the FINAL has been handled.
    await asker.recall("ctx", {})
    answers = await asker.stop_trace(trace_id, rollback=True)
    assert {answer.payload["rolled_back"] for answer in answers} == {0}
    assert len((await asker.recall("ctx", {})).hits) == 1


async def test_plain_function_that_recalls_in_the_event_loop_gets_an_error(
    engram: Any, host: Any, start: Any
) -> None:
    async def inner(recall: Any) -> RecallResult:
        result: RecallResult = recall("ctx", {})
        return result

    def outer(input: dict[str, Any], context: list[Any], *, recall: Any) -> Any:
        return inner(recall)

    await host(engram())
    worker = await start(
        Axon(neuron_id="outer", neuron_fn=outer, engrams=[CTX]), role="worker", expose_errors=True
    )
    assert worker.axons
    reply = await (await host()).dispatch_and_wait(neuron="outer", input={})
    assert "make it `async def`" in reply.payload["message"]


async def test_stopped_task_stops_waiting_for_memory(engram: Any, host: Any, start: Any) -> None:
    kept = engram()
    kept.gate = asyncio.Event()
    await host(kept)
    await start(Axon(neuron_id="researcher", neuron_fn=researcher, engrams=[CTX]))
    asker = await host()
    pathway = await asker.dispatch(neuron="researcher", input={"question": "a"})
    await kept.asked.wait()
    await asker.stop_trace(pathway.trace_id)
    assert (await pathway.wait()).payload["code"] == "CANCELLED"
    kept.gate.set()
