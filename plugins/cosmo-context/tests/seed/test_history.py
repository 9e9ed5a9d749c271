"""The window of the history Neuron."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_context import Context, ContextConfig, Conversation, HistoryNeuron, PromptBuilder, StateShapeError


def messages(count: int) -> list[dict[str, str]]:
    """Return a conversation with numbered contents."""
    return [{"role": "assistant" if n % 2 else "user", "content": str(n)} for n in range(count)]


async def window(history: object, rounds: int, **options: Any) -> list[int]:
    """Return the numbers of the messages in the fragment."""
    ctx = Context("t", config=ContextConfig(history_rounds=rounds), state={"history": history})
    lines = (await PromptBuilder(ctx).add("history", **options).build()).split("\n")
    assert (lines[0], lines[-1]) == ("<conversation_history>", "</conversation_history>")
    return [int(line.rpartition(" ")[2]) for line in lines[1:-1]]


@pytest.mark.parametrize("rounds", [1, 2, 20])
@pytest.mark.parametrize("more", [-1, 0, 1, 2, 7])
async def test_history_has_two_messages_per_round(rounds: int, more: int) -> None:
    count = 2 * rounds + more
    assert await window(messages(count), rounds) == list(range(count))[-2 * rounds :]


async def test_default_history_has_forty_messages() -> None:
    ctx = Context("t", state={"history": messages(41)})
    prompt = await PromptBuilder(ctx).add("history").build()
    assert prompt.splitlines()[1] == "[assistant]: 1"
    assert len(prompt.splitlines()) == 42


async def test_messages_of_all_roles_count() -> None:
    history = [{"role": role, "content": str(n)} for n, role in enumerate(["user", "tool", "system", "tool"])]
    assert await window(history, 1) == [2, 3]


@pytest.mark.parametrize("collect", [list, tuple, deque, iter])
async def test_history_can_be_any_iterable(
    collect: Callable[[list[dict[str, str]]], Iterable[object]],
) -> None:
    assert await window(collect(messages(7)), 2) == [3, 4, 5, 6]


class Counted(list[Any]):
    """A list that counts how many items are read."""

    read = 0

    def __iter__(self) -> Iterator[Any]:
        for item in super().__iter__():
            self.read += 1
            yield item

    def __getitem__(self, place: Any, /) -> Any:
        found = super().__getitem__(place)
        self.read += len(found) if isinstance(place, slice) else 1
        return found


@pytest.mark.parametrize("step", [1, 20])
async def test_only_the_window_of_a_long_history_is_read(step: int) -> None:
    history = Counted(messages(100_000))
    assert (await window(history, 20, step=step))[-1] == 99_999
    assert 0 < history.read <= 2 * 40


@pytest.mark.parametrize("collect", [list, tuple, deque])
@pytest.mark.parametrize("options", [{}, {"step": 20}])
async def test_wrong_item_is_named_by_its_index_in_the_state(
    options: dict[str, int], collect: Callable[[list[object]], Iterable[object]]
) -> None:
    # The same object before the window must not be reported.
    history: list[object] = [None, *messages(69), None, *messages(20), None]
    with pytest.raises(StateShapeError, match="a mapping as item 70 of state key 'history', not NoneType"):
        await window(collect(history), 20, **options)


async def test_wrong_item_outside_the_window_is_ignored() -> None:
    assert await window(["not a message", *messages(4)], 2) == [0, 1, 2, 3]


def test_fragment_has_its_messages() -> None:
    ctx = Context("t", config=ContextConfig(history_rounds=1), state={"history": messages(3)})
    told = HistoryNeuron().fragment(ctx)
    assert isinstance(told, Conversation)
    assert told == "<conversation_history>\n[assistant]: 1\n[user]: 2\n</conversation_history>"
    assert list(told.messages) == messages(3)[1:]


@pytest.mark.parametrize("step", [2, 3, 5, 10])
async def test_step_moves_the_window_once_per_step(step: int) -> None:
    history = [{"role": "user", "content": str(n)} for n in range(100)]
    begins = [(await window(history[:count], 5, step=step))[0] for count in range(10, 100)]
    assert begins == sorted(begins)
    assert set(begins) == set(range(0, begins[-1] + 1, step))


async def test_window_without_step_moves_with_every_message() -> None:
    history = messages(30)
    assert [(await window(history[:count], 5))[0] for count in range(10, 31)] == list(range(21))


async def test_step_is_limited_to_the_window() -> None:
    history = [{"role": "user", "content": str(n)} for n in range(11)]
    assert await window(history, 5, step=1000) == [10]
    assert await window(history[:10], 5, step=1000) == list(range(10))


async def test_step_window_does_not_start_with_a_tool_result() -> None:
    roles = ["user", "assistant", "tool", "assistant", "user", "assistant", "tool", "assistant"]
    history = [{"role": role, "content": str(n)} for n, role in enumerate(roles)]
    assert await window(history, 3, step=2) == [3, 4, 5, 6, 7]


async def test_step_window_contains_a_whole_short_history() -> None:
    history = [{"role": role, "content": str(n)} for n, role in enumerate(("system", "tool", "user"))]
    assert await window(history, 2, step=2) == [0, 1, 2]


async def test_step_window_of_only_tool_results_is_not_empty() -> None:
    history = [{"role": "tool", "content": str(n)} for n in range(7)]
    assert await window(history, 2, step=2) == [4, 5, 6]


ROLES = st.sampled_from(["user", "assistant", "tool", "system"])


@given(
    roles=st.lists(ROLES, min_size=1, max_size=60),
    rounds=st.integers(1, 8),
    step=st.integers(2, 40),
)
async def test_step_window_is_a_suffix_of_the_full_window(
    roles: Sequence[str], rounds: int, step: int
) -> None:
    history = [{"role": role, "content": str(n)} for n, role in enumerate(roles)]
    full = await window(history, rounds)
    stepped = await window(history, rounds, step=step)
    assert stepped
    # The system messages at the beginning are in every window.
    system = next((number for number, role in enumerate(roles) if role != "system"), len(roles))
    for shown in (full, stepped):
        assert [number for number in shown if number < system] == list(range(system))
        cut = [number for number in shown if number >= system]
        assert cut == list(range(len(roles)))[len(roles) - len(cut) :]
        if len(shown) < len(roles) and {roles[number] for number in cut} != {"tool"}:
            assert not cut or roles[cut[0]] != "tool"
    assert set(stepped) <= set(full)
