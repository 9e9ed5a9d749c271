"""The life cycle of servers: started on first use, shared, restarted, and always ended."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core.errors import NeuronError
from cosmo_source_mcp import McpNeuron, mcp
from cosmo_source_mcp.requests import list_tools

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from contextlib import AbstractContextManager

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., McpNeuron]
    Ended = Callable[[int], Awaitable[None]]
    ServeHttp = Callable[..., AbstractContextManager[tuple[str, subprocess.Popen[str]]]]

SERVERS = Path(__file__).parent / "servers"
STDIO = pytest.mark.parametrize("toolbox", ["process"], indirect=True)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def server_pid(ask: Ask, neuron: McpNeuron) -> int:
    pid = (await ask(neuron, "pid"))["result"]["pid"]
    assert is_alive(pid)
    return int(pid)


def test_construction_starts_nothing(tmp_path: Path) -> None:
    neuron = mcp(command=sys.executable, args=["-c", f"open({str(tmp_path / 'started')!r}, 'w')"])
    assert repr(neuron) == f"<McpNeuron of the MCP server {sys.executable!r}>"
    assert not list(tmp_path.iterdir())


async def test_unused_neuron_can_be_closed(by_hand: Make) -> None:
    await by_hand().aclose()


async def test_calls_share_a_server_that_closing_ends(by_hand: Make, ask: Ask) -> None:
    neuron = by_hand()
    pids = {await server_pid(ask, neuron) for _ in range(3)}
    await neuron.aclose()
    await neuron.aclose()
    assert [is_alive(pid) for pid in pids] == [False]


async def test_closed_neuron_starts_a_new_server(by_hand: Make, ask: Ask) -> None:
    neuron = by_hand()
    pid = await server_pid(ask, neuron)
    await neuron.aclose()
    assert await server_pid(ask, neuron) != pid


async def test_concurrent_calls_start_one_server(by_hand: Make, ask: Ask) -> None:
    neuron = by_hand()
    assert len(set(await asyncio.gather(*(server_pid(ask, neuron) for _ in range(8))))) == 1


async def test_killed_server_is_restarted(by_hand: Make, ask: Ask, ended: Ended) -> None:
    neuron = by_hand()
    pid = await server_pid(ask, neuron)
    call = asyncio.ensure_future(ask(neuron, "silence"))
    await ask(neuron, "fine")  # sent later and answered, so the server has the other call
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(NeuronError, match="the next call opens a new one; signal 9") as caught:
        await call
    assert (caught.value.code, caught.value.recoverable) == ("PROVIDER_UNREACHABLE", True)
    await ended(pid)
    assert await server_pid(ask, neuron) != pid


async def test_new_server_starts_after_the_old_one_has_ended(
    by_hand: Make, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cosmo_source_mcp.process.GRACE_S", 0.1)
    monkeypatch.setattr("cosmo_source_mcp.session.EXIT_REPORT_WAIT_S", 0)
    neuron = by_hand("stubborn")
    pid = await server_pid(ask, neuron)
    with pytest.raises(NeuronError, match="the next call opens a new one"):
        await ask(neuron, "deaf")
    assert await server_pid(ask, neuron) != pid
    assert not is_alive(pid)


async def test_call_after_an_idle_server_ended_succeeds(by_hand: Make, ask: Ask) -> None:
    neuron = by_hand()
    with pytest.raises(NeuronError, match="exit status 9"):
        await ask(neuron, "die")
    for _ in range(2):
        assert (await ask(neuron, "fine"))["response"] == "fine"


async def test_closing_fails_the_running_calls(by_hand: Make, ask: Ask) -> None:
    neuron = by_hand()
    pid = await server_pid(ask, neuron)
    calls = [asyncio.ensure_future(ask(neuron, "silence")) for _ in range(4)]
    await ask(neuron, "fine")
    await neuron.aclose()
    for call in calls:
        with pytest.raises(NeuronError, match="was closed during the call") as caught:
            await call
        assert (caught.value.code, caught.value.recoverable) == ("PROVIDER_UNREACHABLE", True)
    assert not is_alive(pid)


async def test_closed_session_refuses_a_request(by_hand: Make, ask: Ask) -> None:
    neuron = by_hand()
    await ask(neuron, "fine")
    session = neuron._sessions.current()
    await neuron.aclose()
    with pytest.raises(NeuronError, match="was closed during the call"):
        await session.send(list_tools)


async def test_closing_ends_a_starting_server(make: Make, ask: Ask, tmp_path: Path, ended: Ended) -> None:
    os.mkfifo(tmp_path / "pid")
    mute = "import os, sys; open(sys.argv[1], 'w').write(str(os.getpid())); sys.stdin.read()"
    neuron = make(command=sys.executable, args=["-c", mute, tmp_path / "pid"])
    call = asyncio.ensure_future(ask(neuron, "fine"))
    pid = int(await asyncio.to_thread((tmp_path / "pid").read_text))
    await neuron.aclose()
    with pytest.raises(NeuronError, match="was closed during the call"):
        await call
    await ended(pid)


async def test_cancelled_first_call_does_not_cancel_the_start(by_hand: Make, ask: Ask) -> None:
    neuron = by_hand()
    first = asyncio.ensure_future(ask(neuron, "pid"))
    second = asyncio.ensure_future(ask(neuron, "pid"))
    await asyncio.wait([second], timeout=0)
    first.cancel()
    assert (await second)["result"]["pid"] == await server_pid(ask, neuron)


async def test_server_that_ignores_sigterm_is_killed(
    by_hand: Make, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cosmo_source_mcp.process.GRACE_S", 0.1)
    neuron = by_hand("stubborn")
    pid = await server_pid(ask, neuron)
    await neuron.aclose()
    assert not is_alive(pid)


@STDIO
async def test_child_processes_of_a_server_are_ended(toolbox: Make, ask: Ask, ended: Ended) -> None:
    neuron = toolbox()
    grandchild = (await ask(neuron, "spawn"))["result"]["result"]
    assert is_alive(grandchild)
    await neuron.aclose()
    await ended(grandchild)


async def test_cancelled_closing_still_ends_the_server(
    by_hand: Make, ask: Ask, ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cosmo_source_mcp.process.GRACE_S", 0.1)
    neuron = by_hand("stubborn")
    pid = await server_pid(ask, neuron)
    closing = asyncio.ensure_future(neuron.aclose())
    await asyncio.wait([closing], timeout=0)
    closing.cancel()
    await asyncio.wait([closing])
    await ended(pid)


def test_end_of_a_loop_ends_its_server(ask: Ask) -> None:
    neuron = mcp(command=sys.executable, args=[SERVERS / "by_hand.py"])
    first, second = (asyncio.run(server_pid(ask, neuron)) for _ in range(2))
    assert first != second
    assert not is_alive(first)
    assert not is_alive(second)


PROGRAM = """
import asyncio, os, signal, sys
from cosmo_source_mcp import mcp

