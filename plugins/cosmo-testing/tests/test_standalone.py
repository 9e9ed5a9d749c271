"""The chat server as a program, and what importing the package costs."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE

import httpx
import pytest

HEAVY = """
import sys
import cosmo_testing
assert "ChatServer" in dir(cosmo_testing)
cosmo_testing.Fault.cut()
cosmo_testing.ChatServer
cosmo_testing.assert_valid_trace
print({"httpx", "hypothesis", "pytest"} & sys.modules.keys())
"""


def _accept_ctrl_c() -> None:
    """Undo what a shell does to programs in its background: they, and what they start, ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


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
    process = await asyncio.create_subprocess_exec(
        *command, stdout=PIPE, stderr=PIPE, preexec_fn=_accept_ctrl_c
    )
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


async def test_chat_server_and_trace_check_import_nothing_heavy() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", HEAVY), stdout=PIPE, stderr=PIPE
    )
    async with asyncio.timeout(30):
        printed, complaints = await process.communicate()
    assert (process.returncode, complaints, printed) == (0, b"", b"set()\n")


def test_an_unknown_name_is_an_attribute_error() -> None:
    import cosmo_testing

    with pytest.raises(AttributeError, match="Nothing"):
        _ = cosmo_testing.Nothing
