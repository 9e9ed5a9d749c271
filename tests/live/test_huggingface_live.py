"""The HuggingFace source with a real chat server, `transformers serve`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cosmo_core import Dendrite, Pathway, RemoteError, Signal, SignalType

Chat = Callable[..., Awaitable[Dendrite]]
Output = dict[str, Any]

PROMPT = "Say hello to a project called Cosmonapse in one line."
ENDLESS = {"prompt": PROMPT, "max_new_tokens": 1_000_000}
"""An input whose answer takes about an hour."""

# The first test also makes the model and starts the server.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(params=[False, True], ids=["plain", "streaming"])
def stream(request: pytest.FixtureRequest) -> bool:
    """With and without streaming."""
    return bool(request.param)


async def ask(dendrite: Dendrite, **input: Any) -> Output:
    """Send one TASK over the bus; return its output, or raise its ERROR."""
    if "messages" not in input:
        input = {"prompt": PROMPT, **input}
    reply = await dendrite.dispatch_and_wait(neuron="chat", input=input, timeout_s=90)
    output: Output = reply.raise_for_error().payload["output"]
    return output


def words(output: Output) -> list[str]:
    """The words of an answer; in this model each word is one token."""
    response: str = output["response"]
    return response.split()


def finish_reason(output: Output) -> str:
    """The server's finish reason of an answer."""
    reason: str = output["meta"]["choices"][0]["finish_reason"]
    return reason


async def begin_endless(dendrite: Dendrite) -> Pathway:
    """Start an endless answer, and return when its first words have arrived."""
    pathway = await dendrite.dispatch(neuron="chat", input=ENDLESS)
    await pathway.wait_for(SignalType.THOUGHT_DELTA, timeout_s=60)
    return pathway


async def time_out(dendrite: Dendrite) -> None:
    """Request an endless answer, and expect the source to time out."""
    with pytest.raises(RemoteError, match=r"within 0\.5 s") as late:
        await ask(dendrite, **ENDLESS)
    assert (late.value.code, late.value.recoverable) == ("PROVIDER_TIMEOUT", True)


async def stop(dendrite: Dendrite, pathway: Pathway) -> None:
    """Send STOP for the trace of a Pathway."""
    await dendrite.emit(Signal.new(SignalType.STOP, {"rollback": False}, trace_id=pathway.trace_id))


# --- answers ----------------------------------------------------------------------------------------


async def test_the_output_is_the_text_and_the_servers_answer(chat: Chat, stream: bool) -> None:
    output = await ask(await chat(stream=stream, max_new_tokens=8))
    assert len(words(output)) == 8
    assert output["meta"]["object"] == "chat.completion"
    assert output["meta"]["model"].startswith("meta-llama/Llama-3.1-8B-Instruct")
    assert output["meta"]["choices"][0]["message"] == {"role": "assistant", "content": output["response"]}
    assert output["meta"]["usage"]["completion_tokens"] == 8


async def test_the_deltas_of_a_stream_join_to_the_plain_answer(chat: Chat) -> None:
    options = {"max_new_tokens": 12, "temperature": 0}
    plain = await ask(await chat(**options))
    streaming = await chat(stream=True, **options)
    pathway = await streaming.dispatch(neuron="chat", input={"prompt": PROMPT})
    answer = (await pathway.wait(timeout_s=90)).raise_for_error()
    pathway.close()
    deltas = [signal.payload async for signal in pathway if signal.type is SignalType.THOUGHT_DELTA]

    assert [delta["seq"] for delta in deltas] == list(range(len(words(plain))))
    assert "".join(delta["delta"] for delta in deltas) == plain["response"]
    streamed = answer.payload["output"]
    assert streamed["response"] == plain["response"]
    for key in ("choices", "usage", "model", "object"):
        assert streamed["meta"][key] == plain["meta"][key]


async def test_a_system_message_as_option_equals_one_in_the_messages(chat: Chat, stream: bool) -> None:
    options = {"stream": stream, "max_new_tokens": 8, "temperature": 0}
    system, user = {"role": "system", "content": "Be brief."}, {"role": "user", "content": PROMPT}
    without = await ask(await chat(**options))
    as_option = await ask(await chat(system="Be brief.", **options))
    as_message = await ask(await chat(**options), messages=[system, user])

    prompt_tokens = [output["meta"]["usage"]["prompt_tokens"] for output in (without, as_option, as_message)]
    assert prompt_tokens[0] < prompt_tokens[1] == prompt_tokens[2]
    assert as_option["response"] == as_message["response"]


