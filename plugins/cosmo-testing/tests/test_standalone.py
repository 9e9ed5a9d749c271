"""The server as a command, and the package without h11."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process

import httpx
import pytest

WITHOUT_H11 = """
import sys
sys.modules["h11"] = None
import cosmo_testing
assert "ChatServer" in dir(cosmo_testing)
cosmo_testing.Fault.cut()
try:
    cosmo_testing.ChatServer
except ImportError as error:
    print(error)
"""


async def python(*arguments: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", *arguments, stdout=PIPE, stderr=PIPE
    )


async def test_the_command_prints_its_url_serves_and_ends_when_interrupted() -> None:
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "cosmo_testing.chat_server",
        "--port",
        "0",
        "--api-key",
        "k",
    ]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    try:
        async with asyncio.timeout(30), httpx.AsyncClient(trust_env=False) as client:
            assert process.stdout is not None
            url = (await process.stdout.readline()).decode().strip()
            refused = await client.get(f"{url}/v1/models")
            served = await client.get(f"{url}/v1/models", headers={"authorization": "Bearer k"})
            assert (refused.status_code, served.status_code) == (401, 200)
            process.send_signal(signal.SIGINT)
            _, complaints = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert (process.returncode, complaints) == (0, b"")


async def test_without_h11_only_the_server_is_missing_and_says_what_to_install() -> None:
    process = await python("-c", WITHOUT_H11)
    async with asyncio.timeout(30):
        printed, complaints = await process.communicate()
    assert (process.returncode, complaints) == (0, b"")
    assert b"pip install h11" in printed


def test_an_unknown_name_is_an_attribute_error() -> None:
    import cosmo_testing

    with pytest.raises(AttributeError, match="Nothing"):
        _ = cosmo_testing.Nothing
