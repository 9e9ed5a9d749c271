"""Fixtures: a chat server, a NATS server, and a function that runs Python programs."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cosmo_synapse_nats.testing import NatsServer
from cosmo_testing import ChatServer
from tests.docs.processes import run_to_end

WATCHDOG = re.compile(r"^.* (?:has|had) blocked the event loop for .*\n", re.MULTILINE)

RunPython = Callable[..., Awaitable[tuple[int | None, str]]]


@pytest.fixture
async def server() -> AsyncIterator[ChatServer]:
    """The chat server for the program under test."""
    async with ChatServer() as server:
        yield server


@pytest.fixture
def nats_url() -> Iterator[Callable[[], str]]:
    """Return a function that starts a NATS server; without the binary it fails in CI and skips elsewhere."""
    with ExitStack() as servers:

        def start() -> str:
            try:
                server = NatsServer.start(jetstream=True)
            except FileNotFoundError as error:
                if os.environ.get("CI"):
                    raise
                pytest.skip(str(error))
            servers.callback(server.stop)
            return server.url

        yield start


@pytest.fixture
def run_python(tmp_path: Path) -> RunPython:
    """Return a function that runs Python for at most a minute and returns its status and output.

    Every warning is an error. What the watchdog of the event loop says on a busy machine is left out.
    """

    async def run(*arguments: str | Path, **env: str) -> tuple[int | None, str]:
        env = {**os.environ, "HF_TOKEN": "hf_test", **env}
        status, printed = await run_to_end("-W", "error", *arguments, cwd=tmp_path, env=env)
        return status, WATCHDOG.sub("", printed)

    return run
