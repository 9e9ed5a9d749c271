"""The published reference servers.

Without npm or a registry these tests are skipped; with ``COSMO_REQUIRE_REAL`` or ``CI`` set, they fail.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core.errors import NeuronError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from cosmo_source_mcp import McpNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., McpNeuron]

PACKAGES = ("@modelcontextprotocol/server-everything", "@modelcontextprotocol/server-filesystem")
INSTALL_LIMIT_S = 100


def missing(reason: str) -> None:
    if os.environ.get("COSMO_REQUIRE_REAL") or os.environ.get("CI"):
        pytest.fail(f"{reason}, and COSMO_REQUIRE_REAL or CI is set")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def npm_folder(pytestconfig: pytest.Config) -> Path:
    """The folder with the servers from npm; the next test run uses it again."""
    npm = shutil.which("npm")
    if npm is None:
        missing("npm is not installed")
    folder = pytestconfig.cache.mkdir("mcp-servers")
    if not all((folder / "node_modules" / package).is_dir() for package in PACKAGES):
        command = [str(npm), "install", "--no-audit", "--no-fund", "--prefix", str(folder), *PACKAGES]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_LIMIT_S)  # noqa: S603
        except subprocess.SubprocessError as error:
            missing(f"npm install failed: {getattr(error, 'stderr', None) or error}")
    return folder


@pytest.fixture
def everything(npm_folder: Path) -> list[str]:
    """The command of server-everything."""
    return [str(npm_folder / "node_modules" / ".bin" / "mcp-server-everything")]


@pytest.fixture
def time_server() -> list[str]:
    """The command of mcp-server-time."""
    if find_spec("mcp_server_time") is None:
        missing("mcp-server-time is not installed")
    return [sys.executable, "-m", "mcp_server_time"]


@pytest.fixture
def serve_everything(everything: list[str]) -> Callable[..., Any]:
    """Run server-everything over Streamable HTTP on a free port, or on a given one."""

    @contextmanager
    def serve_everything(port: int = 0) -> Iterator[int]:
        if not port:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                port = listener.getsockname()[1]
        with subprocess.Popen(  # noqa: S603
            [*everything, "streamableHttp"],
            env={**os.environ, "PORT": str(port)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                assert process.stderr
                assert f"listening on port {port}" in process.stderr.readline()
                yield port
            finally:
                process.kill()

    return serve_everything


async def check_everything(ask: Ask, neuron: McpNeuron) -> None:
    listed = await neuron({"list_tools": True}, [])
    assert {"echo", "get-sum", "get-tiny-image"} <= set(listed["response"].split("\n"))
    assert (await ask(neuron, "echo", message="hello"))["response"] == "Echo: hello"
    assert "5" in (await ask(neuron, "get-sum", a=2, b=3))["response"]
    weather = await ask(neuron, "get-structured-content", location="Chicago")
    assert weather["result"]["conditions"] == "Light rain / drizzle"
    image = await ask(neuron, "get-tiny-image")
    assert [block["type"] for block in image["content"]] == ["text", "image", "text"]
    resource = await ask(neuron, "get-resource-reference", resourceType="Text", resourceId=1)
    assert "Resource 1" in resource["response"]
    for arguments in ({"location": "Paris"}, {}):
        with pytest.raises(NeuronError) as caught:
            await ask(neuron, "get-structured-content", **arguments)
        assert caught.value.code == "INPUT_INVALID"
    with pytest.raises(NeuronError, match="did you mean 'echo'"):
        await ask(neuron, "ecco", message="hello")


async def test_everything_over_stdio(make: Make, ask: Ask, everything: list[str]) -> None:
    await check_everything(ask, make(command=everything[0]))


async def test_everything_over_streamable_http(make: Make, ask: Ask, serve_everything: Any) -> None:
    with serve_everything() as port:
        neuron = make(url=f"http://127.0.0.1:{port}/mcp")
        await check_everything(ask, neuron)
    with serve_everything(port):
        assert (await ask(neuron, "echo", message="again"))["response"] == "Echo: again"
        await neuron.aclose()


async def test_everything_by_its_preset(make: Make, ask: Ask, npm_folder: Path) -> None:
    # In the folder where it is installed, npx does not download it.
    neuron = make(server="everything", cwd=npm_folder)
    assert (await ask(neuron, "echo", message="hello"))["response"] == "Echo: hello"


async def test_everything_gets_env_and_not_the_variables_of_the_host(
    make: Make, ask: Ask, everything: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_host")
    variables = (await ask(make(command=everything[0], env={"MINE": "yes"}), "get-env"))["result"]
    assert variables["MINE"] == "yes"
    assert "HF_TOKEN" not in variables


async def test_everything_answers_during_a_long_operation(
    make: Make, ask: Ask, everything: list[str]
) -> None:
    neuron = make(command=everything[0])
    long = asyncio.ensure_future(ask(neuron, "trigger-long-running-operation", duration=60, steps=1))
    assert (await ask(neuron, "echo", message="meanwhile"))["response"] == "Echo: meanwhile"
    assert not long.done()
    long.cancel()
    await asyncio.wait([long])
    assert (await ask(neuron, "echo", message="after"))["response"] == "Echo: after"


async def test_filesystem(make: Make, ask: Ask, npm_folder: Path, tmp_path: Path) -> None:
    command = npm_folder / "node_modules" / ".bin" / "mcp-server-filesystem"
    neuron = make(command=str(command), args=[tmp_path])
    await ask(neuron, "write_file", path=f"{tmp_path}/note.txt", content="Grüße")
    assert (tmp_path / "note.txt").read_text("utf-8") == "Grüße"
    assert (await ask(neuron, "read_text_file", path=f"{tmp_path}/note.txt"))["response"] == "Grüße"
    assert "note.txt" in (await ask(neuron, "list_directory", path=str(tmp_path)))["response"]
    with pytest.raises(NeuronError, match="outside allowed directories") as caught:
        await ask(neuron, "read_text_file", path="/etc/passwd")
    assert (caught.value.code, caught.value.recoverable) == ("TOOL_ERROR", False)


async def test_filesystem_with_a_missing_folder_is_a_failed_start(
    make: Make, ask: Ask, npm_folder: Path, tmp_path: Path
) -> None:
    command = npm_folder / "node_modules" / ".bin" / "mcp-server-filesystem"
    with pytest.raises(NeuronError, match=r"exit status 1; .*None of the specified directories") as caught:
        await ask(make(command=str(command), args=[tmp_path / "gone"]), "list_directory", path="/")
    assert (caught.value.code, caught.value.recoverable) == ("SERVER_START_FAILED", False)


async def test_time(make: Make, ask: Ask, time_server: list[str]) -> None:
    neuron = make(command=time_server[0], args=time_server[1:])
    now = await ask(neuron, "get_current_time", timezone="Asia/Tokyo")
    assert now["result"]["datetime"].endswith("+09:00")
    assert now["result"]["timezone"] == "Asia/Tokyo"
    noon = {"source_timezone": "Europe/Berlin", "time": "12:00", "target_timezone": "UTC"}
    assert (await ask(neuron, "convert_time", **noon))["result"]["time_difference"] in ("-1.0h", "-2.0h")
    with pytest.raises(NeuronError, match="Mars/Base") as caught:
        await ask(neuron, "get_current_time", timezone="Mars/Base")
    assert caught.value.code == "TOOL_ERROR"


async def test_time_by_its_preset_with_one_tool(make: Make, time_server: list[str], tmp_path: Path) -> None:
    # In the place of the launcher, because uvx would download what is already installed here.
    launcher = tmp_path / "uvx"
    launcher.write_text(
        f'#!/bin/sh\ntest "$1" = mcp-server-time && shift && exec {" ".join(time_server)} "$@"\n'
    )
    launcher.chmod(0o700)
    neuron = make(
        server="time",
        args=["--local-timezone", "Asia/Tokyo"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        tool="get_current_time",
    )
    output = await neuron({"timezone": "Asia/Tokyo"}, [])
    assert output["result"]["timezone"] == "Asia/Tokyo"
    assert output["meta"]["tool"] == "get_current_time"
