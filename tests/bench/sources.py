"""The cost of an LLM source over its HTTP client: requests per second, and time to the first delta."""

from __future__ import annotations

import asyncio
import atexit
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import cache, partial
from typing import Any, Final

import attrs
import httpx

from cosmo_core import Neuron
from tests.bench.measure import alternate, per_second
from tests.bench.report import Figure, Pair

IN_FLIGHT: Final = 32
PROMPT: Final = "Say hello to a project called Cosmonapse in one line."
READABLE: Final = 0.01
"""The smallest share of the work whose figures are read. Below, one round is enough: it takes long."""

MESSAGES: Final = [{"role": "user", "content": PROMPT}]


@attrs.frozen
class Provider:
    """A source, and the request that it sends for a prompt."""

    source: str
    options: dict[str, Any]
    path: str
    body: dict[str, Any]


PROVIDERS: Final = (
    Provider(
        "huggingface",
        {"model": "tiny"},
        "/v1/chat/completions",
        {"model": "tiny", "messages": MESSAGES, "stream_options": {"include_usage": True}},
    ),
    Provider("ollama", {"model": "llama3"}, "/api/chat", {"model": "llama3", "messages": MESSAGES}),
)


def figures(scale: float) -> Iterator[Figure]:
    """Yield both figures of each source, against a bare pooled client that sends the same requests."""
    requests = max(1, int(20 * scale)) * IN_FLIGHT
    rounds = max(3, int(9 * scale)) if scale >= READABLE else 1
    with ExitStack() as running:
        # The generator is not closed if the bench is interrupted.
        atexit.register(running.close)

        @cache
        def server() -> str:
            return running.enter_context(chat_server())

        for provider in PROVIDERS:
            yield Figure(
                name=f"{provider.source}: {IN_FLIGHT} requests in flight",
                unit="/s",
                against="bare httpx",
                measure=partial(_measure, server, provider, _throughput, requests, rounds),
                target="≥ 0.8",
            )
            yield Figure(
                name=f"{provider.source}: time to the first delta",
                unit="ms",
                against="bare HTTP stream",
                measure=partial(_measure, server, provider, _first_delta, max(5, requests // 8), rounds),
                target="≤ 1.3",
            )


@contextmanager
def chat_server() -> Iterator[str]:
    """Run the chat server in a child process, so that only the client is measured."""
    command = [sys.executable, "-m", "cosmo_testing.chat_server", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603 - our own
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


Comparison = Callable[[Provider, str, int, int], Awaitable[Pair]]


def _measure(
    server: Callable[[], str], provider: Provider, comparison: Comparison, requests: int, rounds: int
) -> Pair:
    return asyncio.run(_awaited(comparison(provider, server(), requests, rounds)))


async def _awaited(pair: Awaitable[Pair]) -> Pair:
    return await pair


@asynccontextmanager
async def _both(
    provider: Provider, url: str, *, stream: bool
) -> AsyncIterator[tuple[Any, httpx.AsyncClient]]:
    neuron: Any = Neuron(source=provider.source, endpoint=url, stream=stream, **provider.options)
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    async with httpx.AsyncClient(base_url=url, limits=limits) as client:
        yield neuron, client
    await neuron.aclose()


async def _throughput(provider: Provider, url: str, requests: int, rounds: int) -> Pair:
    async with _both(provider, url, stream=False) as (neuron, client):

        async def ask() -> None:
            await neuron({"prompt": PROMPT}, [])

        async def post() -> None:
            # A Neuron asks for a stream, whatever it returns.
            response = await client.post(provider.path, json={**provider.body, "stream": True})
            for line in response.raise_for_status().text.splitlines():
                if (part := line.removeprefix("data: ")).startswith("{"):
                    json.loads(part)

        return await alternate(
            lambda: per_second(_at_once(ask, requests), requests),
            lambda: per_second(_at_once(post, requests), requests),
            rounds,
        )


async def _at_once(request: Callable[[], Awaitable[None]], count: int) -> None:
    async def some() -> None:
        for _ in range(count // IN_FLIGHT):
            await request()

    await asyncio.gather(*(some() for _ in range(IN_FLIGHT)))


async def _first_delta(provider: Provider, url: str, requests: int, rounds: int) -> Pair:
    async with _both(provider, url, stream=True) as (neuron, client):

        async def of_neuron() -> float:
            start = time.perf_counter()
            answer = neuron({"prompt": PROMPT}, [])
            await anext(answer)
            taken = time.perf_counter() - start
            async for _ in answer:
                pass
            return taken

        async def of_client() -> float:
            start = time.perf_counter()
            body = {**provider.body, "stream": True}
            async with client.stream("POST", provider.path, json=body) as response:
                lines = response.aiter_lines()
                while '"content":"' not in (await anext(lines)).replace(" ", ""):
                    pass
                taken = time.perf_counter() - start
                async for _ in lines:
                    pass
            return taken

        return await alternate(
            lambda: _mean_ms(of_neuron, requests), lambda: _mean_ms(of_client, requests), rounds
        )


async def _mean_ms(taken: Callable[[], Awaitable[float]], count: int) -> float:
    return 1000 * sum([await taken() for _ in range(count)]) / count
