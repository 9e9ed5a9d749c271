"""The promised researcher with only `cosmonapse`: it computes once and recalls the second time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import cosmo_core
from cosmonapse import (
    Axon,
    Dendrite,
    EngramBinding,
    EngramError,
    EngramNotBound,
    EngramTimeout,
    Hit,
    ImprintReceipt,
    InMemoryEngram,
    MemorySynapse,
    NeuronFn,
    RecallResult,
    SqliteEngram,
)


async def researcher(input: dict[str, Any], context: list[Any], *, recall: Any, imprint: Any) -> Any:
    prior = await recall("ctx", query={"text": input["question"]})
    assert isinstance(prior, RecallResult)
    if prior.hits:
        assert isinstance(prior.hits[0], Hit)
        return {"answer": prior.hits[0].entry["answer"], "source": "cache"}
    answer = input["question"].upper()
    receipt = await imprint(
        "ctx",
        op="upsert",
        merge_key=f"research:{input['question']}",
        entry={"question": input["question"], "answer": answer},
    )
    assert isinstance(receipt, ImprintReceipt)
    return {"answer": answer, "source": "computed"}


async def ask_twice(engram: Any) -> list[dict[str, Any]]:
    """Host the Engram and the researcher, and return the answers to two orchestrators."""
    synapse = MemorySynapse()
    await synapse.connect()
    try:
        host = Dendrite(synapse=synapse, namespace="demo", role="worker")
        host.attach_engram(engram)
        ctx = EngramBinding(name="ctx", directed_id="ctx")
        host.attach_axon(Axon(neuron_id="researcher", neuron_fn=researcher, engrams=[ctx]))
        outputs = []
        async with host:
            for _ in range(2):
                async with Dendrite(synapse=synapse, namespace="demo") as orchestrator:
                    reply = await orchestrator.dispatch_and_wait(
                        neuron="researcher", input={"question": "Warum ist der Himmel blau?"}, timeout_s=5
                    )
                outputs.append(reply.payload["output"])
        return outputs
    finally:
        await synapse.close()


async def test_second_answer_comes_from_memory() -> None:
    first, second = await ask_twice(InMemoryEngram(engram_id="ctx", engram_kind="context"))
    assert first == {"answer": "WARUM IST DER HIMMEL BLAU?", "source": "computed"}
    assert second == {"answer": "WARUM IST DER HIMMEL BLAU?", "source": "cache"}


async def test_entries_in_a_file_are_kept(tmp_path: Path) -> None:
    sources = [
        output["source"]
        for _ in range(2)
        for output in await ask_twice(SqliteEngram(engram_id="ctx", path=tmp_path / "ctx.db"))
    ]
    assert sources == ["computed", "cache", "cache", "cache"]


def given(**memory: Any) -> Callable[[NeuronFn], NeuronFn]:
    """Give a Neuron its memory."""

    def wrap(neuron: Any) -> NeuronFn:
        wrapped: NeuronFn = partial(neuron, **memory)
        return wrapped

    return wrap


async def test_calls_of_cosmonapse_reach_the_memory() -> None:
    calls: list[tuple[Any, ...]] = []

    async def recall(name: str, query: Any, **options: Any) -> cosmo_core.RecallResult:
        calls.append((name, query, options))
        return cosmo_core.RecallResult([cosmo_core.Hit("e1", {"a": 1}, 0.5, "ctx")], engrams=("ctx",))

    async def imprint(name: str, **options: Any) -> ImprintReceipt:
        calls.append((name, options))
        return ImprintReceipt("ctx", "add", "e1", 1)

    async def neuron(input: Any, context: Any, *, recall: Any, imprint: Any) -> Any:
        await recall("ctx", query={"text": "x"}, deadline_ms=500, recall_mode="merge")
        found = await recall("ctx", query={"text": "x"}, deadline_ms=0)
        receipt = await imprint("ctx", op="add", entry={"a": 1}, await_ack=True, deadline_ms=500)
        await imprint("ctx", op="add", entry={"a": 2})
        return found, receipt

    axon = Axon(neuron_id="n", neuron_fn=neuron, engrams=[EngramBinding("ctx")])
    served = axon.wrapped([given(recall=recall, imprint=imprint)])
    found, receipt = await served.neuron_fn({}, [])
    assert calls == [
        ("ctx", {"text": "x"}, {"mode": "merge", "timeout_s": 0.5}),
        ("ctx", {"text": "x"}, {}),
        ("ctx", {"op": "add", "entry": {"a": 1}, "timeout_s": 0.5}),
        ("ctx", {"op": "add", "entry": {"a": 2}}),
    ]
    (hit,) = found
    assert (hit.id, hit.entry, hit.content, hit.score, hit.engram_id) == (
        "e1",
        {"a": 1},
        {"a": 1},
        0.5,
        "ctx",
    )
    assert (len(found), bool(found), found.engram_ids, receipt.id) == (1, True, ("ctx",), "e1")


def test_empty_result_is_false() -> None:
    assert not RecallResult([])


def test_content_of_an_entry_with_that_key_is_its_value() -> None:
    assert Hit("e1", {"content": {"answer": 42}, "tags": ["qa"]}).content == {"answer": 42}


def test_binding_has_a_deadline_in_milliseconds_and_a_recall_mode() -> None:
    binding = EngramBinding(
        name="ctx", directed_type="context", default_deadline_ms=250, default_recall_mode="merge"
    )
    assert (binding.directed_id, binding.directed_type) == (None, "context")
    assert (binding.timeout_s, binding.recall_mode) == (0.25, "merge")
    assert EngramBinding("ctx").timeout_s == 5
    with pytest.raises(ValueError, match="recall_mode must be first, merge or all"):
        EngramBinding("ctx", default_recall_mode="best")  # type: ignore[arg-type]


async def test_plain_function_has_the_memory_of_the_core() -> None:
    def neuron(input: Any, context: Any, *, recall: Any) -> Any:
        return recall("ctx", {"text": "x"}).hits

    axon = Axon(neuron_id="n", neuron_fn=neuron, engrams=[EngramBinding("ctx")])
    served = axon.wrapped([given(recall=lambda name, query: RecallResult([]))])
    assert served.neuron_fn({}, []) == []


def test_in_memory_engram_has_the_expected_kind() -> None:
    engram = InMemoryEngram("ctx")
    assert (engram.engram_id, engram.engram_kind, engram.guarantees.durable) == ("ctx", "keyvalue", False)


def test_researcher_without_a_binding_is_refused() -> None:
    with pytest.raises(EngramNotBound):
        Axon(neuron_id="researcher", neuron_fn=researcher)
    assert issubclass(EngramNotBound, EngramError)
    assert issubclass(EngramTimeout, EngramError)
