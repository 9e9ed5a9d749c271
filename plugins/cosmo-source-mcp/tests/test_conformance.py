"""The conformance kit for sources, over HTTP with both kinds of answers and over stdio."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cosmo_llm import PROVIDER_MALFORMED, PROVIDER_TIMEOUT, PROVIDER_UNREACHABLE, Failure
from cosmo_source_mcp import mcp
from cosmo_source_mcp.codes import TOOL_ERROR
from cosmo_testing import ProviderServer, RefusedError, SourceConformance, event_response, json_response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from cosmo_core.contracts.neuron import NeuronFn
    from cosmo_testing import ReceivedRequest, Response, Scenario

RELAY = Path(__file__).parent / "servers" / "relay.py"
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
NO_STATUS = "stdio has no HTTP status"


def result_of(message: dict[str, Any]) -> dict[str, Any] | None:
    """The result of a server with one tool; ``None`` for a method that it does not have."""
    if message["method"] == "initialize":
        about = {"name": "answers", "version": "0"}
        return {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": about}
    if message["method"] == "tools/list":
        return {"tools": [{"name": "answer", "inputSchema": SCHEMA}]}
    if message["method"] == "tools/call":
        return {"content": [{"type": "text", "text": f"answer {message['params']['arguments']['n']}"}]}
    return None


def answer_to(message: dict[str, Any]) -> dict[str, Any]:
    result = result_of(message)
    outcome = (
        {"error": {"code": -32601, "message": "no such method"}} if result is None else {"result": result}
    )
    return {"jsonrpc": "2.0", "id": message["id"], **outcome}


def http_answer(request: ReceivedRequest, serial: int) -> Response:
    if request.method != "POST":
        raise RefusedError(405, "POST only")
    message = request.json
    return json_response(200, answer_to(message)) if "id" in message else json_response(202, None)


def http_event_answer(request: ReceivedRequest, serial: int) -> Response:
    if is_call(request):
        return event_response(
            [{"jsonrpc": "2.0", "method": "notifications/message"}, answer_to(request.json)]
        )
    return http_answer(request, serial)


def http_reporting_answer(request: ReceivedRequest, serial: int) -> Response:
    """An answer after a report of progress."""
    if not is_call(request):
        return http_answer(request, serial)
    progress = {"progressToken": request.json["params"]["_meta"]["progressToken"], "progress": 1, "total": 2}
    report = {"jsonrpc": "2.0", "method": "notifications/progress", "params": progress}
    return event_response([report, answer_to(request.json)])


def is_call(request: ReceivedRequest) -> bool:
    return request.method == "POST" and request.json["method"] == "tools/call"


class TestHttp(SourceConformance):
    answers = staticmethod(http_answer)
    secrets: ClassVar[Mapping[str, Any]] = {"headers": {"Authorization": "Bearer sk-THEKEY0123456789"}}
    invalid_inputs = (
        {},
        {"tool": ""},
        {"tool": 7},
        {"tool": "answer", "arguments": [1]},
        {"tool": "answer", "arguments": {"n": "x"}},
        {"tool": "answer", "arguments": {}},
        {"tool": "answer", "n": 1},
        {"tool": "answer", "list_tools": True},
    )

    def neuron(self, **options: Any) -> NeuronFn:
        return mcp(**options)

    def input(self, n: int) -> dict[str, Any]:
        return {"tool": "answer", "arguments": {"n": n}}

    @asynccontextmanager
    async def provider(self, scenario: Scenario) -> AsyncIterator[dict[str, Any]]:
        # Longer than it takes to connect and to list the tools.
        timeout = 0.5 if scenario.fault == "stalled" else 30
        async with ProviderServer(scenario, self.answers, is_call=is_call) as server:
            yield {"url": f"{server.url}/mcp", "timeout": timeout}


class TestHttpEvents(TestHttp):
    answers = staticmethod(http_event_answer)


class TestStreaming(TestHttp):
    answers = staticmethod(http_reporting_answer)
    options: ClassVar[Mapping[str, Any]] = {"stream": True}
    streams = True
    not_applicable: ClassVar[Mapping[str, str]] = {
        "source:stream-joined": "the texts are progress and log messages, not the answer",
    }


class TestStdio(TestHttp):
    secrets: ClassVar[Mapping[str, Any]] = {"env": {"API_KEY": "sk-THEKEY0123456789"}}
    failures: ClassVar[Mapping[str, Failure]] = {
        "malformed": PROVIDER_MALFORMED,
        "stalled": PROVIDER_TIMEOUT,
        "cut": PROVIDER_UNREACHABLE,
        "tool-error": TOOL_ERROR,
    }
    not_applicable: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("fault:unauthorized", "fault:rate-limited", "fault:server-error", "fault:unavailable"), NO_STATUS
    )

    @asynccontextmanager
    async def provider(self, scenario: Scenario) -> AsyncIterator[dict[str, Any]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            async with asyncio.TaskGroup() as group:
                async for line in reader:
                    message = json.loads(line)
                    if "id" in message:
                        group.create_task(stdio_answer(message, scenario, writer))
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        # Longer than it takes to start the server.
        timeout = 1 if scenario.fault == "stalled" else 30
        async with server:
            yield {"command": sys.executable, "args": [RELAY, str(port)], "timeout": timeout}


async def stdio_answer(message: dict[str, Any], scenario: Scenario, writer: asyncio.StreamWriter) -> None:
    answer = answer_to(message)
    if message["method"] == "tools/call":
        await scenario.reached()
        if scenario.fault == "stalled":
            await scenario.stall()
        if scenario.fault == "cut":
            writer.close()
            return
        if scenario.fault == "tool-error":
            answer["result"] = {"isError": True, "content": [{"type": "text", "text": scenario.words}]}
    line = json.dumps(answer)
    if scenario.fault == "malformed" and message["method"] == "tools/call":
        line = f'{{"jsonrpc":"2.0","id":{message["id"]},"result":{{not json: {scenario.words}'
    writer.write(line.encode() + b"\n")