# A shell makes programs in its background ignore Ctrl-C, and what they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
neuron = mcp(command=sys.executable, args=sys.argv[1:])

async def main(end=None):
    print((await neuron({"tool": "pid"}, []))["result"]["pid"], flush=True)
    if end is not None:
        os.kill(os.getpid(), end)
        await asyncio.Event().wait()

"""
ENDINGS = {
    "its loop closed": "asyncio.run(main())",
    "its loop given up": "loop = asyncio.new_event_loop(); loop.run_until_complete(main())",
    "interrupted": "asyncio.run(main(signal.SIGINT))",
    "killed": "asyncio.run(main(signal.SIGKILL))",
}


# Killing the host only closes the server's stdin, which a stubborn server ignores.
@pytest.mark.parametrize(
    ("ending", "fault"),
    [
        *((ending, "") for ending in ENDINGS),
        ("its loop closed", "stubborn"),
        ("its loop given up", "stubborn"),
    ],
)
async def test_server_ends_with_its_host(ended: Ended, ending: str, fault: str) -> None:
    host = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM + ENDINGS[ending], SERVERS / "by_hand.py", fault),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    async with asyncio.timeout(60):
        printed, _ = await host.communicate()
    await ended(int(printed))


FORKING = """
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
child = os.fork()
if child:
    os.waitpid(child, 0)
    loop.run_until_complete(main())
"""


async def test_fork_of_the_host_does_not_end_the_server() -> None:
    host = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore", "-c", PROGRAM + FORKING, SERVERS / "by_hand.py"),
        stdout=subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        printed, _ = await host.communicate()
    first, second = printed.split()
    assert first == second


async def test_restarted_http_server_is_used_again(serve_http: ServeHttp, make: Make, ask: Ask) -> None:
    with serve_http("--port", "0") as (url, _):
        neuron = make(url=url)
        await ask(neuron, "add", a=1, b=2)
    with pytest.raises(NeuronError) as caught:
        await ask(neuron, "add", a=1, b=2)
    assert (caught.value.code, caught.value.recoverable) == ("PROVIDER_UNREACHABLE", True)
    port = url.removesuffix("/mcp").rpartition(":")[2]
    with serve_http("--port", port):
        assert (await ask(neuron, "add", a=1, b=2))["response"] == "3"
