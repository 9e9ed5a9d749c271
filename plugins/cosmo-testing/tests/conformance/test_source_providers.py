"""The stand-ins for a provider: both carry the same recordings, and a scenario reaches into threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx
import pytest

from cosmo_testing import (
    ProviderServer,
    ReceivedRequest,
    Response,
    Scenario,
    chat_answers,
    event_response,
    json_response,
    provider_transport,
)
from cosmo_testing.sources.faults import FAULTS, RETRY_AFTER_S

Connect = Callable[[Scenario], AbstractAsyncContextManager[httpx.AsyncClient]]


def answer(request: ReceivedRequest, serial: int) -> Response:
    if request.json.get("stream"):
        return event_response(["one", "two", "[DONE]"])
    return json_response(200, {"asked": request.json["prompt"], "path": request.path, "serial": serial})


def is_call(request: ReceivedRequest) -> bool:
    return request.path != "/handshake"


@asynccontextmanager
async def over_a_transport(scenario: Scenario) -> AsyncIterator[httpx.AsyncClient]:
    transport = provider_transport(scenario, answer, is_call=is_call)
    async with httpx.AsyncClient(transport=transport, base_url="http://models.example") as client:
        yield client


@asynccontextmanager
async def over_a_socket(scenario: Scenario) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        ProviderServer(scenario, answer, is_call=is_call) as server,
        httpx.AsyncClient(base_url=server.url, trust_env=False) as client,
    ):
        yield client


@pytest.fixture(params=[over_a_transport, over_a_socket], ids=["transport", "socket"])
def connect(request: pytest.FixtureRequest) -> Connect:
    connect: Connect = request.param
    return connect


async def test_a_healthy_provider_answers(connect: Connect) -> None:
    scenario = Scenario()
    async with connect(scenario) as client:
        for serial in (1, 2):
            response = await client.post("/ask?x=1", json={"prompt": "Hi"})
            assert response.json() == {"asked": "Hi", "path": "/ask", "serial": serial}
        streamed = await client.post("/ask", json={"stream": True})
    assert streamed.headers["content-type"] == "text/event-stream"
    assert streamed.text == "data: one\n\ndata: two\n\ndata: [DONE]\n\n"
    assert scenario.asked == 3


@pytest.mark.parametrize(
    ("fault", "status", "wait"),
    [
        ("unauthorized", 401, None),
        ("rate-limited", 429, str(RETRY_AFTER_S)),
        ("server-error", 500, "0"),
        ("unavailable", 503, str(RETRY_AFTER_S)),
        ("malformed", 200, None),
    ],
)
async def test_failing_provider_answers_as_recorded_until_the_fault_ends(
    connect: Connect, fault: str, status: int, wait: str | None
) -> None:
    scenario = Scenario(fault, words="you sent s3cr3t")
    async with connect(scenario) as client:
        response = await client.post("/ask", json={"prompt": "Hi"})
        scenario.fault = None
        healthy = await client.post("/ask", json={"prompt": "Hi"})
    assert (response.status_code, response.headers.get("retry-after")) == (status, wait)
    assert "you sent s3cr3t" in response.text
    assert healthy.json()["asked"] == "Hi"


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_is_cut_in_the_middle(connect: Connect, stream: bool) -> None:
    question = {"prompt": "Hi", "stream": stream}
    async with connect(Scenario("cut")) as client, client.stream("POST", "/ask", json=question) as response:
        chunks = response.aiter_bytes()
        assert await anext(chunks)
        with pytest.raises(httpx.TransportError):
            await anext(chunks)


async def test_stalled_answer_starts_and_stops(connect: Connect) -> None:
    question = {"prompt": "Hi"}
    async with (
        connect(Scenario("stalled")) as client,
        client.stream("POST", "/ask", json=question) as response,
    ):
        assert response.status_code == 200
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await response.aread()


async def test_held_calls_are_answered_after_release(connect: Connect) -> None:
    scenario = Scenario()
    scenario.hold()
    async with connect(scenario) as client, asyncio.timeout(5), asyncio.TaskGroup() as group:
        calls = [group.create_task(client.post("/ask", json={"prompt": n})) for n in range(3)]
        await scenario.wait_asked(3)
        assert not any(call.done() for call in calls)
        scenario.release()
    assert [call.result().json()["asked"] for call in calls] == [0, 1, 2]


async def test_request_that_is_not_a_call_is_answered_despite_the_fault(connect: Connect) -> None:
    scenario = Scenario("server-error")
    scenario.hold()
    async with connect(scenario) as client, asyncio.timeout(5):
        response = await client.post("/handshake", json={"prompt": "Hi"})
    assert response.json()["asked"] == "Hi"
    assert scenario.asked == 0


async def test_refusal_by_the_answer_is_sent() -> None:
    transport = provider_transport(Scenario(), chat_answers(api_key="k"))
    async with httpx.AsyncClient(transport=transport) as client:
        refused = await client.post("http://models.example/v1/chat/completions", json={})
    assert refused.status_code == 401
    assert "API key" in refused.text


def test_every_fault_is_tested() -> None:
    assert set(FAULTS) == {
        "cut",
        "malformed",
        "rate-limited",
        "server-error",
        "stalled",
        "unauthorized",
        "unavailable",
    }


async def test_provider_in_a_thread_can_be_held_and_stalled() -> None:
    scenario = Scenario()
    scenario.hold()

    def serve() -> str:
        scenario.reached_in_thread()
        scenario.stall_in_thread()
        return "over"

    async with asyncio.timeout(5):
        served = asyncio.create_task(asyncio.to_thread(serve))
        await scenario.wait_asked(1)
        scenario.release()
        assert not served.done()
        scenario.end()
        assert await served == "over"
