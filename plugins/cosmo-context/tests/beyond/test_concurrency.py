"""Neurons run concurrently, and the prompt keeps their order."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_context import Context, FactNeuron, PromptBuilder, StateNeuron

Make = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("no_task_left")


def builder_of(*neurons: Any, **settings: Any) -> PromptBuilder:
    builder = PromptBuilder(Context("t", state={"facts": ["one"]}), separator=" ", **settings)
    for neuron in neurons:
        builder.add_neuron(neuron)
    return builder


async def test_neurons_wait_concurrently(scripted: Make) -> None:
    all_here = asyncio.Barrier(9)

    async def says(ctx: Context) -> str:
        await all_here.wait()
        return "here"

    async with asyncio.timeout(5):
        prompt = await builder_of(*(scripted(f"n{number}", says) for number in range(9))).build()
    assert prompt == " ".join(["here"] * 9)


@given(finishing=st.permutations(range(6)))
async def test_prompt_order_does_not_depend_on_completion_order(scripted: Make, finishing: list[int]) -> None:
    turns = [asyncio.Event() for _ in finishing]
    turns[finishing[0]].set()

    def saying(number: int) -> Any:
        async def says(ctx: Context) -> str:
            await turns[number].wait()
            place = finishing.index(number)
            if place + 1 < len(finishing):
                turns[finishing[place + 1]].set()
            return str(number)

        return scripted(str(number), says, priority=number // 2)

    async with asyncio.timeout(5):
        assert await builder_of(*map(saying, range(6))).build() == "0 1 2 3 4 5"


async def test_neurons_that_do_not_wait_run_before_waiting_ones_end(scripted: Make) -> None:
    class Counting(FactNeuron):
        def lines(self, items: Any) -> list[str]:
            asked.set()
            return super().lines(items)

    asked = asyncio.Event()

    async def says(ctx: Context) -> str:
        await asked.wait()
        return "waited"

    async with asyncio.timeout(5):
        prompt = await builder_of(scripted("waits", says, priority=1), Counting(priority=2)).build()
    assert prompt == "waited <facts>\n  - one\n</facts>"


class _Late(FactNeuron):
    """Overrides `format` with a coroutine that waits."""

    async def format(self, ctx: Context, **kwargs: Any) -> str:
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)
        return f"late: {self.fragment(ctx)}"


async def test_state_neuron_with_its_own_format_uses_it() -> None:
    assert await builder_of(_Late()).build() == "late: <facts>\n  - one\n</facts>"


async def test_state_neuron_uses_fragment_without_a_task() -> None:
    class Short(StateNeuron):
        def fragment(self, ctx: Context, **kwargs: Any) -> str:
            return f"{sorted(kwargs)}"

    builder = PromptBuilder(Context("t")).add_neuron(Short("s"), limit=3)
    assert await builder.build() == "['limit']"


async def test_concurrent_builds_of_one_builder_do_not_mix(scripted: Make) -> None:
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user")

    async def says(ctx: Context) -> str:
        await asyncio.sleep(0)
        return user.get()

    builder = builder_of(scripted("a", says), scripted("b", says))

    async def build(name: str) -> str:
        user.set(name)
        return await builder.build()

    names = [f"user {number}" for number in range(20)]
    assert await asyncio.gather(*map(build, names)) == [f"{name} {name}" for name in names]


async def test_context_variable_of_one_neuron_is_not_visible_to_others(scripted: Make) -> None:
    mood = contextvars.ContextVar("mood", default="calm")

    async def says(ctx: Context) -> str:
        before = mood.get()
        mood.set("angry")
        return before

    assert await builder_of(scripted("a", says), scripted("b", says)).build() == "calm calm"
    assert mood.get() == "calm"


async def test_neuron_can_use_its_own_timeout(scripted: Make) -> None:
    async def says(ctx: Context) -> str:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            return "gave up"
        raise AssertionError

    assert await builder_of(scripted("a", says)).build() == "gave up"


async def test_neuron_can_create_tasks(scripted: Make) -> None:
    async def says(ctx: Context) -> str:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(asyncio.sleep(0, number)) for number in range(3)]
        return str([task.result() for task in tasks])

    assert await builder_of(scripted("a", says)).build() == "[0, 1, 2]"


async def test_neuron_can_use_a_builder(scripted: Make) -> None:
    async def says(ctx: Context) -> str:
        return f"({await PromptBuilder(ctx).add('fact').build()})"

    assert await builder_of(scripted("a", says)).build() == "(<facts>\n  - one\n</facts>)"
