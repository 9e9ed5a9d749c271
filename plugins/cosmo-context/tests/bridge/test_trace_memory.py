"""`TraceMemory`: the items of a trace that become state."""

from __future__ import annotations

from typing import Any

import pytest

from cosmo_context import Context, PromptBuilder, TraceMemory, with_prompt
from cosmo_core import Axon, Dendrite, Directed, Signal, SignalType
from cosmo_core.plugins import PluginManager
from cosmo_core.protocol.ids import new_trace_id
from cosmo_synapse_memory import MemorySynapse

TRACE = new_trace_id()


def signal(type: SignalType, payload: dict[str, Any], source: str | None = "searcher") -> Signal:
    return Signal.new(type, payload, trace_id=TRACE, directed=Directed(id=source, type="neuron"))


def fed_state(
    memory: TraceMemory, trace_id: str = TRACE, neuron: str = "writer", **state: Any
) -> dict[str, Any]:
    ctx = Context("task", state=state)
    memory.feed(ctx, trace_id, neuron)
    return ctx.state.to_dict()


@pytest.mark.parametrize(
    ("observed", "state"),
    [
        (
            signal(SignalType.AGENT_OUTPUT, {"output": {"response": "42"}}),
            {"knowledge_items": [{"source": "searcher", "content": "42"}]},
        ),
        (
            signal(SignalType.FINAL, {"result": {"n": "ü"}}),
            {"knowledge_items": [{"source": "searcher", "content": '{"n": "ü"}'}]},
        ),
        (
            signal(SignalType.TOOL_RESULT, {"tool": "clock", "result": "noon"}),
            {"knowledge_items": [{"source": "clock", "content": "noon"}]},
        ),
        (signal(SignalType.TOOL_RESULT, {"tool": "clock", "error": "broken"}), {}),
        (signal(SignalType.PLAN, {"steps": ["a", "b"]}), {"subtasks": ["a", "b"]}),
        (signal(SignalType.MEMORY_APPEND, {"key": "facts", "value": "wet"}), {"facts": ["wet"]}),
        (signal(SignalType.ERROR, {"code": "X", "message": "no", "recoverable": False}), {}),
    ],
)
def test_signal_becomes_state(observed: Signal, state: dict[str, Any]) -> None:
    memory = TraceMemory()
    memory.observe(observed)
    memory.observe(observed)
    assert fed_state(memory) == state
    assert fed_state(memory, trace_id=new_trace_id()) == {}


def test_own_output_of_a_neuron_is_not_knowledge() -> None:
    memory = TraceMemory()
    memory.observe(signal(SignalType.AGENT_OUTPUT, {"output": {"response": "42"}}, source="writer"))
    assert fed_state(memory) == {}


def test_items_of_the_trace_come_before_those_of_the_task() -> None:
    memory = TraceMemory()
    memory.observe(signal(SignalType.MEMORY_APPEND, {"key": "facts", "value": "old"}))
    assert fed_state(memory, facts=["new"]) == {"facts": ["old", "new"]}


def test_history_of_the_task_is_not_changed() -> None:
    memory = TraceMemory()
    memory.note(TRACE, "writer", asked="q", answered="a")
    assert fed_state(memory, history=[{"role": "user", "content": "x"}]) == {
        "history": [{"role": "user", "content": "x"}]
    }
    assert [turn["content"] for turn in fed_state(memory)["history"]] == ["q", "a"]


def test_each_neuron_has_its_own_conversation() -> None:
    memory = TraceMemory()
    memory.note(TRACE, "writer", asked="q", answered="a")
    assert fed_state(memory, neuron="critic") == {}


def test_least_recent_trace_and_oldest_items_are_forgotten() -> None:
    memory = TraceMemory(max_traces=2, max_items=4)
    traces = [new_trace_id() for _ in range(3)]
    for trace_id in (traces[0], traces[1], traces[0], traces[2]):
        for number in range(5):
            memory.note(trace_id, "writer", asked=f"q{number}", answered=f"a{number}")
    assert [bool(fed_state(memory, trace_id)) for trace_id in traces] == [True, False, True]
    assert [turn["content"] for turn in fed_state(memory, traces[2])["history"]] == ["q3", "a3", "q4", "a4"]

    for number in range(5):
        memory.observe(signal(SignalType.MEMORY_APPEND, {"key": "facts", "value": number}))
    assert fed_state(memory) == {"facts": [1, 2, 3, 4]}


@pytest.mark.parametrize("name", ["max_traces", "max_items"])
def test_limits_must_be_at_least_one(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is an integer of at least 1"):
        TraceMemory(**{name: 0})
    for value in (1.5, True, "5", float("nan")):
        with pytest.raises(TypeError, match=f"{name} is an integer, not"):
            TraceMemory(**{name: value})  # type: ignore[arg-type]


async def test_memory_follows_a_pathway_or_whole_dendrites() -> None:
    prompts: list[str] = []

    async def search(input: dict[str, Any], context: list[Any]) -> dict[str, str]:
        return {"response": "rain tomorrow"}

    async def write(input: dict[str, Any], context: list[Any]) -> dict[str, str]:
        prompts.append(input["prompt"])
        return {"response": "take an umbrella"}

    by_hook, by_pathway, plugins = TraceMemory(), TraceMemory(), PluginManager()
    plugins.register(by_hook, name="memory")
    synapse = MemorySynapse()
    await synapse.connect()
    dendrite = Dendrite(synapse=synapse, plugins=plugins)
    writer = with_prompt(write, lambda ctx: PromptBuilder(ctx).add("knowledge"), memory=by_hook)
    dendrite.attach_axon(Axon(neuron_id="search", neuron_fn=search))
    dendrite.attach_axon(Axon(neuron_id="write", neuron_fn=writer))
    async with dendrite:
        pathway = await dendrite.dispatch(neuron="search", input={"prompt": "weather?"})
        by_pathway.follow(pathway)
        await pathway.wait(timeout_s=5)
        await dendrite.dispatch_and_wait(
            neuron="write", input={"prompt": "advise"}, trace_id=pathway.trace_id, timeout_s=5
        )
    await synapse.close()
    knowledge = [{"source": "search", "content": "rain tomorrow"}]
    assert fed_state(by_pathway, pathway.trace_id)["knowledge_items"] == knowledge
    assert prompts == ["<knowledge>\n  [search]: rain tomorrow\n</knowledge>"]
