"""An MCP server made with the SDK, over stdio, or with ``--port`` over Streamable HTTP on loopback.

With ``--fork``, each connection to a port of loopback is the stdin and stdout of a process of its own, which
starts at once: to import the SDK takes most of a second.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections import defaultdict
from typing import Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import (
    CallToolResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    EmbeddedResource,
    ImageContent,
    InputRequiredResult,
    TextContent,
    TextResourceContents,
)

server = MCPServer("toolbox", version="7.1")
begun: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
released: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
cancelled: dict[str, asyncio.Event] = defaultdict(asyncio.Event)


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool(structured_output=False)
def shout(text: str) -> str:
    return text.upper()


@server.tool(structured_output=False)
def picture() -> list[TextContent | ImageContent]:
    return [
        TextContent(type="text", text="a dot"),
        ImageContent(type="image", data="AAAA", mime_type="image/png"),
        TextContent(type="text", text="and no more"),
    ]


@server.tool(structured_output=False)
def attach(text: str) -> list[EmbeddedResource]:
    note = TextResourceContents(uri="note://one", text=text)
    return [EmbeddedResource(type="resource", resource=note)]


@server.tool(structured_output=False)
def repeat(text: str, times: int) -> str:
    return text * times


@server.tool()
def fail(reason: str) -> str:
    raise ToolError(reason)


@server.tool()
def fail_structured(reason: str, details: dict[str, Any]) -> CallToolResult:
    text = TextContent(type="text", text=reason)
    return CallToolResult(content=[text], structured_content=details, is_error=True)


@server.tool()
def echo(value: str) -> str:
    return value


@server.tool()
def echo_object(value: dict[str, str]) -> dict[str, str]:
    return value


@server.tool()
def echo_list(value: list[str]) -> list[str]:
    return value


@server.tool()
async def welcome(context: Context, place: str) -> CallToolResult | InputRequiredResult:
    """Ask for a name, and then welcome it."""
    given = context.input_responses
    if not given:
        schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
        asked = ElicitRequestFormParams(message=f"Who comes to {place}?", requested_schema=schema)
        return InputRequiredResult(input_requests={"name": ElicitRequest(params=asked)}, request_state=place)
    (answer,) = given.values()
    assert isinstance(answer, ElicitResult)
    assert answer.content
    text = f"Welcome to {context.request_state}, {answer.content['name']}."
    return CallToolResult(content=[TextContent(type="text", text=text)])


@server.tool()
async def hold(name: str) -> str:
    """Answer after ``release``."""
    begun[name].set()
    try:
        await released[name].wait()
    except asyncio.CancelledError:
        cancelled[name].set()
        raise
    return name


@server.tool()
async def release(name: str) -> str:
    released[name].set()
    return name


@server.tool()
async def await_begun(name: str) -> str:
    await begun[name].wait()
    return name


@server.tool()
async def await_cancelled(name: str) -> str:
    await cancelled[name].wait()
    return name


@server.tool()
def learn(name: str) -> str:
    """Add a tool without a notification."""
    server.add_tool(lambda: name, name=name)
    return name


@server.tool()
def forget(name: str) -> str:
    """Remove a tool without a notification."""
    server.remove_tool(name)
    return name


@server.tool()
def pid() -> int:
    return os.getpid()


@server.tool()
def surroundings(variable: str) -> dict[str, str | None]:
    return {"value": os.environ.get(variable), "folder": os.getcwd()}  # noqa: PTH109


@server.tool()
def spawn() -> int:
    """Start a process that does not end by itself."""
    idle = [sys.executable, "-c", "import signal; signal.pause()"]
    nothing = subprocess.DEVNULL
    return subprocess.Popen(idle, stdin=nothing, stdout=nothing, stderr=nothing).pid  # noqa: S603


@server.tool()
def die(status: int, message: str) -> None:
    sys.stderr.write(message)
    sys.stderr.flush()
    os._exit(status)


def serve_http(port: int, *, json_response: bool) -> None:
    # With an explicit protocol, so that asyncio sets TCP_NODELAY.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    app = server.streamable_http_app(json_response=json_response)
    config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1)
    sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp\n")
    sys.stdout.flush()
    uvicorn.Server(config).run(sockets=[listener])


def serve_connections() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # a process that has ended is forgotten
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                break
            connection.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(connection.fileno(), sys.stdin.fileno())
    os.dup2(connection.fileno(), sys.stdout.fileno())
    connection.close()
    server.run()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--json-response", action="store_true")
    parser.add_argument("--fork", action="store_true")
    options = parser.parse_args()
    if options.fork:
        serve_connections()
    elif options.port is None:
        server.run()
    else:
        serve_http(options.port, json_response=options.json_response)
