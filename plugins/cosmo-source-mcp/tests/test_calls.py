"""Calls of tools, with the same tests over stdio and over Streamable HTTP."""

from __future__ import annotations

import asyncio
import copy
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core.errors import NeuronError
from cosmo_source_mcp.limits import MAX_TOOL_ERROR_CHARS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from cosmo_source_mcp import McpNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., McpNeuron]

IN_FLIGHT = 32


async def test_structured_result_is_the_result(toolbox: Make, ask: Ask) -> None:
    output = await ask(toolbox(), "add", a=19, b=23)
    assert output["response"] == "42"
    assert output["result"] == {"result": 42}
    assert output["is_error"] is False
    assert output["content"] == [{"type": "text"}]
    assert output["meta"]["tool"] == "add"
    assert output["meta"]["server"] == {"name": "toolbox", "version": "7.1"}
    assert output["meta"]["protocol_version"] >= "2025"


async def test_text_with_a_json_object_or_array_is_the_result(toolbox: Make, ask: Ask) -> None:
    neuron = toolbox()
    for value in ({"a": [1, None]}, [1, {"b": "ü"}]):
        for tool, more in (("repeat", {"times": 1}), ("echo", {})):
            text = {"value" if tool == "echo" else "text": json.dumps(value)}
            output = await ask(neuron, tool, **text, **more)
            assert (output["response"], output["result"]) == ("", value)


async def test_other_text_is_the_response(toolbox: Make, ask: Ask) -> None:
    neuron = toolbox()
    for text in ("hi", "42", "null", '"x"', "{", "[1e999]", "[NaN]", '["\\ud800"]', "[" * 100_000):
        output = await ask(neuron, "repeat", text=text, times=1)
        assert (output["response"], output["result"]) == (text, None)


WORD = "word " * 20_000


