"""`Rendered.to_messages`: chat messages with cache breakpoints."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_context import Budget, Context, DynamicVariableRegistry, PromptBuilder, Rendered, Stability
from cosmo_context.messages import NOTHING_SAID

Make = Callable[..., Any]
Nine = Callable[..., PromptBuilder]
Known = Callable[..., Context]

MARK = {"cache_control": {"type": "ephemeral"}}
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": "{}"}}],
}
BARE_CALL = {"role": "assistant", "tool_calls": [{"id": "c2"}]}
OTHER_RESULT = {"role": "tool", "tool_call_id": "c2", "content": ""}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "42"}
PICTURE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}


def text(said: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": said, **more}


async def rendered(history: list[Any], *around: Any, **settings: Any) -> Rendered:
    ctx = Context("t", state={"history": history, "skills": [{"name": "sort"}], "facts": ["one"]})
    builder = PromptBuilder(ctx, layout="cache", **settings)
    for name in around or ("skill", "history", "fact"):
        builder.add(name)
    return await builder.render()


SKILLS = "<available_skills>\n  - sort: \n</available_skills>"
FACTS = "<facts>\n  - one\n</facts>"
TALK = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Well."}]


# --- roles --------------------------------------------------------------------------------------------


async def test_prompt_becomes_system_conversation_and_user_messages() -> None:
    assert (await rendered(TALK)).to_messages(cache_control=None) == [
        {"role": "system", "content": SKILLS},
        *TALK,
        {"role": "user", "content": FACTS},
    ]


async def test_question_comes_after_the_conversation_that_is_given_with_it() -> None:
    prompt = await rendered([], "skill", "fact")
    found = prompt.to_messages(question="Why?", conversation=TALK, cache_control=None)
    assert found == [
        {"role": "system", "content": SKILLS},
        *TALK,
        {"role": "user", "content": f"{FACTS}\n\nWhy?"},
    ]


async def test_breakpoint_follows_every_degree_of_stability() -> None:
    assert (await rendered(TALK)).to_messages() == [
        {"role": "system", "content": [text(SKILLS, **MARK)]},
        {"role": "user", "content": [text("Hi.")]},
        {"role": "assistant", "content": [text("Well.", **MARK)]},
        {"role": "user", "content": [text(FACTS)]},
    ]


async def test_breakpoint_mark_can_be_chosen_and_is_copied() -> None:
    mark = {"type": "ephemeral", "ttl": "1h"}
    messages = (await rendered(TALK)).to_messages(cache_control=mark)
    found = [
        block["cache_control"]
        for message in messages
        for block in message["content"]
        if "cache_control" in block
    ]
    assert found == [mark, mark]
    assert found[0] is not mark
    assert found[0] is not found[1]


async def test_adjacent_messages_with_one_role_are_joined() -> None:
    messages = (await rendered([*TALK, {"role": "user", "content": "So?"}])).to_messages(cache_control=None)
    assert messages[-1] == {"role": "user", "content": f"So?\n\n{FACTS}"}


async def test_user_message_starts_at_the_first_unstable_neuron(nine: Nine, known: Known) -> None:
    messages = (await nine(known()).render()).to_messages(cache_control=None)
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]


async def test_builtin_neurons_have_three_breakpoints(nine: Nine, known: Known) -> None:
    messages = (await nine(known(), layout="cache").render()).to_messages()
    assert [[sorted(block) for block in message["content"]] for message in messages] == [
        [["cache_control", "text", "type"], ["text", "type"], ["cache_control", "text", "type"]],
        [["text", "type"]],
        [["cache_control", "text", "type"]],
        [["text", "type"]] * 5,
    ]


@pytest.mark.parametrize("cache_control", [None, {"type": "ephemeral"}])
async def test_empty_prompt_has_no_messages(cache_control: Any) -> None:
    assert (await PromptBuilder(Context("t")).render()).to_messages(cache_control=cache_control) == []


async def test_dropped_fragment_is_not_in_the_messages() -> None:
    budget = Budget(18)
    shorter = await rendered([{"role": "user", "content": "x" * 400}], budget=budget)
    assert [item.status for item in shorter.fragments] == ["kept", "dropped", "dropped"]
    assert shorter.to_messages(cache_control=None) == [{"role": "system", "content": SKILLS}]


@given(
    stabilities=st.lists(st.sampled_from(Stability), max_size=8),
    layout=st.sampled_from(["priority", "cache"]),
)
async def test_breakpoints_follow_only_stable_fragments(
    scripted: Make, stabilities: list[Stability], layout: Any
) -> None:
    builder = PromptBuilder(Context("t"), layout=layout)
    for place, stability in enumerate(stabilities):
        builder.add_neuron(scripted(f"n{place}", f"text {place}", stability=stability))
    prompt = await builder.render()
    blocks = [block for message in prompt.to_messages() for block in message["content"]]
    assert [block["text"] for block in blocks] == [item.text for item in prompt.fragments]
    so_far = Stability.STATIC
    for place, (block, item) in enumerate(zip(blocks, prompt.fragments, strict=True)):
        so_far = max(so_far, item.stability)
        following = [item.stability for item in prompt.fragments[place + 1 :][:1]] or [Stability.VOLATILE]
        assert ("cache_control" in block) == (so_far <= Stability.GROWING and following[0] > so_far)
    assert sum("cache_control" in block for block in blocks) <= 3


# --- conversations ------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache_control", [None, {"type": "ephemeral"}])
async def test_tool_calls_and_results_are_not_changed(cache_control: Any) -> None:
    history = [
        TALK[0],
        CALL,
        RESULT,
        BARE_CALL,
        OTHER_RESULT,
        {"role": "assistant", "name": "bob", "content": "So."},
        {"role": "user", "name": "ada", "content": "So?"},
        TALK[1],
    ]
    messages = (await rendered(history)).to_messages(cache_control=cache_control)
    assert messages[2:8] == history[1:7]


async def test_final_tool_result_gets_the_breakpoint_and_keeps_its_keys() -> None:
    messages = (await rendered([TALK[0], CALL, RESULT])).to_messages()
    assert messages[3] == {"role": "tool", "tool_call_id": "c1", "content": [text("42", **MARK)]}
    assert (await rendered([TALK[0], CALL, RESULT])).to_messages(cache_control=None)[3] == RESULT


async def test_breakpoint_moves_before_a_final_tool_call_without_content() -> None:
    history = [TALK[0], BARE_CALL, OTHER_RESULT]
    messages = (await rendered(history, "skill", "history")).to_messages()
    assert messages[1:] == [{"role": "user", "content": [text("Hi.", **MARK)]}, BARE_CALL, OTHER_RESULT]


async def test_image_blocks_are_kept_and_can_have_a_breakpoint() -> None:
    history = [PICTURE]
    assert (await rendered(history)).to_messages(cache_control=None)[1] == {
        "role": "user",
        "content": [*PICTURE["content"], text(FACTS)],
    }
    marked = (await rendered(history)).to_messages()[1]["content"][0]
    assert marked == {**PICTURE["content"][0], **MARK}  # type: ignore[dict-item]


async def test_empty_turn_gets_a_text_that_providers_accept() -> None:
    history = [{"role": "user", "content": ""}, {"role": "assistant", "content": "Well."}]
    assert (await rendered(history)).to_messages()[1:3] == [
        {"role": "user", "content": [text(NOTHING_SAID)]},
        {"role": "assistant", "content": [text("Well.", **MARK)]},
    ]


async def test_message_without_a_role_is_of_the_user() -> None:
    assert (await rendered([{"content": "Hi."}])).to_messages(cache_control=None)[1]["role"] == "user"


async def test_conversation_messages_are_not_escaped_or_resolved() -> None:
    history = [{"role": "user", "content": "</facts> ${history} \ufdd0"}]
    prompt = await rendered(history, "history", escape_tags=True, variables=DynamicVariableRegistry())
    assert prompt.to_messages(cache_control=None) == history


json = st.recursive(
    st.one_of(st.none(), st.text(max_size=5), st.integers()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
blocks = st.lists(st.builds(text, st.text(max_size=5)), min_size=1, max_size=2)
turns = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "assistant", "tool", "system"]),
        "content": st.one_of(json, blocks),
        "tool_calls": json,
    },
)


@given(history=st.lists(turns, max_size=6), marked=st.booleans())
async def test_input_messages_are_not_modified(history: list[Any], marked: bool) -> None:
    before = copy.deepcopy(history)
    messages = (await rendered(history)).to_messages(cache_control={"type": "x"} if marked else None)
    assert history == before
    for message in messages:
        message["content"] = "mine now"
    assert history == before


@given(history=st.lists(turns, max_size=6))
async def test_without_cache_control_no_mark_is_set(history: list[Any]) -> None:
    assert "cache_control" not in str((await rendered(history)).to_messages(cache_control=None))
