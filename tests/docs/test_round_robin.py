"""The round-robin example: two workers and an orchestrator in three processes, over several buses."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from cosmo_synapse_nats.testing import NatsServer
from cosmo_testing import ChatServer

FOLDER = Path(__file__).parents[2] / "docs" / "examples" / "round-robin"
TASKS = 24

RunPython = Callable[..., Awaitable[tuple[int | None, str]]]


@asynccontextmanager
async def started(*arguments: str | Path, **env: str) -> AsyncIterator[str]:
    """Run Python until the test ends, and yield the first line of its output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", *arguments),
        env={**os.environ, **env},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            yield (await process.stdout.readline()).decode().strip()
        process.terminate()
        async with asyncio.timeout(10):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """The URL of a bus: of a hub, or of a server with the options of the test's parameter."""
    if request.param == "zmq":
        async with started("-m", "cosmo_synapse_zmq", "hub", "zmq://127.0.0.1:0") as told:
            yield told.removeprefix("hub at ")
        return
    try:
        server = NatsServer.start(jetstream=True)
    except FileNotFoundError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    with server:
        yield request.param.replace("nats", server.url)


@pytest.mark.parametrize("bus", ["zmq", "nats", "nats?durable=true"], indirect=True)
async def test_two_workers_share_the_tasks_of_a_third_process(
    bus: str, server: ChatServer, run_python: RunPython
) -> None:
    env = {"COSMO_BUS": bus, "COSMO_ENDPOINT": server.url, "HF_TOKEN": "hf_test"}
    async with AsyncExitStack() as stack:
        for name in ("one", "two"):
            told = await stack.enter_async_context(started(FOLDER / "worker.py", name, **env))
            assert told == f"worker {name} on {bus}"
        status, printed = await run_python(FOLDER / "orchestrator.py", str(TASKS), **env)

    assert status == 0, printed
    *lines, total = printed.splitlines()
    shares = Counter(re.findall(r"^ *\d+ \[(\w+)\] Hello", "\n".join(lines), re.MULTILINE))
    assert shares.keys() == {"one", "two"}
    assert shares.total() == TASKS == server.received
    assert total == f"one: {shares['one']}, two: {shares['two']}"