@pytest.mark.parametrize(
    ("tool", "arguments", "response", "result"),
    [
        ("repeat", {"text": WORD, "times": 1}, WORD, None),
        ("attach", {"text": WORD}, WORD, None),
        ("repeat", {"text": json.dumps({"a": WORD}), "times": 1}, "", {"a": WORD}),
        ("echo", {"value": WORD}, WORD, None),
        ("echo_object", {"value": {"a": WORD}}, "", {"a": WORD}),
        ("echo_list", {"value": [WORD, "x"]}, "", {"result": [WORD, "x"]}),
        ("echo_list", {"value": [WORD]}, "", {"result": [WORD]}),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else "",
)
async def test_each_text_travels_once(
    toolbox: Make, ask: Ask, tool: str, arguments: dict[str, Any], response: str, result: Any
) -> None:
    output = await ask(toolbox(), tool, **arguments)
    assert (output["response"], output["result"]) == (response, result)
    assert len(json.dumps(output)) < len(WORD) + 1_000


async def test_content_of_other_types_is_in_the_output(toolbox: Make, ask: Ask) -> None:
    output = await ask(toolbox(), "picture")
    assert output["response"] == "a dot\nand no more"
    image = {"type": "image", "data": "AAAA", "mimeType": "image/png"}
    assert output["content"] == [{"type": "text"}, image, {"type": "text"}]


async def test_list_of_tools_is_an_output(toolbox: Make) -> None:
    neuron = toolbox()
    for input in ({"list_tools": True}, {"tool": "__list_tools__"}, {"__list_tools__": True}):
        output = await neuron(input, [])
        assert output["response"].split("\n")[:2] == ["add", "shout"]
        (add,) = (tool for tool in output["result"] if tool["name"] == "add")
        assert add["description"] == "Add two numbers."
        assert add["inputSchema"]["required"] == ["a", "b"]
        assert output["is_error"] is False
        json.dumps(output, allow_nan=False)


async def test_input_of_a_bound_tool_is_its_arguments(toolbox: Make) -> None:
    output = await toolbox(tool="add")({"a": 1, "b": 2}, [])
    assert output["result"] == {"result": 3}


async def test_input_is_not_changed(toolbox: Make) -> None:
    input = {"tool": "add", "arguments": {"a": 1, "b": 2}}
    before = copy.deepcopy(input)
    await toolbox()(input, [])
    assert input == before


@pytest.mark.parametrize(
    ("input", "message"),
    [
        ({}, "does not name one tool"),
        ({"tool": ""}, "does not name one tool"),
        ({"tool": 7}, "does not name one tool"),
        ({"resource": 7}, "does not name one tool"),
        ({"prompt": ""}, "does not name one tool"),
        ({"tool": "add", "list_tools": True}, "does not name one tool"),
        ({"tool": "add", "prompt": "greet"}, "does not name one tool"),
        ({"list_prompts": True, "list_tools": True}, "does not name one tool"),
        ({"prompt": "greet", "arguments": {"n": 1}}, "the arguments of a prompt are strings"),
        ({"resource": "a://{", "arguments": {"n": "1"}}, "resource cannot be expanded"),
        ({"resource": "a://{n}", "arguments": {"n": 1}}, "resource cannot be expanded"),
        ({"tool": "add", "arguments": [1, 2]}, "arguments is not an object"),
        ({"tool": "add", "a": 1, "b": 2}, "unknown keys, a, b"),
        ({"tool": "add", "arguments": {"a": float("nan"), "b": 2}}, "cannot be sent as JSON"),
        ({"tool": "add", "arguments": {"a": object, "b": 2}}, "cannot be sent as JSON"),
        ({"tool": "shout", "arguments": {"text": "\ud800"}}, "cannot be sent as JSON"),
    ],
    ids=str,
)
async def test_invalid_input_does_not_start_the_server(
    make: Make, input: dict[str, Any], message: str
) -> None:
    neuron = make(command="there-is-no-such-command")
    with pytest.raises(NeuronError, match=message) as caught:
        await neuron(input, [])
    assert (caught.value.code, caught.value.recoverable) == ("INPUT_INVALID", False)


async def test_arguments_that_do_not_match_the_schema_are_not_sent(toolbox: Make, ask: Ask) -> None:
    neuron = toolbox()
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"a": "x", "b": 2}, "'x' is not of type 'integer' .at arguments\\.a"),
        ({"a": 1}, "'b' is a required property"),
        ({}, "is a required property"),
    ]
    for arguments, message in wrong:
        with pytest.raises(NeuronError, match=message) as caught:
            await ask(neuron, "add", **arguments)
        assert (caught.value.code, caught.value.recoverable) == ("INPUT_INVALID", False)
    assert (await ask(neuron, "add", a=1, b=2))["response"] == "3"


async def test_unknown_tool_error_names_the_known_tools(toolbox: Make, ask: Ask) -> None:
    neuron = toolbox()
    with pytest.raises(NeuronError, match=r"did you mean 'shout'. known: add, .*shout") as caught:
        await ask(neuron, "shuot", text="hi")
    assert (caught.value.code, caught.value.recoverable) == ("TOOL_NOT_FOUND", False)
    assert (await ask(neuron, "shout", text="hi"))["response"] == "HI"


async def test_error_of_a_tool_has_its_whole_text(toolbox: Make, ask: Ask) -> None:
    neuron = toolbox()
    reason = "out of paper:\n" + "x" * 2_000 + " end"
    with pytest.raises(NeuronError, match=r"the tool 'fail' .* failed: ") as caught:
        await ask(neuron, "fail", reason=reason)
    assert (caught.value.code, caught.value.recoverable) == ("TOOL_ERROR", False)
    assert str(caught.value).endswith(reason)
    assert (await ask(neuron, "add", a=1, b=2))["response"] == "3"


async def test_error_of_a_tool_has_its_structured_content(toolbox: Make, ask: Ask) -> None:
    with pytest.raises(NeuronError, match=r"failed: no seats") as caught:
        await ask(toolbox(), "fail_structured", reason="no seats", details={"left": 0, "row": "ü"})
    assert json.loads(str(caught.value).partition("\n")[2]) == {"left": 0, "row": "ü"}


