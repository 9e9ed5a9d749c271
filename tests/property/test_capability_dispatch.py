"""Properties of dispatch by capabilities: a TASK runs once on a capable Neuron, or raises at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosmo_core import Axon, Dendrite, NeuronFn, NoRouteError, current_task
from cosmo_core.plugins import PluginManager
from cosmo_synapse_memory import MemorySynapse

CAPABILITIES = st.frozensets(st.sampled_from("vwxyz"), max_size=4)
HOSTS = st.lists(st.dictionaries(st.sampled_from("abcdef"), CAPABILITIES, max_size=4), max_size=5)
WANTED = st.lists(CAPABILITIES.filter(bool), min_size=1, max_size=12)


@attrs.define
class Runs:
    """The runs of Neurons."""

    # The capabilities of the replicas that ran a TASK, by TASK id.
    by_task: dict[str, list[frozenset[str]]] = attrs.field(factory=dict)

    def neuron(self, capabilities: frozenset[str]) -> NeuronFn:
        async def neuron(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
            task = current_task()
            assert task is not None
            self.by_task.setdefault(task.id, []).append(capabilities)
            await asyncio.sleep(0)
            return {}

        return neuron


async def connect_synapse(stack: AsyncExitStack) -> MemorySynapse:
    """Connect a memory Synapse that is closed with the stack."""
    synapse = MemorySynapse()
    await synapse.connect()
    stack.push_async_callback(synapse.close)
    return synapse


@pytest.mark.clause("P-5.2")
@given(hosts=HOSTS, wanted=WANTED)
@settings(deadline=None)
async def test_task_for_capabilities_is_neither_lost_nor_run_twice(
    hosts: list[dict[str, frozenset[str]]], wanted: list[frozenset[str]]
) -> None:
    runs = Runs()
    async with AsyncExitStack() as stack, asyncio.timeout(30):
        synapse = await connect_synapse(stack)
        for host in hosts:
            dendrite = Dendrite(synapse=synapse, role="worker", plugins=PluginManager())
            for name, capabilities in host.items():
                axon = Axon(neuron_id=name, neuron_fn=runs.neuron(capabilities), capabilities=capabilities)
                dendrite.attach_axon(axon)
            await stack.enter_async_context(dendrite)
        orchestrator = Dendrite(synapse=synapse, discovery_s=0, plugins=PluginManager())
        await stack.enter_async_context(orchestrator)
        outcomes = await asyncio.gather(
            *(orchestrator.dispatch_and_wait(capabilities=sorted(needs), input={}) for needs in wanted),
            return_exceptions=True,
        )
    for needs, outcome in zip(wanted, outcomes, strict=True):
        # A Neuron has the capabilities that all its replicas have.
        neurons = {name for host in hosts for name in host}
        able = {name for name in neurons if all(needs <= host[name] for host in hosts if name in host)}
        if isinstance(outcome, BaseException):
            assert isinstance(outcome, NoRouteError), repr(outcome)
            assert not able
            for capability in {known for host in hosts for known in frozenset().union(*host.values())}:
                assert capability in str(outcome)
        else:
            assert able
            (ran,) = runs.by_task.pop(outcome.parent_id or "")
            assert needs <= ran
    assert not runs.by_task


@pytest.mark.clause("P-3.6")
@given(count=st.integers(1, 30), replicas=st.integers(1, 5))
@settings(deadline=None)
async def test_replicas_share_tasks_in_turn(count: int, replicas: int) -> None:
    served: Counter[int] = Counter()

    def neuron(place: int) -> NeuronFn:
        async def neuron(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
            served[place] += 1
            return {}

        return neuron

    async with AsyncExitStack() as stack, asyncio.timeout(30):
        synapse = await connect_synapse(stack)
        for place in range(replicas):
            worker = Dendrite(synapse=synapse, role="worker", plugins=PluginManager())
            worker.attach_axon(Axon(neuron_id="a", neuron_fn=neuron(place)))
            await stack.enter_async_context(worker)
        orchestrator = Dendrite(synapse=synapse, plugins=PluginManager())
        await stack.enter_async_context(orchestrator)
        for _ in range(count):
            await orchestrator.dispatch_and_wait(neuron="a", input={})
    assert sum(served.values()) == count
    assert max(served.values()) - min(served[place] for place in range(replicas)) <= 1


@pytest.mark.clause("P-5.2")
@pytest.mark.parametrize("busy", ["a", "b"])
async def test_least_busy_neuron_is_chosen(busy: str) -> None:
    go, ran = asyncio.Event(), []

    def neuron(name: str) -> NeuronFn:
        async def neuron(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
            ran.append(name)
            await go.wait()
            return {}

        return neuron

    async with AsyncExitStack() as stack, asyncio.timeout(30):
        synapse = await connect_synapse(stack)
        dendrite = Dendrite(synapse=synapse, plugins=PluginManager())
        for name in ("a", "b"):
            capabilities = ["x", "y"] if name == busy else ["x"]
            axon = Axon(neuron_id=name, neuron_fn=neuron(name), capabilities=capabilities)
            dendrite.attach_axon(axon)
        await stack.enter_async_context(dendrite)
        pathways = [await dendrite.dispatch(capabilities=["y"], input={}) for _ in range(3)]
        pathways += [await dendrite.dispatch(capabilities=["x"], input={}) for _ in range(3)]
        go.set()
        for pathway in pathways:
            await pathway.wait()
    assert Counter(ran) == {"a": 3, "b": 3}
