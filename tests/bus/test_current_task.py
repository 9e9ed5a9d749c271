"""A Neuron can ask for which TASK it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from cosmo_core import Dendrite, NeuronFn, current_task

Start = Callable[..., Awaitable[Dendrite]]


def told() -> dict[str, str]:
    task = current_task()
    assert task is not None
    return {"id": task.id, "trace_id": task.trace_id, "neuron": task.neuron}


async def asks(input: dict[str, Any], context: list[Any]) -> dict[str, str]:
    return told()


async def asks_elsewhere(input: dict[str, Any], context: list[Any]) -> dict[str, str]:
    return await asyncio.create_task(asyncio.to_thread(told))


def asks_plainly(input: dict[str, Any], context: list[Any]) -> dict[str, str]:
    return told()


async def asks_while_streaming(input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
    yield "a"
    yield told()


def test_current_task_is_none_outside_neuron() -> None:
    assert current_task() is None


@pytest.mark.parametrize("neuron", [asks, asks_elsewhere, asks_plainly, asks_while_streaming])
async def test_current_task_is_set_for_every_neuron_form(start: Start, neuron: NeuronFn) -> None:
    dendrite = await start(neuron)
    name = neuron.__name__  # type: ignore[attr-defined]
    pathway = await dendrite.dispatch(neuron=name, input={})
    answer = (await pathway.wait(timeout_s=5)).raise_for_error().payload["output"]
    assert answer == {"id": pathway.task_id, "trace_id": pathway.trace_id, "neuron": name}
    assert current_task() is None


async def test_concurrent_tasks_have_separate_current_task(start: Start) -> None:
    both = asyncio.Barrier(2)

    async def meets(input: dict[str, Any], context: list[Any]) -> dict[str, str]:
        await both.wait()
        return told()

    dendrite = await start(meets)
    pathways = [await dendrite.dispatch(neuron="meets", input={}) for _ in range(2)]
    answers = [(await pathway.wait(timeout_s=5)).payload["output"]["id"] for pathway in pathways]
    assert answers == [pathway.task_id for pathway in pathways]
