from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_source_mcp import McpNeuron, mcp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
    from contextlib import AbstractContextManager

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]

SERVERS = Path(__file__).parent / "servers"
TOOLBOX = {"command": sys.executable, "args": [SERVERS / "toolbox.py"]}


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., McpNeuron]]:
    """Make Neurons, and close them after the test."""
    made: list[McpNeuron] = []

    def make(**options: Any) -> McpNeuron:
        made.append(mcp(**options))
        return made[-1]

    yield make
    async with asyncio.timeout(30):
        for neuron in made:
            await neuron.aclose()


@pytest.fixture
def by_hand(make: Callable[..., McpNeuron]) -> Callable[..., McpNeuron]:
    """Make Neurons of the server in ``servers/by_hand.py``, which documents its arguments."""

    def by_hand(*arguments: str | Path, **options: Any) -> McpNeuron:
        return make(command=sys.executable, args=[SERVERS / "by_hand.py", *arguments], **options)

    return by_hand


@contextmanager
def run_toolbox(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run the toolbox; yield the URL or port that it prints, and its process."""
    command = [sys.executable, str(SERVERS / "toolbox.py"), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            assert process.stdout
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


@pytest.fixture
def serve_http() -> Callable[..., AbstractContextManager[tuple[str, subprocess.Popen[str]]]]:
    """Run the toolbox over HTTP in a test that ends it."""
    return run_toolbox


@pytest.fixture(scope="session")
def http_url() -> Iterator[str]:
    """The URL of the toolbox over HTTP, which answers with event streams."""
    with run_toolbox("--port", "0") as (url, _):
        yield url


@pytest.fixture(scope="session")
def http_json_url() -> Iterator[str]:
    """The URL of the toolbox over HTTP, which answers with plain JSON."""
    with run_toolbox("--port", "0", "--json-response") as (url, _):
        yield url


@pytest.fixture(scope="session")
def stdio() -> Iterator[dict[str, Any]]:
    """The command of a relay to the toolbox: each has a process of the toolbox, which starts at once."""
    with run_toolbox("--fork") as (port, _):
        # Without the distributions of the environment, of which a relay needs none.
        yield {"command": sys.executable, "args": ["-S", SERVERS / "relay.py", port]}


@pytest.fixture(params=["stdio", "http", "http_json"])
def toolbox(request: pytest.FixtureRequest, make: Callable[..., McpNeuron]) -> Callable[..., McpNeuron]:
    """Make Neurons of the toolbox over each transport; with ``process``, of one that is its own process."""
    if request.param == "process":
        return partial(make, **TOOLBOX)
    if request.param == "stdio":
        return partial(make, **request.getfixturevalue("stdio"))
    return partial(make, url=request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def ask() -> Ask:
    """Call a tool, and return the Neuron's output."""

    async def ask(neuron: McpNeuron, tool: str, **arguments: Any) -> dict[str, Any]:
        async with asyncio.timeout(30):
            output: dict[str, Any] = await neuron({"tool": tool, "arguments": arguments}, [])
            return output

    return ask


@pytest.fixture
def ended() -> Callable[[int], Awaitable[None]]:
    """Wait until a process has ended, which may be that of another parent."""

    async def ended(pid: int) -> None:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        loop, gone = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(handle, gone.set)
        try:
            async with asyncio.timeout(10):
                await gone.wait()
        finally:
            loop.remove_reader(handle)
            os.close(handle)

    return ended
