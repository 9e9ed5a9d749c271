"""`current_task` inside and outside of Neurons."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cosmo_core import NeuronFn, current_task
from tests.bus.common import Start


def current_task_fields() -> dict[str, str]:
    task = current_task()
    assert task is not None
    return {"id": task.id, "trace_id": task.trace_id, "neuron": task.neuron}


async def reads_task(input: dict[str, Any], context: list[Any]) -> dict[str, str]:
    return current_task_fields()


async def reads_task_in_thread(input: dict[str, Any], context: list[Any]) -> dict[str, str]:
    return await asyncio.create_task(asyncio.to_thread(current_task_fields))


def reads_task_synchronously(input: dict[str, Any], context: list[Any]) -> dict[str, str]:
    return current_task_fields()


async def streams_task(input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
    yield "a"
    yield current_task_fields()


def test_current_task_is_none_outside_neuron() -> None:
    assert current_task() is None


@pytest.mark.parametrize("neuron", [reads_task, reads_task_in_thread, reads_task_synchronously, streams_task])
async def test_current_task_is_set_for_every_neuron_form(start: Start, neuron: NeuronFn) -> None:
    dendrite = await start(neuron)
    name = neuron.__name__  # type: ignore[attr-defined]
    pathway = await dendrite.dispatch(neuron=name, input={})
    answer = (await pathway.wait(timeout_s=5)).raise_for_error().payload["output"]
    assert answer == {"id": pathway.task_id, "trace_id": pathway.trace_id, "neuron": name}
    assert current_task() is None


async def test_concurrent_tasks_have_separate_current_task(start: Start) -> None:
    both = asyncio.Barrier(2)

    async def waits_for_other(input: dict[str, Any], context: list[Any]) -> dict[str, str]:
        await both.wait()
        return current_task_fields()

    dendrite = await start(waits_for_other)
    pathways = [await dendrite.dispatch(neuron="waits_for_other", input={}) for _ in range(2)]
    answers = [(await pathway.wait(timeout_s=5)).payload["output"]["id"] for pathway in pathways]
    assert answers == [pathway.task_id for pathway in pathways]
