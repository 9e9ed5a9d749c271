"""The Neuron behind an Axon, called by an orchestrator."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core import Axon, Dendrite, Neuron, connect_synapse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from cosmo_core.contracts.neuron import NeuronFn
    from cosmo_source_mcp import McpNeuron

    Make = Callable[..., McpNeuron]


@asynccontextmanager
async def hosted(neuron: NeuronFn) -> AsyncIterator[Dendrite]:
    synapse = await connect_synapse("memory://")
    worker = Dendrite(synapse=synapse, role="worker")
    worker.attach_axon(Axon(neuron_id="tools", neuron_fn=neuron))
    orchestrator = Dendrite(synapse=synapse)
    async with asyncio.timeout(30), worker, orchestrator:
        yield orchestrator
    await synapse.close()


async def test_result_is_the_output(by_hand: Make) -> None:
    async with hosted(by_hand()) as orchestrator:
        reply = await orchestrator.dispatch_and_wait(neuron="tools", input={"tool": "fine"})
    assert reply.raise_for_error().payload["output"]["response"] == "fine"


@pytest.mark.parametrize("toolbox", ["stdio"], indirect=True)
async def test_error_of_a_tool_is_an_error_signal_with_its_message(toolbox: Make) -> None:
    call: dict[str, Any] = {"tool": "fail", "arguments": {"reason": "out of paper"}}
    async with hosted(toolbox()) as orchestrator:
        reply = await orchestrator.dispatch_and_wait(neuron="tools", input=call)
    assert reply.type.value == "ERROR"
    assert (reply.payload["code"], reply.payload["recoverable"]) == ("TOOL_ERROR", False)
    assert "out of paper" in reply.payload["message"]


@pytest.mark.parametrize("toolbox", ["stdio"], indirect=True)
@pytest.mark.parametrize("tool", ["echo", "echo_list"])
async def test_result_of_almost_a_frame_travels(toolbox: Make, tool: str) -> None:
    text = "x" * 900_000
    value: Any = text if tool == "echo" else [text]
    call = {"tool": tool, "arguments": {"value": value}}
    async with hosted(toolbox()) as orchestrator:
        reply = await orchestrator.dispatch_and_wait(neuron="tools", input=call)
    output = reply.raise_for_error().payload["output"]
    assert (output["response"] or output["result"]["result"]) == value


async def test_stopping_the_host_ends_the_server(by_hand: Make) -> None:
    neuron = by_hand()
    async with hosted(neuron) as orchestrator:
        first = await orchestrator.dispatch_and_wait(neuron="tools", input={"tool": "pid"})
    async with hosted(neuron) as orchestrator:
        second = await orchestrator.dispatch_and_wait(neuron="tools", input={"tool": "pid"})
    pids = {reply.payload["output"]["result"]["pid"] for reply in (first, second)}
    assert len(pids) == 2


def test_neuron_finds_the_source_by_its_name() -> None:
    neuron = Neuron(source="mcp", url="http://localhost:8000/mcp")
    assert repr(neuron) == "<McpNeuron of the MCP server at http://localhost:8000/mcp>"
