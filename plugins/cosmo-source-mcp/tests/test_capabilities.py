"""Resources, prompts, lists, roots, questions, progress and log messages."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from cosmo_core import AskBack, Axon, Dendrite, SignalType, connect_synapse
from cosmo_core.errors import NeuronError
from cosmo_source_mcp import McpNeuron, limits
from cosmo_source_mcp.conversation import Notes

Make = Callable[..., McpNeuron]
Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]

GUIDE = Path(__file__).parent / "servers" / "guide.py"


@pytest.fixture
def guide(make: Make) -> Make:
    """Make Neurons of the server in ``servers/guide.py``."""

    def guide(*arguments: str, **options: Any) -> McpNeuron:
        return make(command=sys.executable, args=[GUIDE, *arguments], **options)

    return guide


async def test_resource_is_read(guide: Make) -> None:
    output = await guide()({"resource": "note://one"}, [])
    assert (output["response"], output["result"]) == ("first note", None)
    assert output["content"] == [{"uri": "note://one", "mimeType": "text/plain"}]
    assert (output["meta"]["resource"], output["meta"]["server"]["name"]) == ("note://one", "guide")


async def test_binary_resource_is_in_the_content(guide: Make) -> None:
    output = await guide()({"resource": "note://dot"}, [])
    assert output["response"] == ""
    assert output["content"] == [{"uri": "note://dot", "mimeType": "image/png", "blob": "AAAA"}]


async def test_arguments_fill_in_the_template_of_a_resource(guide: Make) -> None:
    output = await guide()({"resource": "note://by/{author}", "arguments": {"author": "Ada L"}}, [])
    assert output["response"] == "by Ada"


async def test_unknown_resource_is_an_error(guide: Make) -> None:
    with pytest.raises(NeuronError, match="no such note") as caught:
        await guide()({"resource": "note://gone"}, [])
    assert (caught.value.code, caught.value.recoverable) == ("RESOURCE_NOT_FOUND", False)


async def test_prompt_becomes_messages(guide: Make) -> None:
    output = await guide()({"prompt": "greet", "arguments": {"who": "Ada"}}, [])
    image = {"type": "image", "data": "AAAA", "mimeType": "image/png"}
    assert output["messages"] == [
        {"role": "user", "content": "Greet Ada."},
        {"role": "assistant", "content": image},
    ]
    assert (output["response"], output["meta"]["description"]) == ("", "a greeting")


@pytest.mark.parametrize(
    ("wanted", "names", "first"),
    [
        ("list_resources", "note://one\nnote://dot", {"uri": "note://one", "name": "note://one"}),
        (
            "list_resource_templates",
            "note://by/{author}",
            {"uriTemplate": "note://by/{author}", "name": "by author"},
        ),
        ("list_prompts", "greet", {"name": "greet", "arguments": [{"name": "who", "required": True}]}),
    ],
)
async def test_lists_are_outputs(guide: Make, wanted: str, names: str, first: dict[str, Any]) -> None:
    output = await guide()({wanted: True}, [])
    assert (output["response"], output["result"][0]) == (names, first)


async def test_list_that_is_too_long_is_malformed(guide: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cosmo_source_mcp.requests.MAX_LISTED", 1)
    with pytest.raises(NeuronError, match="more than 1 resources") as caught:
        await guide()({"list_resources": True}, [])
    assert caught.value.code == "PROVIDER_MALFORMED"


async def test_server_gets_the_roots(guide: Make, ask: Ask, tmp_path: Path) -> None:
    output = await ask(guide(roots=[tmp_path, "file:///srv"]), "roots")
    assert [root["uri"] for root in output["result"]["roots"]] == [tmp_path.as_uri(), "file:///srv"]


async def test_byte_order_mark_before_a_line_is_ignored(guide: Make, ask: Ask) -> None:
    assert (await ask(guide("--bom", start_timeout=20), "pid"))["result"]["pid"] > 0


ANSWERS: list[tuple[str, Any, dict[str, Any]]] = [
    ("age", {"age": 7}, {"action": "accept", "content": {"age": 7}}),
    ("age", 7, {"action": "accept", "content": {"age": 7}}),
    ("age", False, {"action": "decline"}),
    ("age", {"action": "cancel"}, {"action": "cancel"}),
    ("age", {"action": "accept", "content": {"age": 7}}, {"action": "accept", "content": {"age": 7}}),
    ("greet", True, {"action": "accept", "content": {"name": "Ada", "loud": True}}),
    ("greet", {"name": "Bob"}, {"action": "accept", "content": {"name": "Bob", "loud": True}}),
    ("visit", True, {"action": "accept"}),
]


@pytest.mark.parametrize(("tool", "answer", "sent"), ANSWERS, ids=str)
async def test_question_is_asked_back_and_the_call_goes_on_with_the_answer(
    guide: Make, tool: str, answer: Any, sent: dict[str, Any]
) -> None:
    neuron = guide()
    input: dict[str, Any] = {"tool": tool}
    question = await neuron(input, [])
    assert isinstance(question, AskBack)
    assert question.type is SignalType.CLARIFICATION
    entry = {"question": question.payload["question"], "answer": answer}
    output = await neuron({**input, "clarifications": [entry]}, [])
    assert output["result"]["answer"] == sent
    assert output["result"].get("asked", 1) == 1, "the tool was called once"


async def test_question_says_what_is_needed(guide: Make) -> None:
    neuron = guide()
    question = await neuron({"tool": "age"}, [])
    schema = question.payload["context"]["schema"]
    assert question.payload["question"] == "How old are you?"
    assert schema["properties"]["age"] == {"type": "integer", "minimum": 0}
    url = (await guide()({"tool": "visit"}, [])).payload
    assert url == {"question": "Please log in.", "context": {"mode": "url", "url": "https://x.example/"}}


@pytest.mark.parametrize("answer", ["old", {"age": -1}, {"age": "7"}, {}, [7]], ids=str)
async def test_answer_that_does_not_match_is_invalid_and_can_be_given_again(guide: Make, answer: Any) -> None:
    neuron = guide()
    await neuron({"tool": "age"}, [])
    question = "How old are you?"
    for _ in range(2):
        with pytest.raises(NeuronError, match=r"the answer to 'How old are you\?' cannot be sent") as caught:
            await neuron({"tool": "age", "clarifications": [{"question": question, "answer": answer}]}, [])
        assert (caught.value.code, caught.value.recoverable) == ("INPUT_INVALID", False)
    output = await neuron({"tool": "age", "clarifications": [{"question": question, "answer": 7}]}, [])
    assert output["result"]["asked"] == 1


async def test_answers_are_used_where_the_call_does_not_wait_any_more(guide: Make) -> None:
    """On another host for example, where the call is made again."""
    entries = [
        {"question": "How old are you?", "answer": 7},
        {"question": "Who, and how?", "answer": {"loud": False}},
    ]
    output = await guide()({"tool": "both", "clarifications": entries}, [])
    assert [answer["content"] for answer in output["result"]["answers"]] == [
        {"age": 7},
        {"name": "Ada", "loud": False},
    ]


async def test_wrong_answer_to_a_new_call_is_invalid(guide: Make) -> None:
    entry = {"question": "How old are you?", "answer": "old"}
    with pytest.raises(NeuronError, match="cannot be sent: 'old' is not of type 'integer'"):
        await guide()({"tool": "age", "clarifications": [entry]}, [])


async def test_several_questions_over_a_bus(guide: Make) -> None:
    synapse = await connect_synapse("memory://")
    worker = Dendrite(synapse=synapse, role="worker")
    worker.attach_axon(Axon(neuron_id="guide", neuron_fn=guide(tool="both")))
    orchestrator = Dendrite(synapse=synapse)
    async with asyncio.timeout(30), worker, orchestrator:
        first = await orchestrator.dispatch_and_wait(neuron="guide", input={"n": 1})
        assert first.type is SignalType.CLARIFICATION
        pathway = await orchestrator.respond_to_clarification(first, {"age": 30})
        second = await pathway.wait()
        assert (second.type, second.payload["question"]) == (SignalType.CLARIFICATION, "Who, and how?")
        last = await (await orchestrator.respond_to_clarification(second, {"name": "Bob"})).wait()
    await synapse.close()
    output = last.raise_for_error().payload["output"]["result"]
    assert [answer["content"] for answer in output["answers"]] == [{"age": 30}, {"name": "Bob", "loud": True}]
    assert output["asked"] == 2


async def test_waiting_calls_are_limited(guide: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cosmo_source_mcp.waiting.MAX_WAITING_CALLS", 1)
    neuron = guide()
    await neuron({"tool": "age"}, [])
    await neuron({"tool": "greet"}, [])
    assert len(neuron._waiting._calls) == 1


async def test_waiting_call_ends_after_a_while(guide: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cosmo_source_mcp.waiting.ANSWER_WAIT_S", 0)
    neuron = guide()
    await neuron({"tool": "age"}, [])
    (running,) = neuron._waiting._calls.values()
    async with asyncio.timeout(30):
        await asyncio.wait([running._task])
    assert running._task.cancelled()


async def test_closing_ends_a_waiting_call(guide: Make) -> None:
    neuron = guide()
    await neuron({"tool": "age"}, [])
    (running,) = neuron._waiting._calls.values()
    await neuron.aclose()
    assert running._task.cancelled()


async def test_progress_and_log_are_yielded_before_the_output(guide: Make) -> None:
    neuron: Any = guide(stream=True)
    items = [item async for item in neuron({"tool": "count", "arguments": {"to": 3}}, [])]
    *notes, output = items
    assert sorted(notes) == sorted(
        [f"[info counter] step {n}\n" for n in range(3)] + [f"{n} of 3: on\n" for n in (1, 2, 3)]
    )
    assert output["result"] == {"asked_for_progress": True}


async def test_progress_is_not_asked_for_without_stream(guide: Make, ask: Ask) -> None:
    assert (await ask(guide(), "count", to=3))["result"] == {"asked_for_progress": False}


async def test_notes_are_thought_deltas_on_a_bus(guide: Make) -> None:
    synapse = await connect_synapse("memory://")
    worker = Dendrite(synapse=synapse, role="worker")
    worker.attach_axon(Axon(neuron_id="guide", neuron_fn=guide(stream=True, tool="count")))
    orchestrator = Dendrite(synapse=synapse)
    async with asyncio.timeout(30), worker, orchestrator:
        pathway = await orchestrator.dispatch(neuron="guide", input={"to": 2})
        deltas = []
        async for signal in pathway:
            if signal.type is SignalType.THOUGHT_DELTA:
                deltas.append(signal.payload["delta"])
            if signal.type is SignalType.AGENT_OUTPUT:
                break
    await synapse.close()
    assert len(deltas) == 4


async def test_waiting_notes_are_limited() -> None:
    notes, done = Notes(), asyncio.create_task(asyncio.sleep(0))
    await done
    for n in range(limits.MAX_WAITING_NOTES + 10):
        notes.add(f"note {n}")
    notes.add("x" * limits.MAX_NOTE_CHARS * 2)
    kept = [note async for note in notes.until(done)]
    assert len(kept) == limits.MAX_WAITING_NOTES
    assert kept[0] == "note 11\n"
    assert len(kept[-1]) == limits.MAX_NOTE_CHARS + 1


async def test_question_of_a_streaming_neuron_is_its_last_item(guide: Make) -> None:
    neuron: Any = guide(stream=True)
    items = [item async for item in neuron({"tool": "age"}, [])]
    assert isinstance(items[-1], AskBack)


async def test_abandoned_stream_cancels_its_call(guide: Make, ask: Ask) -> None:
    neuron: Any = guide(stream=True)
    stream = neuron({"tool": "count", "arguments": {"to": 3}}, [])
    assert isinstance(await anext(stream), str)
    await stream.aclose()
    items = [item async for item in neuron({"tool": "pid"}, [])]
    assert items[-1]["result"]["pid"] > 0