async def test_all_messages_of_a_conversation_reach_the_model(chat: Chat, stream: bool) -> None:
    turns = [
        {"role": "user", "content": PROMPT},
        {"role": "assistant", "content": "Hello, Cosmonapse!"},
        {"role": "user", "content": "Again."},
    ]
    dendrite = await chat(stream=stream, max_new_tokens=4)
    sizes = [
        (await ask(dendrite, messages=turns[:count]))["meta"]["usage"]["prompt_tokens"] for count in (1, 2, 3)
    ]
    assert sizes[0] < sizes[1] < sizes[2]


# --- options ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 5, 40])
async def test_max_new_tokens_limits_the_answer(chat: Chat, stream: bool, count: int) -> None:
    by_option = await ask(await chat(stream=stream, max_new_tokens=count))
    by_input = await ask(await chat(stream=stream, max_new_tokens=7), max_new_tokens=count)
    for output in (by_option, by_input):
        assert (len(words(output)), finish_reason(output)) == (count, "length")


@pytest.mark.parametrize("setting", [{"temperature": 0}, {"temperature": 1e-6}, {"top_p": 1e-6}], ids=str)
async def test_low_temperature_or_top_p_makes_answers_deterministic(
    chat: Chat, stream: bool, setting: dict[str, float]
) -> None:
    dendrite = await chat(stream=stream, max_new_tokens=32)
    by_chance = [await ask(dendrite), await ask(dendrite)]
    likeliest = [await ask(dendrite, temperature=0), await ask(dendrite, **setting)]
    # The model has 44 words of about equal likelihood: two random answers of 32 words differ.
    assert words(by_chance[0]) != words(by_chance[1])
    assert words(likeliest[0]) == words(likeliest[1])


async def test_stop_ends_the_answer_at_its_text(chat: Chat, stream: bool) -> None:
    dendrite = await chat(stream=stream, max_new_tokens=16, temperature=0)
    whole = words(await ask(dendrite))
    last = whole[3]
    until = whole[: whole.index(last)]
    for texts in (last, ["never said", last]):
        output = await ask(dendrite, stop=texts)
        # OpenAI leaves the stop text out, transformers includes it; the source changes nothing.
        assert words(output) in (until, [*until, last])
        assert finish_reason(output) == "stop"


# --- failures ---------------------------------------------------------------------------------------


async def test_an_unknown_model_is_an_error_that_names_it(chat: Chat, stream: bool) -> None:
    with pytest.raises(RemoteError, match=r"400 Bad Request.*'no-owner/no-model'") as refused:
        await ask(await chat(stream=stream, model="no-owner/no-model"))
    assert (refused.value.code, refused.value.recoverable) == ("MODEL_NOT_FOUND", False)


async def test_an_api_that_the_server_does_not_have_is_not_found(chat: Chat, stream: bool) -> None:
    with pytest.raises(RemoteError, match="404 Not Found") as refused:
        await ask(await chat(stream=stream, use_chat_api=False))
    assert (refused.value.code, refused.value.recoverable) == ("MODEL_NOT_FOUND", False)


async def test_a_failure_during_generation_is_a_provider_error(chat: Chat, stream: bool) -> None:
    # The temperature overflows: the server answers 500, or reports the error inside its stream.
    dendrite = await chat(stream=stream, max_new_tokens=8)
    with pytest.raises(RemoteError) as failed:
        await ask(dendrite, temperature=1e-300)
    assert (failed.value.code, failed.value.recoverable) == ("PROVIDER_ERROR", True)
    assert len(words(await ask(dendrite))) == 8


async def test_four_concurrent_calls_each_get_their_own_answer(chat: Chat, stream: bool) -> None:
    dendrite = await chat(stream=stream)
    counts = [8, 16, 24, 32]
    outputs = await asyncio.gather(*(ask(dendrite, max_new_tokens=count) for count in counts))
    assert [len(words(output)) for output in outputs] == counts


async def test_a_cancelled_stream_does_not_block_the_server(chat: Chat) -> None:
    # The server generates in one thread: the endless answer would block the next one for an hour.
    dendrite = await chat(stream=True)
    pathway = await begin_endless(dendrite)
    await stop(dendrite, pathway)
    ended = await pathway.wait(timeout_s=10)
    assert (ended.type, ended.payload["code"]) == (SignalType.ERROR, "CANCELLED")
    assert len(words(await ask(dendrite, max_new_tokens=8))) == 8


async def test_a_call_that_times_out_does_not_block_the_server(chat: Chat, stream: bool) -> None:
    await time_out(await chat(stream=stream, timeout=0.5))
    assert len(words(await ask(await chat(max_new_tokens=8)))) == 8


async def test_a_call_that_times_out_in_the_queue_is_never_generated(chat: Chat, stream: bool) -> None:
    dendrite = await chat(stream=True)
    first = await begin_endless(dendrite)
    await time_out(await chat(stream=stream, timeout=0.5))
    await stop(dendrite, first)
    assert len(words(await ask(dendrite, max_new_tokens=8))) == 8