async def test_error_of_a_tool_is_limited(toolbox: Make, ask: Ask) -> None:
    with pytest.raises(NeuronError) as caught:
        await ask(toolbox(), "fail", reason="x" * 2 * MAX_TOOL_ERROR_CHARS)
    assert MAX_TOOL_ERROR_CHARS < len(str(caught.value)) < MAX_TOOL_ERROR_CHARS + 1_000


async def test_questions_of_concurrent_calls_belong_to_their_calls(toolbox: Make) -> None:
    neuron = toolbox()
    calls = [{"tool": "welcome", "arguments": {"place": place}} for place in ("Ulm", "Rom", "Ely")]
    async with asyncio.timeout(30):
        asked = await asyncio.gather(*(neuron(call, []) for call in calls))
        assert [question.payload["question"] for question in asked] == [
            "Who comes to Ulm?",
            "Who comes to Rom?",
            "Who comes to Ely?",
        ]
        answered = [
            {**call, "clarifications": [{"question": question.payload["question"], "answer": name}]}
            for call, question, name in zip(calls, asked, ("Ada", "Bob", "Eve"), strict=True)
        ]
        outputs = await asyncio.gather(*(neuron(call, []) for call in answered))
    assert [output["response"] for output in outputs] == [
        "Welcome to Ulm, Ada.",
        "Welcome to Rom, Bob.",
        "Welcome to Ely, Eve.",
    ]


async def test_new_tool_is_found(toolbox: Make, ask: Ask) -> None:
    neuron = toolbox()
    await ask(neuron, "learn", name="trick")
    assert (await ask(neuron, "trick"))["response"] == "trick"
    await ask(neuron, "forget", name="trick")


async def test_concurrent_calls_share_the_session_and_do_not_wait_for_each_other(
    toolbox: Make, ask: Ask
) -> None:
    neuron = toolbox()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        held = [group.create_task(ask(neuron, "hold", name=f"{n}")) for n in range(IN_FLIGHT)]
        for n in range(IN_FLIGHT):
            await ask(neuron, "await_begun", name=f"{n}")
        for n in reversed(range(IN_FLIGHT)):
            await ask(neuron, "release", name=f"{n}")
    assert [call.result()["response"] for call in held] == [f"{n}" for n in range(IN_FLIGHT)]
    pids = {(await ask(neuron, "pid"))["response"] for _ in range(3)}
    assert len(pids) == 1
    assert int(pids.pop()) != os.getpid()


# With plain JSON instead of a stream, the SDK's server does not notice that the client has gone.
@pytest.mark.parametrize("toolbox", ["stdio", "http"], indirect=True)
async def test_cancelled_call_is_cancelled_at_the_server_and_the_session_continues(
    toolbox: Make, ask: Ask
) -> None:
    neuron = toolbox()
    pid = (await ask(neuron, "pid"))["response"]
    call = asyncio.ensure_future(ask(neuron, "hold", name="for ever"))
    await ask(neuron, "await_begun", name="for ever")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (await ask(neuron, "await_cancelled", name="for ever"))["response"] == "for ever"
    assert (await ask(neuron, "pid"))["response"] == pid


@pytest.mark.parametrize("toolbox", ["http"], indirect=True)  # because starting a server would take time
async def test_call_that_times_out_is_cancelled_at_the_server(toolbox: Make, ask: Ask) -> None:
    neuron = toolbox(timeout=1)
    with pytest.raises(NeuronError, match=r"did not answer within 1 s") as caught:
        await ask(neuron, "hold", name="too long")
    assert (caught.value.code, caught.value.recoverable) == ("PROVIDER_TIMEOUT", True)
    assert (await ask(neuron, "await_cancelled", name="too long"))["response"] == "too long"
